use serde::Serialize;

use super::Interval;
use super::distributions::{t_two_sided, z95};
use super::summary::mean;

/// A correlation coefficient with its test for zero correlation.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Correlation {
    /// Number of complete pairs.
    pub n: usize,
    /// The coefficient.
    pub r: f64,
    /// 95 % confidence interval by Fisher's z; `None` for fewer than four pairs or |r| = 1.
    pub ci: Option<Interval>,
    /// Two-sided p value for r = 0 by Student's t.
    pub p: f64,
}

/// The pairs in which both values are present and finite.
pub fn complete_pairs(x: &[Option<f64>], y: &[Option<f64>]) -> Vec<(f64, f64)> {
    x.iter().zip(y).filter_map(|(a, b)| Some(((*a)?, (*b)?))).filter(|(a, b)| a.is_finite() && b.is_finite()).collect()
}

/// Pearson's r; `None` for fewer than three complete pairs or a column without variance.
/// Agrees with `scipy.stats.pearsonr`.
pub fn pearson(x: &[Option<f64>], y: &[Option<f64>]) -> Option<Correlation> {
    of_pairs(&complete_pairs(x, y))
}

/// Spearman's rank correlation; ties have their mean rank. `None` as for [`pearson`]. Agrees with
/// `scipy.stats.spearmanr`; the confidence interval is approximate: Fisher's z of the correlation of ranks.
pub fn spearman(x: &[Option<f64>], y: &[Option<f64>]) -> Option<Correlation> {
    let pairs = complete_pairs(x, y);
    let (x, y): (Vec<f64>, Vec<f64>) = pairs.into_iter().unzip();
    of_pairs(&ranks(&x).into_iter().zip(ranks(&y)).collect::<Vec<_>>())
}

/// 1-based ranks, one per value; ties have their mean rank.
pub fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|a, b| values[*a].total_cmp(&values[*b]));
    let mut ranks = vec![0.0; values.len()];
    for tied in order.chunk_by(|a, b| values[*a] == values[*b]).scan(0, |start, tied| {
        let first = *start;
        *start += tied.len();
        Some((first, tied))
    }) {
        let (first, members) = tied;
        let rank = first as f64 + (members.len() as f64 + 1.0) / 2.0;
        members.iter().for_each(|i| ranks[*i] = rank);
    }
    ranks
}

fn of_pairs(pairs: &[(f64, f64)]) -> Option<Correlation> {
    let n = pairs.len();
    if n < 3 {
        return None;
    }
    let (x, y): (Vec<f64>, Vec<f64>) = pairs.iter().copied().unzip();
    let (mean_x, mean_y) = (mean(&x), mean(&y));
    let (mut xx, mut yy, mut xy) = (0.0, 0.0, 0.0);
    for (a, b) in pairs {
        let (a, b) = (a - mean_x, b - mean_y);
        xx += a * a;
        yy += b * b;
        xy += a * b;
    }
    // A constant column may have a small variance by rounding.
    let is_constant = |ss: f64, mean: f64| ss.sqrt() <= 1e-13 * mean.abs() * (n as f64).sqrt() || ss == 0.0;
    if is_constant(xx, mean_x) || is_constant(yy, mean_y) {
        return None;
    }
    let r = (xy / (xx * yy).sqrt()).clamp(-1.0, 1.0);
    let df = n as f64 - 2.0;
    let p = t_two_sided(r * (df / ((1.0 - r) * (1.0 + r))).sqrt(), df);
    let ci = (n > 3 && r.abs() < 1.0).then(|| {
        let (z, half) = (r.atanh(), z95() / (n as f64 - 3.0).sqrt());
        Interval { low: (z - half).tanh(), high: (z + half).tanh() }
    });
    Some(Correlation { n, r, ci, p })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn incomplete_pairs_are_ignored() {
        let x = [Some(1.0), None, Some(2.0), Some(3.0), Some(f64::NAN)];
        let y = [Some(2.0), Some(9.0), Some(4.0), Some(6.0), Some(1.0)];
        let c = pearson(&x, &y).unwrap();
        assert_eq!((c.n, c.ci), (3, None));
        // An exact line, except for rounding.
        assert!((c.r - 1.0).abs() < 1e-12 && c.p < 1e-6, "{c:?}");
    }

    #[test]
    fn nothing_to_correlate() {
        assert_eq!(pearson(&[], &[]), None);
        assert_eq!(pearson(&[Some(0.1); 7], &[1., 2., 3., 4., 5., 6., 7.].map(Some)), None);
        assert_eq!(spearman(&[Some(1.0), Some(2.0)], &[Some(1.0), Some(2.0)]), None);
    }

    #[test]
    fn ties_have_their_mean_rank() {
        assert_eq!(ranks(&[3.0, 1.0, 3.0, 2.0]), [3.5, 1.0, 3.5, 2.0]);
    }
}
