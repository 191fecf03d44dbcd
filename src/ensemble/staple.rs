//! STAPLE: the segmentation and the quality of each mask, estimated together (Warfield, Zou and Wells, IEEE TMI 23, 2004).

use std::collections::BTreeMap;

use super::MaskEstimate;
use crate::mask::{MaskError, RunMask, VotePatterns};

/// Squared change of every sensitivity and specificity at which the estimate has converged; that of ITK.
const CONVERGED: f64 = 1e-14;
/// An estimate that has not converged by then is used as it is. Changes shrink by a constant factor per iteration, and
/// masks that agree at all need a few hundred.
const MAX_ITERATIONS: usize = 100_000;

/// The result of STAPLE for one class.
#[derive(Clone, Debug, PartialEq)]
pub struct Staple {
    /// Probability that a pixel with this pattern of votes belongs to the class.
    pub weights: BTreeMap<u32, f64>,
    /// Per mask, the share of the class that it covers.
    pub sensitivity: Vec<f64>,
    /// Per mask, the share of the background that it leaves free.
    pub specificity: Vec<f64>,
    /// Whether the last iterations changed no sensitivity and no specificity by more than 1e-7.
    pub converged: bool,
}

/// Estimates from the number of pixels per pattern of votes, which is all that STAPLE depends on: by expectation
/// maximisation, with the mean share of set pixels of the image as the prior, from the mean of the masks. Equals
/// `STAPLEImageFilter` of ITK. If no mask or every mask covers the whole image, the masks are perfect.
pub fn staple(counts: &BTreeMap<u32, u64>, voters: usize) -> Staple {
    estimated(counts, voters, MAX_ITERATIONS)
}

/// The estimate after at most so many iterations.
fn estimated(counts: &BTreeMap<u32, u64>, voters: usize, iterations: usize) -> Staple {
    let pixels: f64 = counts.values().map(|count| *count as f64).sum();
    let mean = |pattern: u32| f64::from(pattern.count_ones()) / voters as f64;
    let mut weights: BTreeMap<u32, f64> = counts.keys().map(|pattern| (*pattern, mean(*pattern))).collect();
    let prior = counts.iter().map(|(pattern, count)| mean(*pattern) * *count as f64).sum::<f64>() / pixels;
    let (mut sensitivity, mut specificity) = (vec![1.0; voters], vec![1.0; voters]);
    if prior <= 0.0 || prior >= 1.0 {
        return Staple { weights, sensitivity, specificity, converged: true };
    }
    let mut converged = false;
    for iteration in 0..iterations {
        let sums = Sums::of(counts, &weights, voters);
        let new_sensitivity: Vec<f64> = sums.inside.iter().map(|sum| sum / sums.class).collect();
        let new_specificity: Vec<f64> = sums.outside.iter().map(|sum| sum / sums.background).collect();
        for (pattern, weight) in &mut weights {
            let (mut class, mut background) = (prior, 1.0 - prior);
            for (voter, (p, q)) in new_sensitivity.iter().zip(&new_specificity).enumerate() {
                let set = pattern & (1 << voter) != 0;
                class *= if set { *p } else { 1.0 - p };
                background *= if set { 1.0 - q } else { *q };
            }
            // A pattern that neither can explain is left out.
            *weight = if class + background > 0.0 { class / (class + background) } else { 0.0 };
        }
        let unchanged =
            |old: &[f64], new: &[f64]| old.iter().zip(new).all(|(old, new)| (old - new).powi(2) <= CONVERGED);
        let is_same = unchanged(&sensitivity, &new_sensitivity) && unchanged(&specificity, &new_specificity);
        (sensitivity, specificity) = (new_sensitivity, new_specificity);
        converged = iteration > 0 && is_same;
        if converged {
            break;
        }
    }
    Staple { weights, sensitivity, specificity, converged }
}

/// Sums over pixels, weighted by the probability of the class or of the background.
struct Sums {
    class: f64,
    background: f64,
    /// Per mask, of the class inside it.
    inside: Vec<f64>,
    /// Per mask, of the background outside it.
    outside: Vec<f64>,
}

impl Sums {
    fn of(counts: &BTreeMap<u32, u64>, weights: &BTreeMap<u32, f64>, voters: usize) -> Sums {
        let mut sums = Sums { class: 0.0, background: 0.0, inside: vec![0.0; voters], outside: vec![0.0; voters] };
        for (pattern, count) in counts {
            let class = *count as f64 * weights[pattern];
            let background = *count as f64 * (1.0 - weights[pattern]);
            sums.class += class;
            sums.background += background;
            for voter in 0..voters {
                if pattern & (1 << voter) != 0 {
                    sums.inside[voter] += class;
                } else {
                    sums.outside[voter] += background;
                }
            }
        }
        sums
    }
}

/// The pixels that belong to the class with a probability of one half or more. The masks have the image's size, on
/// which the prior depends.
///
/// # Errors
/// There are no masks, or they differ in size.
pub fn staple_mask(masks: &[&RunMask]) -> Result<MaskEstimate, MaskError> {
    let patterns = VotePatterns::of(masks)?;
    let found = staple(&patterns.counts(), patterns.voters());
    let mask = patterns.mask(|pattern| found.weights[&pattern] >= 0.5);
    Ok(MaskEstimate { mask, converged: found.converged })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_that_agree_are_perfect() {
        let found = staple(&BTreeMap::from([(0, 90), (0b111, 10)]), 3);
        assert!((found.weights[&0b111] - 1.0).abs() < 1e-9 && found.weights[&0] < 1e-9);
        assert!(found.sensitivity.iter().chain(&found.specificity).all(|value| (value - 1.0).abs() < 1e-9));
    }

    #[test]
    fn one_mask_that_disagrees_is_the_worst() {
        // The third covers 40 px that no other covers and misses 30 of their 50.
        let counts = BTreeMap::from([(0, 900), (0b011, 30), (0b111, 20), (0b100, 40), (0b001, 5), (0b010, 5)]);
        assert!(!estimated(&counts, 3, 3).converged);
        let found = staple(&counts, 3);
        assert!(
            found.converged && found.sensitivity[2] < 0.5 && found.sensitivity[0] > 0.8 && found.sensitivity[1] > 0.8
        );
        assert!(found.weights[&0b011] > 0.9 && found.weights[&0b100] < 0.1);
    }

    #[test]
    fn empty_and_full_masks_stay_so() {
        let (empty, full) = (RunMask::empty(4, 4), RunMask::full(4, 4));
        assert!(staple_mask(&[&empty, &empty]).unwrap().mask.is_empty());
        assert_eq!(staple_mask(&[&full, &full]).unwrap(), MaskEstimate { mask: full.clone(), converged: true });
    }
}
