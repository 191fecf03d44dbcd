//! RLE text: 1-based `start length start length …` over the row-major flattened mask; empty text is an empty mask.
use super::{MaskError, RunMask};

/// Text that is no RLE of a mask.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RleError {
    #[error("token {token} ({text:?}) is not a positive whole number")]
    Token { token: usize, text: String },
    #[error("{count} numbers: an RLE has an even count (start length …)")]
    OddCount { count: usize },
    #[error(transparent)]
    Runs(#[from] MaskError),
}
/// Text of a mask.
pub fn encode(mask: &RunMask) -> String { todo!() }
/// Mask of a text. Runs must be sorted and disjoint.
pub fn decode(text: &str, width: u32, height: u32) -> Result<RunMask, RleError> { todo!() }
