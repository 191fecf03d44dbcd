//! Masks as run-lengths: rasterising polygons as OpenCV does, set algebra, measures, label words, RLE text.
//!
//! A mask is a sorted list of runs over the row-major flattened image, so that area, moments, Dice and votes
//! cost as much as it has runs (some hundreds a bone), not pixels (four million at 2048²). A dense 29-channel
//! mask is never built where runs will do; where pixels are needed, [`LabelImage`] holds all classes in one
//! `u32` a pixel.

mod algebra;
mod components;
mod distance;
mod hand;
mod labels;
mod morphology;
mod polygon;
#[cfg(test)]
mod properties;
pub mod rle;
mod runs;
pub mod submission;
mod trace;
mod transform;

pub use algebra::{Coverage, coverage};
pub use distance::SignedDistance;
pub use hand::HandMasks;
pub use labels::{LabelImage, masks_of_words};
pub use runs::{MAX_PIXELS, MaskError, PixelRun, RunMask};
pub use trace::outlines_length;
