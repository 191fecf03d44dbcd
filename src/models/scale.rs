use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::violation::Violations;

/// A reduced encoder, so that a higher resolution fits the memory: fewer channels, fewer blocks. The weights
/// published for the encoder do not fit it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct EncoderScale {
    /// Factor of the channels, above 0 to 1; the product is rounded to a multiple of 8.
    pub width: f64,
    /// Factor of the blocks of each stage, above 0 to 1; rounded up, so that every stage keeps one.
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
    /// The factors out of range.
    pub fn violations(&self) -> Violations {
        let mut wrong = Violations::new();
        for (key, factor) in [("width", self.width), ("depth", self.depth)] {
            wrong.expect(factor > 0.0 && factor <= 1.0, key, factor, "from above 0 to 1");
        }
        wrong
    }

    /// Channels times the width, by [`rounded_channels`].
    pub(super) fn channels(&self, channels: i64) -> i64 {
        if self.width == 1.0 { channels } else { rounded_channels(channels as f64 * self.width) }
    }

    /// Blocks of a stage times the depth, rounded up.
    pub(super) fn blocks(&self, blocks: usize) -> usize {
        (blocks as f64 * self.depth).ceil() as usize
    }
}

/// The nearest multiple of 8 that loses at most a tenth, at least 8: the rule of EfficientNet and MobileNet.
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
