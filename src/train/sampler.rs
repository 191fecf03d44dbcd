use rand::RngExt;

use super::seeds::{Use, generator};

/// The order of `n` samples in an epoch: a permutation, or, with `weights` (one a sample), `n` draws with
/// replacement in proportion to them.
pub fn order(n: usize, weights: Option<&[f64]>, seed: u64, epoch: u64) -> Vec<usize> {
    let mut rng = generator(seed, Use::Order, epoch, 0);
    match weights {
        None => {
            let mut order: Vec<usize> = (0..n).collect();
            for i in (1..n).rev() {
                order.swap(i, rng.random_range(0..=i as u64) as usize);
            }
            order
        }
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
}
