use serde::Serialize;

use super::correlation::ranks;
use super::distributions::{normal_two_sided, t_quantile_two_sided, t_two_sided};
use super::summary::{finite, mean, variance};
use super::{Interval, Undefined};

/// Without ties, and with at most this product of the sample sizes, the p value of the Mann-Whitney test is exact.
const EXACT_PAIRS: usize = 400;

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
    /// Standard deviation within the samples, pooled.
    pub pooled_sd: f64,
    /// Cohen's d: the mean difference divided by the pooled standard deviation.
    pub cohen_d: f64,
}

impl Welch {
    /// Standard error of the mean difference.
    pub fn se(&self) -> f64 {
        (self.ci.high - self.ci.low) / (2.0 * t_quantile_two_sided(0.05, self.df))
    }
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
    /// Two-sided p value.
    pub p: f64,
    /// Whether p is exact; otherwise it is that of the normal approximation, with tie and continuity correction.
    pub exact: bool,
}

/// Welch's t test. Agrees with `scipy.stats.ttest_ind(equal_var=False)`.
///
/// # Errors
/// A sample has fewer than two values, or neither has any variance.
pub fn welch(first: &[f64], second: &[f64]) -> Result<Welch, Undefined> {
    let (first, second) = (finite(first), finite(second));
    Undefined::unless_enough("values in the smaller sample", first.len().min(second.len()), 2)?;
    let (n1, n2) = (first.len() as f64, second.len() as f64);
    let (v1, v2) = (variance(&first), variance(&second));
    let (s1, s2) = (v1 / n1, v2 / n2);
    let se = (s1 + s2).sqrt();
    // A constant sample may have a small variance by rounding.
    let largest = first.iter().chain(&second).fold(0.0f64, |most, v| most.max(v.abs()));
    if !(se > 1e-14 * largest && se.is_finite()) {
        return Err(Undefined::Constant { of: "values of each sample" });
    }
    let difference = mean(&first) - mean(&second);
    let df = (s1 + s2).powi(2) / (s1 * s1 / (n1 - 1.0) + s2 * s2 / (n2 - 1.0));
    let t = difference / se;
    let half = t_quantile_two_sided(0.05, df) * se;
    let pooled = (((n1 - 1.0) * v1 + (n2 - 1.0) * v2) / (n1 + n2 - 2.0)).sqrt();
    Ok(Welch {
        n1: first.len(),
        n2: second.len(),
        difference,
        ci: Interval { low: difference - half, high: difference + half },
        t,
        df,
        p: t_two_sided(t, df),
        pooled_sd: pooled,
        cohen_d: difference / pooled,
    })
}

/// The Mann-Whitney U test. Agrees with `scipy.stats.mannwhitneyu`, with `method="exact"` where `exact` is set, else with
/// `method="asymptotic"`.
///
/// # Errors
/// A sample is empty, or all values are equal.
pub fn mann_whitney(first: &[f64], second: &[f64]) -> Result<MannWhitney, Undefined> {
    let (first, second) = (finite(first), finite(second));
    Undefined::unless_enough("values in the smaller sample", first.len().min(second.len()), 1)?;
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
        return Err(Undefined::Constant { of: "values" });
    }
    let exact = ties == 0.0 && first.len() * second.len() <= EXACT_PAIRS;
    let larger = u.max(n1 * n2 - u);
    let z = (larger - n1 * n2 / 2.0 - 0.5) / sd;
    let p = match exact {
        true => (2.0 * u_upper(first.len(), second.len(), larger as usize)).min(1.0),
        // z is negative if U is within 1/2 of its expected value: then p is 1.
        false if z <= 0.0 => 1.0,
        false => normal_two_sided(z),
    };
    Ok(MannWhitney { n1: first.len(), n2: second.len(), u, superiority: u / (n1 * n2), p, exact })
}

/// P(U ≥ u) for samples of `n1` and `n2` values without ties, by the recursion of Mann and Whitney (1947) over the sizes.
fn u_upper(n1: usize, n2: usize, u: usize) -> f64 {
    // Probabilities of U by the size of the second sample, for a growing first sample.
    let most = n1 * n2;
    let mut of_size = vec![vec![0.0; most + 1]; n2 + 1];
    of_size.iter_mut().for_each(|row| row[0] = 1.0);
    for a in 1..=n1 {
        let mut next = vec![vec![0.0; most + 1]; n2 + 1];
        next[0][0] = 1.0;
        for b in 1..=n2 {
            let (largest_is_first, of_both) = (a as f64 / (a + b) as f64, b as f64 / (a + b) as f64);
            for value in 0..=a * b {
                // The largest value is of the first sample and exceeds all b of the second, or is of the second.
                let from_first = if value >= b { of_size[b][value - b] } else { 0.0 };
                next[b][value] = largest_is_first * from_first + of_both * next[b - 1][value];
            }
        }
        of_size = next;
    }
    of_size[n2][u..].iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_few_or_equal_values_give_no_result() {
        let few = |n, needed| Undefined::TooFew { of: "values in the smaller sample", n, needed };
        assert_eq!(welch(&[1.0], &[1.0, 2.0]), Err(few(1, 2)));
        assert_eq!(welch(&[0.1; 3], &[0.1; 7]), Err(Undefined::Constant { of: "values of each sample" }));
        assert_eq!(mann_whitney(&[], &[1.0]), Err(few(0, 1)));
        assert_eq!(mann_whitney(&[1.0, 1.0], &[1.0]), Err(Undefined::Constant { of: "values" }));
    }

    #[test]
    fn tiny_samples_have_the_exact_p_value() {
        // The most extreme of 20 orders, in both directions.
        let found = mann_whitney(&[1.0, 2.0, 3.0], &[4.0, 5.0, 6.0]).unwrap();
        assert!(found.exact && (found.p - 0.1).abs() < 1e-15, "{found:?}");
        assert!(!mann_whitney(&[1.0, 2.0, 3.0], &[3.0, 5.0, 6.0]).unwrap().exact);
    }

    #[test]
    fn non_finite_values_are_ignored() {
        let w = welch(&[1.0, 2.0, f64::NAN, 3.0], &[2.0, 4.0]).unwrap();
        assert_eq!((w.n1, w.n2, w.difference), (3, 2, -1.0));
        let m = mann_whitney(&[5.0, f64::NAN], &[1.0, 2.0]).unwrap();
        assert_eq!((m.n1, m.n2, m.u, m.superiority), (1, 2, 2.0, 1.0));
    }
}
