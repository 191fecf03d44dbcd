use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use super::distributions::{t_quantile_two_sided, t_two_sided};
use super::summary::{finite, mean, quantile_sorted, variance};
use super::{Interval, Undefined};

/// Result of Student's t test of paired differences.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Paired {
    /// Number of pairs.
    pub n: usize,
    /// Mean difference, first minus second.
    pub difference: f64,
    /// 95 % confidence interval of the mean difference.
    pub ci: Interval,
    /// Test statistic.
    pub t: f64,
    /// Two-sided p value for a mean difference of 0.
    pub p: f64,
}

/// Student's t test of `(first, second)` pairs. Agrees with `scipy.stats.ttest_rel`.
///
/// # Errors
/// Fewer than two pairs, or all differences are equal.
pub fn paired_t(pairs: &[(f64, f64)]) -> Result<Paired, Undefined> {
    let differences = finite(&pairs.iter().map(|(a, b)| a - b).collect::<Vec<_>>());
    let n = differences.len();
    Undefined::unless_enough("pairs", n, 2)?;
    let (difference, df) = (mean(&differences), n as f64 - 1.0);
    let se = (variance(&differences) / n as f64).sqrt();
    if !(se > 0.0 && se.is_finite()) {
        return Err(Undefined::Constant { of: "differences" });
    }
    let half = t_quantile_two_sided(0.05, df) * se;
    let ci = Interval { low: difference - half, high: difference + half };
    Ok(Paired { n, difference, ci, t: difference / se, p: t_two_sided(difference / se, df) })
}

/// A mean, or a difference of two means, with its bootstrap confidence interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Bootstrap {
    /// Number of values.
    pub n: usize,
    /// Number of clusters.
    pub clusters: usize,
    /// Mean of the values, or difference of the groups' means.
    pub mean: f64,
    /// 95 % confidence interval: percentiles of the resampled means or differences.
    pub ci: Interval,
}

/// The mean of `(cluster, value)` pairs with a percentile bootstrap confidence interval (Efron 1979). Whole clusters
/// are drawn with replacement, so that two values of one patient do not count as two patients. The same `seed` gives
/// the same result. `None` for fewer than two clusters or no resamples. Agrees with
/// `scipy.stats.bootstrap(method="percentile")` except for the random error of the draws.
pub fn bootstrap_mean<K: Ord>(values: &[(K, f64)], resamples: usize, seed: u64) -> Option<Bootstrap> {
    let mut sums: std::collections::BTreeMap<&K, (f64, usize)> = std::collections::BTreeMap::new();
    for (cluster, value) in values.iter().filter(|v| v.1.is_finite()) {
        let sum = sums.entry(cluster).or_default();
        *sum = (sum.0 + value, sum.1 + 1);
    }
    let sums: Vec<(f64, usize)> = sums.into_values().collect();
    if sums.len() < 2 || resamples == 0 {
        return None;
    }
    let total = |drawn: &mut dyn Iterator<Item = (f64, usize)>| {
        let (sum, n) = drawn.fold((0.0, 0), |total, cluster| (total.0 + cluster.0, total.1 + cluster.1));
        (sum / n as f64, n)
    };
    let (mean, n) = total(&mut sums.iter().copied());
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut means: Vec<f64> = (0..resamples)
        .map(|_| total(&mut (0..sums.len()).map(|_| sums[random.random_range(0..sums.len())])).0)
        .collect();
    means.sort_by(f64::total_cmp);
    let ci = Interval { low: quantile_sorted(&means, 0.025), high: quantile_sorted(&means, 0.975) };
    Some(Bootstrap { n, clusters: sums.len(), mean, ci })
}

