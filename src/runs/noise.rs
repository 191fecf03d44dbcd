//! The variation between trainings that differ only in their seed.

use std::collections::BTreeMap;

use super::compare::{Measure, by_training, experiments};
use super::run::Run;
use crate::stats::{PooledSd, pooled_sd};

/// How the noise between seeds becomes known, for messages where it is not.
pub const NOISE_UNKNOWN: &str = "the noise between seeds is unknown, because no configuration was trained on the same fold with \
     two seeds; train one again with --set seed=NUMBER and another --name, and give both runs";

/// The standard deviation of the mean Dice between seeds, pooled over all groups of trainings with equal settings and equal
/// fold; `None` if no such group has two seeds. Dice is the best measure that all runs have ([`Measure::of`]).
pub fn seed_noise(runs: &[Run]) -> Option<PooledSd> {
    let measure = Measure::of(runs);
    let mut groups: Vec<Vec<f64>> = Vec::new();
    for (_, members) in experiments(runs) {
        let mut by_fold: BTreeMap<Option<i64>, Vec<f64>> = BTreeMap::new();
        for ([fold, _seed], dice) in by_training(&members, measure) {
            by_fold.entry(fold).or_default().push(dice);
        }
        groups.extend(by_fold.into_values());
    }
    pooled_sd(&groups)
}

/// The noise between seeds in one sentence.
pub fn noise_text(noise: &PooledSd) -> String {
    format!(
        "noise between seeds: standard deviation {:.4} of the mean Dice (n = {} trainings in {} of equal settings and fold, {} of \
         freedom); two single trainings differ by up to {:.4} by chance (95 %)",
        noise.sd,
        noise.n,
        crate::wording::counted(noise.groups, "group", "groups"),
        crate::wording::counted(noise.df, "degree", "degrees"),
        noise.bound(1, 1)
    )
}
