//! Folds that keep groups together and classes in proportion.

use super::numpy_random::RandomState;
use super::numpy_sum::{column_stds, mean, row_std};

/// scikit-learn's `StratifiedGroupKFold`: the groups in order of decreasing standard deviation of their class counts, each assigned
/// to the fold that makes the class shares most equal over the folds.
///
/// `classes` and `groups` have one number per member: 0 to `n_classes - 1` and 0 to `n_groups - 1`, both in the order of the sorted
/// labels. With a seed the groups are shuffled first, which changes the order of groups with equal standard deviation. Returns the
/// fold of each group.
pub fn stratified_group_k_fold(
    classes: &[usize],
    n_classes: usize,
    groups: &[usize],
    n_groups: usize,
    folds: usize,
    seed: Option<u32>,
) -> Vec<usize> {
    let mut class_totals = vec![0.0; n_classes];
    let mut counts = vec![vec![0.0; n_classes]; n_groups];
    for (class, group) in classes.iter().zip(groups) {
        class_totals[*class] += 1.0;
        counts[*group][*class] += 1.0;
    }

    let mut order: Vec<usize> = (0..n_groups).collect();
    if let Some(seed) = seed {
        RandomState::new(seed).shuffle(&mut order);
    }
    let spreads: Vec<f64> = counts.iter().map(|c| row_std(c)).collect();
    // Stable sort: groups of equal spread keep their (shuffled) order.
    order.sort_by(|a, b| spreads[*b].total_cmp(&spreads[*a]));

    // [folds, classes], row-major
    let mut fold_counts = vec![0.0; folds * n_classes];
    let mut fold_of_group = vec![0; n_groups];
    for group in order {
        let fold = best_fold(&fold_counts, &class_totals, &counts[group]);
        for (sum, count) in fold_counts[fold * n_classes..].iter_mut().zip(&counts[group]) {
            *sum += count;
        }
        fold_of_group[group] = fold;
    }
    fold_of_group
}

/// The fold in which the group gives the smallest mean standard deviation of class shares; among folds with about equal values, the
/// one with the fewest members.
fn best_fold(fold_counts: &[f64], class_totals: &[f64], group: &[f64]) -> usize {
    let n_classes = class_totals.len();
    let folds = fold_counts.len() / n_classes;
    let share = |count: f64, class: usize| count / class_totals[class];
    let mut shares: Vec<f64> = fold_counts.iter().enumerate().map(|(i, c)| share(*c, i % n_classes)).collect();
    let (mut best, mut least_spread, mut least_members) = (0, f64::INFINITY, f64::INFINITY);
    for fold in 0..folds {
        let row = fold * n_classes..(fold + 1) * n_classes;
        for (class, at) in row.clone().enumerate() {
            shares[at] = share(fold_counts[at] + group[class], class);
        }
        let spread = mean(&column_stds(&shares, folds));
        for (class, at) in row.clone().enumerate() {
            shares[at] = share(fold_counts[at], class);
        }
        let members: f64 = fold_counts[row].iter().sum();
        if spread < least_spread || is_close(spread, least_spread) && members < least_members {
            (best, least_spread, least_members) = (fold, spread, members);
        }
    }
    best
}

/// `np.isclose(a, b)` for finite numbers.
fn is_close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-8 + 1e-5 * b.abs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_the_example_of_scikit_learn() {
        // The example in scikit-learn's documentation of StratifiedGroupKFold.
        let classes = [0, 0, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let groups = [0, 0, 1, 1, 2, 2, 2, 3, 4, 4, 4, 4, 5, 5, 6, 7, 7];
        let folds = stratified_group_k_fold(&classes, 2, &groups, 8, 3, None);
        assert_eq!(folds, [1, 1, 0, 2, 2, 0, 0, 1]);
    }
}
