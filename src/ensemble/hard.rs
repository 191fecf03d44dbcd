//! Votes of masks.

use crate::mask::{MaskError, RunMask, VotePatterns};

/// The pixels whose masks have more than half of the total weight; a tie is not set. Equal weights give the majority.
///
/// # Errors
/// There are no masks, or they differ in size.
///
/// # Panics
/// If there are not as many weights as masks, or more than [`crate::mask::MAX_VOTERS`].
pub fn weighted_vote(masks: &[&RunMask], weights: &[f64]) -> Result<RunMask, MaskError> {
    assert_eq!(masks.len(), weights.len(), "one weight per mask");
    let patterns = VotePatterns::of(masks)?;
    let total: f64 = weights.iter().sum();
    Ok(patterns.mask(|pattern| 2.0 * voted(pattern, weights) > total))
}

/// The sum of the weights of the masks of a pattern.
pub(super) fn voted(pattern: u32, weights: &[f64]) -> f64 {
    weights.iter().enumerate().filter(|(i, _)| pattern & (1 << i) != 0).map(|(_, weight)| weight).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_decide_and_a_tie_is_not_set() {
        let mask = |dense: [u8; 4]| RunMask::from_dense(&dense, 4, 1);
        let [a, b, c] = [mask([1, 1, 0, 0]), mask([0, 1, 1, 0]), mask([0, 0, 1, 1])];
        let vote = |weights: [f64; 3]| weighted_vote(&[&a, &b, &c], &weights).unwrap().to_dense();
        assert_eq!(vote([1.0, 1.0, 1.0]), [0, 1, 1, 0]);
        assert_eq!(vote([3.0, 1.0, 1.0]), [1, 1, 0, 0]);
        assert_eq!(vote([2.0, 1.0, 1.0]), [0, 1, 0, 0]);
    }
}
