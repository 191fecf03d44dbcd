//! Which of several masks cover a pixel, by spans of runs.

use std::collections::BTreeMap;

use super::runs::{MaskError, RunBuilder, RunMask};

/// The most masks of one [`VotePatterns`].
pub const MAX_VOTERS: usize = 32;

/// For each pixel the masks that cover it, as runs: bit i of a pattern is set where mask i is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VotePatterns {
    width: u32,
    height: u32,
    voters: usize,
    /// Start, end and pattern of spans in order; pixels between them are in no mask.
    spans: Vec<(u32, u32, u32)>,
}

impl VotePatterns {
    /// The patterns of some masks of one size.
    ///
    /// # Errors
    /// There are no masks, or they differ in size.
    ///
    /// # Panics
    /// If there are more than [`MAX_VOTERS`] masks.
    pub fn of(masks: &[&RunMask]) -> Result<VotePatterns, MaskError> {
        assert!(masks.len() <= MAX_VOTERS, "at most {MAX_VOTERS} masks");
        let (width, height) = masks.first().map(|mask| (mask.width(), mask.height())).ok_or(MaskError::NoMasks)?;
        if let Some(other) = masks.iter().map(|m| (m.width(), m.height())).find(|size| *size != (width, height)) {
            return Err(MaskError::Size((width, height), other));
        }
        // Positions at which a mask starts or ends. Its runs are maximal, so no mask does both at one position.
        let mut changes: Vec<(u32, usize)> = Vec::new();
        for (voter, mask) in masks.iter().enumerate() {
            changes.extend(mask.runs().iter().flat_map(|run| [(run.start, voter), (run.end(), voter)]));
        }
        changes.sort_unstable();
        let (mut spans, mut pattern, mut from) = (Vec::new(), 0u32, 0u32);
        for (at, voter) in changes {
            if pattern != 0 && at > from {
                spans.push((from, at, pattern));
            }
            (pattern, from) = (pattern ^ (1 << voter), at);
        }
        Ok(VotePatterns { width, height, voters: masks.len(), spans })
    }

    /// Number of masks.
    pub fn voters(&self) -> usize {
        self.voters
    }

    /// Number of pixels of each pattern that occurs, also of pattern 0.
    pub fn counts(&self) -> BTreeMap<u32, u64> {
        let mut counts = BTreeMap::new();
        let mut rest = u64::from(self.width) * u64::from(self.height);
        for (start, end, pattern) in &self.spans {
            *counts.entry(*pattern).or_insert(0) += u64::from(end - start);
            rest -= u64::from(end - start);
        }
        if rest > 0 {
            counts.insert(0, rest);
        }
        counts
    }

    /// The pixels whose pattern is accepted; pixels in no mask are not asked about.
    pub fn mask(&self, accept: impl Fn(u32) -> bool) -> RunMask {
        let mut out = RunBuilder::default();
        for (start, end, pattern) in &self.spans {
            if accept(*pattern) {
                out.push(*start, *end);
            }
        }
        RunMask::from_maximal_runs(self.width, self.height, out.finish())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn patterns_are_those_of_each_pixel(dense in prop::collection::vec(prop::array::uniform3(0u8..2), 35)) {
            let masks = [0, 1, 2].map(|i| RunMask::from_dense(&dense.iter().map(|p| p[i]).collect::<Vec<_>>(), 7, 5));
            let masks: Vec<&RunMask> = masks.iter().collect();
            let patterns = VotePatterns::of(&masks).unwrap();
            let of = |pixel: &[u8; 3]| (0..3).map(|i| u32::from(pixel[i]) << i).sum::<u32>();
            let mut expected = BTreeMap::new();
            dense.iter().for_each(|pixel| *expected.entry(of(pixel)).or_insert(0u64) += 1);
            prop_assert_eq!(patterns.counts(), expected);
            for wanted in 1u32..8 {
                let expected: Vec<u8> = dense.iter().map(|pixel| u8::from(of(pixel) == wanted)).collect();
                prop_assert_eq!(patterns.mask(|pattern| pattern == wanted).to_dense(), expected);
            }
            prop_assert_eq!(patterns.mask(|p| p.count_ones() >= 2), RunMask::majority(&masks).unwrap());
        }
    }

    #[test]
    fn masks_of_other_sizes_are_refused() {
        assert_eq!(VotePatterns::of(&[]), Err(MaskError::NoMasks));
        let (a, b) = (RunMask::empty(3, 4), RunMask::empty(4, 3));
        assert_eq!(VotePatterns::of(&[&a, &b]), Err(MaskError::Size((3, 4), (4, 3))));
    }
}
