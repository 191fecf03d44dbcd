use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::violation::Violations;

/// Size of a reduced encoder with fewer channels and blocks, so that larger images fit into memory. Published weights
/// of the encoder do not fit it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct EncoderScale {
    /// Factor of the number of channels, above 0 and at most 1; the product is rounded to a multiple of 8. Default: 1.
    pub width: f64,
    /// Factor of the number of blocks in each stage, above 0 and at most 1; the product is rounded up, so every stage
    /// keeps at least one block. Default: 1.
    pub depth: f64,
}

impl Default for EncoderScale {
    fn default() -> Self {
        EncoderScale { width: 1.0, depth: 1.0 }
    }
}

impl fmt::Display for EncoderScale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "width {}, depth {}", self.width, self.depth)
    }
}

impl EncoderScale {
    /// Every factor out of range.
    pub fn violations(&self) -> Violations {
        let mut wrong = Violations::new();
        for (key, factor) in [("width", self.width), ("depth", self.depth)] {
            wrong.expect(factor > 0.0 && factor <= 1.0, key, factor, "above 0 and at most 1");
        }
        wrong
    }

    /// The number of channels times the width, rounded by [`rounded_channels`].
    pub(super) fn channels(&self, channels: i64) -> i64 {
        if self.width == 1.0 { channels } else { rounded_channels(channels as f64 * self.width) }
    }

    /// The number of blocks of a stage times the depth, rounded up.
    pub(super) fn blocks(&self, blocks: usize) -> usize {
        (blocks as f64 * self.depth).ceil() as usize
    }
}

/// The nearest multiple of 8 that is at least 8 and at least 90 % of `exact`: the rule of EfficientNet and MobileNet.
pub(super) fn rounded_channels(exact: f64) -> i64 {
    let rounded = std::cmp::max(8, (exact + 4.0) as i64 / 8 * 8);
    if (rounded as f64) < 0.9 * exact { rounded + 8 } else { rounded }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_are_multiples_of_eight_and_stages_keep_a_block() {
        let half = EncoderScale { width: 0.5, depth: 0.5 };
        assert_eq!([64, 24, 16, 512].map(|c| half.channels(c)), [32, 16, 8, 256]);
        assert_eq!([1, 2, 3, 23].map(|b| half.blocks(b)), [1, 1, 2, 12]);
        let whole = EncoderScale::default();
        assert_eq!((whole.channels(17), whole.blocks(3)), (17, 3));
        let both = EncoderScale { width: 0.0, depth: 1.5 }.violations().to_string();
        assert!(both.contains("width is 0") && both.contains("depth is 1.5"), "{both}");
        assert!(!EncoderScale { depth: f64::NAN, ..whole }.violations().is_empty());
        assert!(whole.violations().is_empty());
    }
}
