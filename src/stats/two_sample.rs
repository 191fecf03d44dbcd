use serde::Serialize;

use super::Interval;
use super::correlation::ranks;
use super::distributions::{normal_two_sided, t_quantile_two_sided, t_two_sided};
use super::summary::{finite, mean, variance};

/// Result of Welch's t test of two means.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Welch {
    /// Number of values in the first sample.
    pub n1: usize,
    /// Number of values in the second sample.
    pub n2: usize,
    /// Mean difference, first minus second.
    pub difference: f64,
    /// 95 % confidence interval of the mean difference.
    pub ci: Interval,
    /// Test statistic.
    pub t: f64,
    /// Degrees of freedom (Welch-Satterthwaite).
    pub df: f64,
    /// Two-sided p value for equal means.
    pub p: f64,
    /// Cohen's d: the mean difference divided by the pooled standard deviation.
    pub cohen_d: f64,
}

/// Result of the Mann-Whitney U test.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct MannWhitney {
    /// Number of values in the first sample.
    pub n1: usize,
    /// Number of values in the second sample.
    pub n2: usize,
    /// U of the first sample.
    pub u: f64,
    /// Probability that a value of the first sample exceeds one of the second; ties count half.
    pub superiority: f64,
    /// Two-sided p value by the normal approximation, with tie and continuity correction.
    pub p: f64,
}

/// Welch's t test; `None` if a sample has fewer than two values or both have no variance.
/// Agrees with `scipy.stats.ttest_ind(equal_var=False)`.
pub fn welch(first: &[f64], second: &[f64]) -> Option<Welch> {
    let (first, second) = (finite(first), finite(second));
    if first.len() < 2 || second.len() < 2 {
        return None;
    }
    let (n1, n2) = (first.len() as f64, second.len() as f64);
    let (v1, v2) = (variance(&first), variance(&second));
    let (s1, s2) = (v1 / n1, v2 / n2);
    let se = (s1 + s2).sqrt();
    if !(se > 0.0 && se.is_finite()) {
        return None;
    }
    let difference = mean(&first) - mean(&second);
    let df = (s1 + s2).powi(2) / (s1 * s1 / (n1 - 1.0) + s2 * s2 / (n2 - 1.0));
    let t = difference / se;
    let half = t_quantile_two_sided(0.05, df) * se;
    let pooled = (((n1 - 1.0) * v1 + (n2 - 1.0) * v2) / (n1 + n2 - 2.0)).sqrt();
    Some(Welch {
        n1: first.len(),
        n2: second.len(),
        difference,
        ci: Interval { low: difference - half, high: difference + half },
        t,
        df,
        p: t_two_sided(t, df),
        cohen_d: difference / pooled,
    })
}

/// The Mann-Whitney U test; `None` if a sample is empty or all values are equal.
/// Agrees with `scipy.stats.mannwhitneyu(method="asymptotic")`.
pub fn mann_whitney(first: &[f64], second: &[f64]) -> Option<MannWhitney> {
    let (first, second) = (finite(first), finite(second));
    if first.is_empty() || second.is_empty() {
        return None;
    }
    let (n1, n2) = (first.len() as f64, second.len() as f64);
    let n = n1 + n2;
    let all: Vec<f64> = first.iter().chain(&second).copied().collect();
    let rank_sum: f64 = ranks(&all)[..first.len()].iter().sum();
    let u = rank_sum - n1 * (n1 + 1.0) / 2.0;
    let mut sorted = all;
    sorted.sort_by(f64::total_cmp);
    let ties: f64 = sorted.chunk_by(|a, b| a == b).map(|t| (t.len() as f64).powi(3) - t.len() as f64).sum();
    let sd = (n1 * n2 / 12.0 * ((n + 1.0) - ties / (n * (n - 1.0)).max(1.0))).sqrt();
    if sd.is_nan() || sd <= 0.0 {
        return None;
    }
    let z = (u.max(n1 * n2 - u) - n1 * n2 / 2.0 - 0.5) / sd;
    // z is negative if U is within 1/2 of its expected value: then p is 1.
    let p = if z <= 0.0 { 1.0 } else { normal_two_sided(z) };
    Some(MannWhitney { n1: first.len(), n2: second.len(), u, superiority: u / (n1 * n2), p })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_few_or_equal_values_give_no_result() {
        assert_eq!(welch(&[1.0], &[1.0, 2.0]), None);
        assert_eq!(welch(&[1.0, 1.0], &[1.0, 1.0]), None);
        assert_eq!(mann_whitney(&[], &[1.0]), None);
        assert_eq!(mann_whitney(&[1.0, 1.0], &[1.0]), None);
    }

    #[test]
    fn non_finite_values_are_ignored() {
        let w = welch(&[1.0, 2.0, f64::NAN, 3.0], &[2.0, 4.0]).unwrap();
        assert_eq!((w.n1, w.n2, w.difference), (3, 2, -1.0));
        let m = mann_whitney(&[5.0, f64::NAN], &[1.0, 2.0]).unwrap();
        assert_eq!((m.n1, m.n2, m.u, m.superiority), (1, 2, 2.0, 1.0));
    }
}
