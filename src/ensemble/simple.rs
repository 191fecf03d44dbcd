//! SIMPLE: votes without the masks that agree least (Langerak et al., IEEE TMI 29, 2010).

use std::collections::BTreeMap;

use super::MaskEstimate;
use super::hard::voted;
use crate::mask::{MaskError, RunMask, VotePatterns};

/// A vote that has not settled by then is used as it is.
const MAX_ITERATIONS: usize = 100;

/// Starts from the majority of the masks. In each iteration, masks whose Dice with the current vote is more than one
/// standard deviation below the mean Dice are left out, and the others vote with their Dice as weights, until neither
/// the masks nor the vote change. A pixel is set by more than half of the weight.
///
/// # Errors
/// There are no masks, or they differ in size.
pub fn simple_mask(masks: &[&RunMask]) -> Result<MaskEstimate, MaskError> {
    let patterns = VotePatterns::of(masks)?;
    let SimpleVote { weights, converged } = simple_weights(&patterns.counts(), patterns.voters());
    let total: f64 = weights.iter().sum();
    Ok(MaskEstimate { mask: patterns.mask(|pattern| 2.0 * voted(pattern, &weights) > total), converged })
}

/// The last vote of SIMPLE.
#[derive(Clone, Debug, PartialEq)]
pub struct SimpleVote {
    /// The weight of each mask; 0 for those that were left out.
    pub weights: Vec<f64>,
    /// Whether neither the masks nor the vote changed in the last of at most 100 iterations.
    pub converged: bool,
}

/// The weight of each mask in the last vote.
pub fn simple_weights(counts: &BTreeMap<u32, u64>, voters: usize) -> SimpleVote {
    voted_within(counts, voters, MAX_ITERATIONS)
}

/// The vote after at most so many iterations.
fn voted_within(counts: &BTreeMap<u32, u64>, voters: usize, iterations: usize) -> SimpleVote {
    let mut weights = vec![1.0; voters];
    let mut kept = vec![true; voters];
    for _ in 0..iterations {
        let estimate = set(counts, &weights);
        let dice: Vec<f64> = (0..voters).map(|voter| dice(counts, voter, &weights)).collect();
        let of_kept: Vec<f64> = (0..voters).filter(|voter| kept[*voter]).map(|voter| dice[voter]).collect();
        let mean = of_kept.iter().sum::<f64>() / of_kept.len() as f64;
        let deviation = (of_kept.iter().map(|d| (d - mean).powi(2)).sum::<f64>() / of_kept.len() as f64).sqrt();
        // Equal masks must not be left out by rounding.
        let still: Vec<bool> =
            (0..voters).map(|voter| kept[voter] && dice[voter] >= mean - deviation - 1e-12).collect();
        weights = (0..voters).map(|voter| if still[voter] { dice[voter] } else { 0.0 }).collect();
        let settled = still == kept && set(counts, &weights) == estimate;
        kept = still;
        if settled {
            return SimpleVote { weights, converged: true };
        }
    }
    SimpleVote { weights, converged: false }
}

/// The patterns that a vote sets.
fn set(counts: &BTreeMap<u32, u64>, weights: &[f64]) -> Vec<u32> {
    let total: f64 = weights.iter().sum();
    counts.keys().copied().filter(|pattern| 2.0 * voted(*pattern, weights) > total).collect()
}

/// Dice of a mask with the vote; 1 if both are empty.
fn dice(counts: &BTreeMap<u32, u64>, voter: usize, weights: &[f64]) -> f64 {
    let total: f64 = weights.iter().sum();
    let (mut own, mut vote, mut common) = (0, 0, 0);
    for (pattern, count) in counts {
        let covered = pattern & (1 << voter) != 0;
        let is_set = 2.0 * voted(*pattern, weights) > total;
        own += if covered { *count } else { 0 };
        vote += if is_set { *count } else { 0 };
        common += if covered && is_set { *count } else { 0 };
    }
    if own + vote == 0 { 1.0 } else { 2.0 * common as f64 / (own + vote) as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mask_that_agrees_least_is_left_out() {
        let mask = |runs: &[(usize, usize)]| {
            let mut dense = [0u8; 40];
            runs.iter().for_each(|(from, to)| dense[*from..*to].fill(1));
            RunMask::from_dense(&dense, 40, 1)
        };
        let [a, b, c, bad] = [mask(&[(0, 20)]), mask(&[(0, 19)]), mask(&[(1, 20)]), mask(&[(15, 40)])];
        let masks = [&a, &b, &c, &bad];
        let patterns = VotePatterns::of(&masks).unwrap();
        assert!(!voted_within(&patterns.counts(), 4, 1).converged);
        let SimpleVote { weights, converged } = simple_weights(&patterns.counts(), 4);
        assert!(converged && weights[3] == 0.0 && weights[..3].iter().any(|weight| *weight > 0.9), "{weights:?}");
        let found = simple_mask(&masks).unwrap().mask;
        assert!(found.dice(&a).unwrap() > 0.95 && !found.contains(30, 0));
    }

    #[test]
    fn equal_masks_give_the_mask() {
        let full = RunMask::full(3, 3);
        let empty = RunMask::empty(3, 3);
        assert_eq!(simple_mask(&[&full, &full, &full]).unwrap(), MaskEstimate { mask: full.clone(), converged: true });
        assert!(simple_mask(&[&empty, &empty]).unwrap().mask.is_empty());
        assert!(simple_mask(&[&full, &empty]).unwrap().mask.is_empty(), "a tie is not set");
    }
}
