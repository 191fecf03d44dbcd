use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::seeds::{Use, generator};
use super::{Samples, TrainError};
use crate::bones;
use crate::wording::counted;

/// How the images of an epoch are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Sampling {
    /// Every image once, in random order.
    Uniform {},
    /// With replacement, in proportion to the weights of `data.sample-weights`, which `carpus split --sample-weights`
    /// wrote.
    Weights {},
    /// With replacement: first one of the classes, all equally likely, then one of the images that show it (Shen et al.
    /// 2016, "Relay Backpropagation for Effective Learning of Deep Convolutional Neural Networks", section 4.2). So
    /// images that show a rare class are drawn more often.
    ClassAware {},
}

impl Sampling {
    /// The names of all kinds.
    pub const ALL: &'static [&'static str] = &["uniform", "weights", "class-aware"];

    /// The weight of each sample of `training` in draws with replacement; `None`: every sample once.
    pub(super) fn weights(self, training: &Samples, given: Option<&[f64]>) -> Result<Option<Vec<f64>>, TrainError> {
        match self {
            Sampling::Uniform {} => Ok(None),
            Sampling::ClassAware {} => Ok(Some(class_weights(training.present()))),
            Sampling::Weights {} => match given {
                Some(weights) if weights.len() == training.len() => Ok(Some(weights.to_vec())),
                Some(weights) => Err(TrainError::SampleWeights {
                    reason: format!(
                        "{} for {}",
                        counted(weights.len(), "weight", "weights"),
                        counted(training.len(), "image", "images")
                    ),
                }),
                None => Err(TrainError::SampleWeights {
                    reason:
                        "there are no weights; name the file of `carpus split --sample-weights` in data.sample-weights"
                            .into(),
                }),
            },
        }
    }
}

/// The probability of each sample in class-aware draws, times the number of classes; bit c of `present` = class c.
fn class_weights(present: &[u32]) -> Vec<f64> {
    let showing = |class: usize| present.iter().filter(|p| *p >> class & 1 == 1).count();
    let counts: Vec<usize> = (0..bones::COUNT).map(showing).collect();
    let weight = |p: &u32| {
        counts.iter().enumerate().filter(|(class, _)| p >> class & 1 == 1).map(|(_, n)| 1.0 / *n as f64).sum()
    };
    present.iter().map(weight).collect()
}

/// The order of `n` samples in an epoch, as indices: a permutation, or, with `weights` (one per sample), `n` draws with
/// replacement in proportion to the weights.
pub fn order(n: usize, weights: Option<&[f64]>, seed: u64, epoch: u64) -> Vec<usize> {
    let mut rng = generator(seed, Use::Order, epoch, 0);
    match weights {
        None => permutation(n, &mut rng),
        Some(weights) => {
            let sums: Vec<f64> = weights
                .iter()
                .scan(0.0, |sum, w| {
                    *sum += w;
                    Some(*sum)
                })
                .collect();
            let total = sums.last().copied().unwrap_or(0.0);
            (0..n)
                .map(|_| {
                    let at = rng.random_range(0.0..1.0f64) * total;
                    sums.partition_point(|s| *s <= at).min(n - 1)
                })
                .collect()
        }
    }
}

/// The numbers `0..n` in random order.
pub(super) fn permutation(n: usize, rng: &mut ChaCha8Rng) -> Vec<usize> {
    let mut order: Vec<usize> = (0..n).collect();
    for i in (1..n).rev() {
        order.swap(i, rng.random_range(0..=i as u64) as usize);
    }
    order
}

/// Number of batches in an epoch of `n` samples. A last batch of one sample is left out if the others have more,
/// because batch norm cannot be trained with it in the deepest layers. Other epochs have another order and use the
/// sample.
pub fn batches(n: usize, batch: usize) -> usize {
    let whole = n / batch;
    match n % batch {
        0 => whole,
        1 if whole > 0 => whole,
        _ => whole + 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permutations_differ_by_epoch_and_repeat_by_seed() {
        let a = order(50, None, 1, 0);
        let mut sorted = a.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..50).collect::<Vec<_>>());
        assert_eq!(a, order(50, None, 1, 0));
        assert!(a != order(50, None, 1, 1) && a != order(50, None, 2, 0));
    }

    #[test]
    fn draws_follow_the_weights() {
        let weights = [0.0, 1.0, 10.0];
        let mut counts = [0usize; 3];
        for epoch in 0..4000 {
            for i in order(3, Some(&weights), 7, epoch) {
                counts[i] += 1;
            }
        }
        assert_eq!(counts[0], 0);
        // 12,000 draws at 10:1 have a ratio of 10 within 4 standard errors of about 0.32.
        let ratio = counts[2] as f64 / counts[1] as f64;
        assert!((8.7..11.3).contains(&ratio), "{counts:?}");
    }

    #[test]
    fn samples_with_rare_classes_have_greater_weights() {
        // Class 0 is in the first and second sample, class 1 only in the second, and the third has no class.
        assert_eq!(class_weights(&[0b01, 0b11, 0]), [0.5, 1.5, 0.0]);
    }

    #[test]
    fn a_last_batch_of_one_sample_is_left_out() {
        assert_eq!([(4, 2), (5, 2), (6, 4), (1, 4), (3, 1)].map(|(n, b)| batches(n, b)), [2, 2, 2, 1, 3]);
    }
}
