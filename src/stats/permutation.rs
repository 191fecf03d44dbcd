use std::collections::BTreeMap;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use super::Undefined;

/// A permutation test of the difference of two means.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct PermutationTest {
    /// Clusters (patients) in the first group.
    pub clusters1: usize,
    /// Clusters in the second group.
    pub clusters2: usize,
    /// Mean of the first group's values minus mean of the second's.
    pub difference: f64,
    /// Two-sided p value: (1 + number of permutations with a difference at least as large) / (1 + permutations).
    pub p: f64,
    /// Number of permutations.
    pub permutations: usize,
}

/// Permutation test of the difference of two groups' means, where each group is a list of `(cluster, value)`: whole clusters
/// (patients) are exchanged between the groups, so that the two hands of a patient stay together. The same `seed` gives
/// the same result. Agrees with `scipy.stats.permutation_test` except for the random error of the draws.
///
/// # Errors
/// A group has no clusters, there are no permutations, or all values are equal.
pub fn permutation_of_clusters<K: Ord>(
    first: &[(K, f64)],
    second: &[(K, f64)],
    permutations: usize,
    seed: u64,
) -> Result<PermutationTest, Undefined> {
    let clusters = |group: &[(K, f64)]| {
        let mut sums: BTreeMap<&K, (f64, f64)> = BTreeMap::new();
        for (cluster, value) in group.iter().filter(|v| v.1.is_finite()) {
            let sum = sums.entry(cluster).or_default();
            *sum = (sum.0 + value, sum.1 + 1.0);
        }
        sums.into_values().collect::<Vec<_>>()
    };
    let (mut all, others) = (clusters(first), clusters(second));
    let n1 = all.len();
    Undefined::unless_enough("patients in the smaller group", n1.min(others.len()), 1)?;
    Undefined::unless_enough("permutations", permutations, 1)?;
    all.extend(&others);
    let mut values = first.iter().chain(second).map(|v| v.1).filter(|v| v.is_finite());
    let start = values.next();
    if values.all(|v| Some(v) == start) {
        return Err(Undefined::Constant { of: "values" });
    }
    let difference = |order: &[(f64, f64)]| {
        let mean = |part: &[(f64, f64)]| {
            let (sum, n) = part.iter().fold((0.0, 0.0), |total, c| (total.0 + c.0, total.1 + c.1));
            sum / n
        };
        mean(&order[..n1]) - mean(&order[n1..])
    };
    let observed = difference(&all);
    let clusters2 = others.len();
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    // A sum in another order differs by rounding.
    let least = observed.abs() * (1.0 - 1e-12);
    let mut as_large = 0;
    for _ in 0..permutations {
        all.shuffle(&mut random);
        as_large += usize::from(difference(&all).abs() >= least);
    }
    let p = (1 + as_large) as f64 / (1 + permutations) as f64;
    Ok(PermutationTest { clusters1: n1, clusters2, difference: observed, p, permutations })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hands_of_a_patient_are_exchanged_together() {
        // Three patients with two rotated hands each against three with straight hands: 2 of 20 exchanges are as extreme,
        // while single hands would give 2 of 924.
        let hands = |from: u32, value: f64| (0..6).map(|i| (from + i / 2, value)).collect::<Vec<_>>();
        let found = permutation_of_clusters(&hands(0, 1.0), &hands(10, 0.0), 4000, 1).unwrap();
        assert!((found.p - 0.1).abs() < 0.02 && (found.clusters1, found.clusters2) == (3, 3), "{found:?}");
        assert_eq!(found, permutation_of_clusters(&hands(0, 1.0), &hands(10, 0.0), 4000, 1).unwrap());
        assert!(permutation_of_clusters(&hands(0, 1.0), &hands(10, 1.0), 10, 1).is_err());
        assert!(permutation_of_clusters::<u32>(&[], &hands(10, 1.0), 10, 1).is_err());
    }
}
