//! Run-length masks: rasterising polygons as OpenCV does, set algebra, measures, label images, RLE text.
//!
//! A mask is a sorted list of runs over the row-major flattened image, so the cost of area, moments, Dice and votes
//! depends on the number of runs (a few hundred per bone), not on the number of pixels (four million at 2048²). A dense
//! 29-channel mask is built only if there is no other way; if pixels are needed, [`LabelImage`] stores all classes in
//! one `u32` per pixel.

mod algebra;
pub mod coco;
mod components;
mod distance;
mod hand;
mod holes;
mod labels;
mod morphology;
mod polygon;
mod polygons;
#[cfg(test)]
mod properties;
pub mod rle;
mod runs;
pub mod submission;
mod trace;
mod transform;
mod votes;

pub use algebra::{Coverage, coverage};
pub use distance::SignedDistance;
pub use hand::HandMasks;
pub use labels::{LabelImage, masks_of_words};
pub use runs::{MAX_PIXELS, MaskError, PixelRun, RunMask};
pub use trace::outlines_length;
pub use votes::{MAX_VOTERS, VotePatterns};
