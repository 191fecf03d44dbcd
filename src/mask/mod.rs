//! Masks as run-lengths: rasterising polygons as OpenCV does, set algebra, measures, label words, RLE text.
//!
//! A dense 29-channel mask is never built where runs will do.

mod labels;
mod polygon;
pub mod rle;
mod runs;
pub mod submission;
mod trace;

pub use labels::LabelImage;
pub use runs::{MaskError, Run, RunMask};
