use std::collections::BTreeMap;

use serde::Serialize;

use super::{Ratio, Undefined};

/// Odds ratio and ratio of shares, with confidence intervals that allow for several observations of one patient.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ClusteredRatios {
    /// Clusters (patients) in the first group.
    pub clusters: usize,
    /// Clusters in the reference group.
    pub clusters_base: usize,
    /// Odds ratio, first group against reference group.
    pub odds_ratio: Ratio,
    /// Ratio of the shares, first group against reference group.
    pub share_ratio: Ratio,
}

/// Ratios of the group `first` to the reference group `base`. Each group is a list of (cluster, whether the observation
/// has the feature). The confidence intervals are cluster-robust ("sandwich"): the two hands of a patient tend to be
/// similar, so 800 images have less information than 800 independent ones.
///
/// Agrees with statsmodels' logit and Poisson regressions on the group with `cov_type="cluster"` and no
/// small-sample correction. No cluster may be in both groups.
///
/// # Errors
/// A group is empty, or all or none of its observations have the feature.
pub fn clustered_ratios<K: Ord>(first: &[(K, bool)], base: &[(K, bool)]) -> Result<ClusteredRatios, Undefined> {
    let (share, variance, clusters) = clustered_share(first)?;
    let (share_base, variance_base, clusters_base) = clustered_share(base)?;
    let odds = |p: f64| p / (1.0 - p);
    let odds_se =
        (variance / (share * (1.0 - share)).powi(2) + variance_base / (share_base * (1.0 - share_base)).powi(2)).sqrt();
    let share_se = (variance / share.powi(2) + variance_base / share_base.powi(2)).sqrt();
    Ok(ClusteredRatios {
        clusters,
        clusters_base,
        odds_ratio: Ratio::from_log((odds(share) / odds(share_base)).ln(), odds_se, false),
        share_ratio: Ratio::from_log((share / share_base).ln(), share_se, false),
    })
}

/// Share, its cluster-robust variance, and the number of clusters.
fn clustered_share<K: Ord>(observations: &[(K, bool)]) -> Result<(f64, f64, usize), Undefined> {
    Undefined::unless_enough("observations in a group", observations.len(), 1)?;
    let n = observations.len() as f64;
    let count = observations.iter().filter(|o| o.1).count();
    if count == 0 || count == observations.len() {
        return Err(Undefined::Constant { of: "observations of a group" });
    }
    let share = count as f64 / n;
    let mut residuals: BTreeMap<&K, f64> = BTreeMap::new();
    for (cluster, has) in observations {
        *residuals.entry(cluster).or_default() += f64::from(u8::from(*has)) - share;
    }
    let variance = residuals.values().map(|r| r * r).sum::<f64>() / (n * n);
    Ok((share, variance, residuals.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn duplicate_observations_of_a_patient_do_not_narrow_the_interval() {
        let group = |with: u32, all: u32| (0..all).map(|i| (i, i < with)).collect::<Vec<_>>();
        let twice = |g: &[(u32, bool)]| g.iter().chain(g).copied().collect::<Vec<_>>();
        let (a, b) = (group(10, 30), group(20, 30));
        let single = clustered_ratios(&a, &b).unwrap();
        let double = clustered_ratios(&twice(&a), &twice(&b)).unwrap();
        let width = |r: &Ratio| (r.ci.high / r.ci.low).ln();
        assert!((width(&single.odds_ratio) - width(&double.odds_ratio)).abs() < 1e-12);
        assert_eq!((double.clusters, double.clusters_base), (30, 30));
        assert_eq!(clustered_ratios(&group(0, 3), &b), Err(Undefined::Constant { of: "observations of a group" }));
        assert!(clustered_ratios(&a, &[]).unwrap_err().to_string().starts_with("too few observations in a group: 0"));
    }
}
