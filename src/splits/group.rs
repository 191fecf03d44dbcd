//! Folds that keep groups together and do not use classes.

use super::numpy_random::RandomState;

/// scikit-learn's `GroupKFold`: the groups in order of decreasing size, each assigned to the fold with the fewest members so far.
///
/// `groups` has the group of each member, 0 to `n_groups - 1`. Returns the fold of each group. Among groups of equal size the last
/// comes first; among folds of equal size the first is taken.
pub fn group_k_fold(groups: &[usize], n_groups: usize, folds: usize) -> Vec<usize> {
    let mut sizes = vec![0u64; n_groups];
    for group in groups {
        sizes[*group] += 1;
    }
    let mut order: Vec<usize> = (0..n_groups).collect();
    order.sort_by_key(|g| sizes[*g]);
    let mut members = vec![0u64; folds];
    let mut fold_of_group = vec![0; n_groups];
    for group in order.into_iter().rev() {
        let smallest = (0..folds).min_by_key(|f| members[*f]).expect("at least two folds");
        members[smallest] += sizes[group];
        fold_of_group[group] = smallest;
    }
    fold_of_group
}

/// scikit-learn's `GroupKFold(shuffle=True, random_state=seed)`: the groups are shuffled and divided into `folds` consecutive parts
/// of equal length; if they do not divide evenly, the first parts have one group more. Returns the fold of each group.
pub fn shuffled_group_k_fold(n_groups: usize, folds: usize, seed: u32) -> Vec<usize> {
    let mut order: Vec<usize> = (0..n_groups).collect();
    RandomState::new(seed).shuffle(&mut order);
    let (length, longer) = (n_groups / folds, n_groups % folds);
    let mut fold_of_group = vec![0; n_groups];
    let mut rest = order.as_slice();
    for fold in 0..folds {
        let (part, after) = rest.split_at(length + usize::from(fold < longer));
        for group in part {
            fold_of_group[*group] = fold;
        }
        rest = after;
    }
    fold_of_group
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn largest_group_goes_to_the_smallest_fold() {
        // Sizes 2, 1, 3: group 2 → fold 0, group 0 → fold 1, group 1 → fold 1 (2 < 3).
        assert_eq!(group_k_fold(&[0, 0, 1, 2, 2, 2], 3, 2), [1, 1, 0]);
        // Equal sizes: the last group comes first.
        assert_eq!(group_k_fold(&[0, 1, 2, 3], 4, 2), [1, 0, 1, 0]);
    }

    #[test]
    fn parts_have_equal_lengths() {
        let folds = shuffled_group_k_fold(13, 5, 3);
        let sizes: Vec<usize> = (0..5).map(|f| folds.iter().filter(|g| **g == f).count()).collect();
        assert_eq!(sizes, [3, 3, 3, 2, 2]);
    }
}
