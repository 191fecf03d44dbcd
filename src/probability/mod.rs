//! Predicted probabilities of an image, kept compactly: per class only the pixels whose probability is not negligible.
//! A hand covers about a tenth of an image, so that the maps of 29 classes at 2048² take a few MB in memory and less on
//! disk, where the dense maps take 486 MB. Predictions are written row by row into maps, maps of several models are
//! combined, and decision rules make masks of them; no class is ever in memory at full size.

mod combine;
pub mod decision;
mod file;
mod folder;
mod join;
mod map;

pub use combine::{Mean, combine};
pub use file::{Bits, EXTENSION, ProbabilityError, read, write};
pub use folder::{MANIFEST, Manifest, ProbabilityFolder};
pub use join::join_folders;
pub use map::{LEAST, MapBuilder, ProbabilityMap};

/// The probabilities of all classes of one image, in the order of the classes.
#[derive(Clone, Debug, PartialEq)]
pub struct ImageProbabilities {
    /// Name of the image file: `image1661319116107.png`.
    pub image_name: String,
    /// One map per class, all of one size.
    pub maps: Vec<ProbabilityMap>,
}
