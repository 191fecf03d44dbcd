//! Folds that keep groups whole and do not look at classes.

use super::numpy_random::RandomState;

/// scikit-learn's `GroupKFold`: the largest groups first, each into the fold with the fewest members so far.
///
/// `groups` holds a group's number, 0 to `n_groups - 1`, a member. Returns each group's fold. Of groups of one size the last
/// goes first; of folds of one size the first is taken.
pub fn group_k_fold(groups: &[usize], n_groups: usize, folds: usize) -> Vec<usize> {
    let mut sizes = vec![0u64; n_groups];
    for group in groups {
        sizes[*group] += 1;
    }
    let mut order: Vec<usize> = (0..n_groups).collect();
    order.sort_by_key(|g| sizes[*g]);
    let mut filled = vec![0u64; folds];
    let mut fold_of_group = vec![0; n_groups];
    for group in order.into_iter().rev() {
        let lightest = (0..folds).min_by_key(|f| filled[*f]).expect("at least two folds");
        filled[lightest] += sizes[group];
        fold_of_group[group] = lightest;
    }
    fold_of_group
}

/// scikit-learn's `GroupKFold(shuffle=True, random_state=seed)`: the groups are shuffled and cut into `folds`
/// stretches of equal length, the first ones longer by one where they do not divide evenly.
pub fn shuffled_group_k_fold(n_groups: usize, folds: usize, seed: u32) -> Vec<usize> {
    let mut order: Vec<usize> = (0..n_groups).collect();
    RandomState::new(seed).shuffle(&mut order);
    let (length, longer) = (n_groups / folds, n_groups % folds);
    let mut fold_of_group = vec![0; n_groups];
    let mut rest = order.as_slice();
    for fold in 0..folds {
        let (stretch, after) = rest.split_at(length + usize::from(fold < longer));
        for group in stretch {
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
    fn largest_first_into_the_lightest() {
        // Sizes 2, 1, 3: group 2 → fold 0, group 0 → fold 1, group 1 → fold 1 (2 < 3).
        assert_eq!(group_k_fold(&[0, 0, 1, 2, 2, 2], 3, 2), [1, 1, 0]);
        // One size: the last group goes first.
        assert_eq!(group_k_fold(&[0, 1, 2, 3], 4, 2), [1, 0, 1, 0]);
    }

    #[test]
    fn stretches_are_even() {
        let folds = shuffled_group_k_fold(13, 5, 3);
        let sizes: Vec<usize> = (0..5).map(|f| folds.iter().filter(|g| **g == f).count()).collect();
        assert_eq!(sizes, [3, 3, 3, 2, 2]);
    }
}