/// The difference of two groups' means, first minus second, with a percentile bootstrap confidence interval (Efron 1979).
/// The groups are lists of `(cluster, value)`; a cluster may have values in both. Whole clusters are drawn with replacement
/// from those of both groups, so that a patient's values in the two groups stay together. Draws that leave a group without
/// values are left out. The same `seed` gives the same result. `None` if a group has fewer than two clusters, or if no draw
/// has values in both groups.
pub fn bootstrap_difference<K: Ord>(
    first: &[(K, f64)],
    second: &[(K, f64)],
    resamples: usize,
    seed: u64,
) -> Option<Bootstrap> {
    let mut sums: std::collections::BTreeMap<&K, [(f64, usize); 2]> = std::collections::BTreeMap::new();
    for (group, values) in [first, second].into_iter().enumerate() {
        for (cluster, value) in values.iter().filter(|v| v.1.is_finite()) {
            let sum = &mut sums.entry(cluster).or_default()[group];
            *sum = (sum.0 + value, sum.1 + 1);
        }
    }
    let sums: Vec<[(f64, usize); 2]> = sums.into_values().collect();
    if (0..2).any(|group| sums.iter().filter(|sum| sum[group].1 > 0).count() < 2) {
        return None;
    }
    let difference = |drawn: &mut dyn Iterator<Item = [(f64, usize); 2]>| {
        let [a, b] = drawn
            .fold([(0.0, 0); 2], |[a, b]: [(f64, usize); 2], [c, d]| [(a.0 + c.0, a.1 + c.1), (b.0 + d.0, b.1 + d.1)]);
        (a.0 / a.1 as f64 - b.0 / b.1 as f64, a.1 + b.1)
    };
    let (mean, n) = difference(&mut sums.iter().copied());
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut drawn: Vec<f64> = (0..resamples)
        .map(|_| difference(&mut (0..sums.len()).map(|_| sums[random.random_range(0..sums.len())])).0)
        .filter(|difference| difference.is_finite())
        .collect();
    if drawn.is_empty() {
        return None;
    }
    drawn.sort_by(f64::total_cmp);
    let ci = Interval { low: quantile_sorted(&drawn, 0.025), high: quantile_sorted(&drawn, 0.975) };
    Some(Bootstrap { n, clusters: sums.len(), mean, ci })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_few_values_give_no_result() {
        assert_eq!(paired_t(&[(1.0, 0.5)]), Err(Undefined::TooFew { of: "pairs", n: 1, needed: 2 }));
        assert_eq!(paired_t(&[(1.0, 0.5), (2.0, 1.5)]), Err(Undefined::Constant { of: "differences" }));
        assert_eq!(bootstrap_mean(&[("a", 1.0), ("a", 2.0)], 100, 0), None, "one cluster");
    }

    #[test]
    fn the_difference_within_patients_has_no_variation_between_them() {
        // Each patient has a hand in both groups, and the second is worse by the same amount.
        let first: Vec<(u32, f64)> = (0..30).map(|i| (i, f64::from(i * 7919 % 101) / 101.0)).collect();
        let second: Vec<(u32, f64)> = first.iter().map(|(i, v)| (*i, v - 0.25)).collect();
        let found = bootstrap_difference(&first, &second, 500, 1).unwrap();
        assert_eq!((found.n, found.clusters), (60, 30));
        assert!([found.mean, found.ci.low, found.ci.high].iter().all(|v| (v - 0.25).abs() < 1e-12), "{found:?}");
        // Other patients: the variation of both groups counts.
        let apart: Vec<(u32, f64)> = second.iter().map(|(i, v)| (i + 100, *v)).collect();
        let found = bootstrap_difference(&first, &apart, 500, 1).unwrap();
        assert!(found.clusters == 60 && found.ci.high - found.ci.low > 0.1, "{found:?}");
        assert_eq!(bootstrap_difference(&first, &second[..1], 500, 1), None);
        assert_eq!(bootstrap_difference(&first, &[], 500, 1), None);
    }

    #[test]
    fn equal_values_in_a_cluster_widen_the_interval() {
        let value = |i: u32| f64::from(i * 7919 % 101) / 101.0;
        let alone: Vec<(u32, f64)> = (0..200).map(|i| (i, value(i))).collect();
        let twins: Vec<(u32, f64)> = (0..200).map(|i| (i / 2, value(i / 2))).collect();
        let width = |v: &[(u32, f64)]| bootstrap_mean(v, 4000, 1).map(|b| b.ci.high - b.ci.low).unwrap();
        // Half as many independent values: wider by the square root of 2, with a random error of a few per cent.
        let ratio = width(&twins) / width(&alone);
        assert!((ratio - std::f64::consts::SQRT_2).abs() < 0.12, "{ratio}");
        assert_eq!(bootstrap_mean(&alone, 500, 7), bootstrap_mean(&alone, 500, 7));
    }
}
