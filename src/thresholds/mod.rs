//! Thresholds per class that maximise Dice on out-of-fold probabilities, with an estimate of what they gain on other
//! images.

mod areas;
mod curve;
mod read;
mod search;

use std::path::PathBuf;

pub use areas::{AUTO_SHARE, least_annotated_areas, least_areas};
pub use curve::{HALF, THRESHOLDS, dice_curve, threshold};
pub use read::image_curves;
pub use search::{ClassGain, ImageCurves, SearchOptions, ThresholdSearch, search_thresholds};

use crate::dataset::annotation::AnnotationError;
use crate::dataset::image::ImageError;
use crate::mask::MaskError;
use crate::probability::ProbabilityError;
use crate::wording::counted;

/// Why thresholds cannot be chosen.
#[derive(Debug, thiserror::Error)]
pub enum ThresholdError {
    /// Probabilities cannot be read.
    #[error(transparent)]
    Probability(#[from] ProbabilityError),
    /// An annotation cannot be read.
    #[error(transparent)]
    Annotation(#[from] AnnotationError),
    /// An image cannot be read.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// An image of the folds is not in the data.
    #[error("image {image} of the folds is not in the data; were the folds made for other data?")]
    NotInData {
        /// The id of the image.
        image: String,
    },
    /// An image of the folds has no annotation.
    #[error("image {image} of the folds has no annotation; expected one for every image of the folds")]
    NotAnnotated {
        /// The id of the image.
        image: String,
    },
    /// Images of the folds have no probabilities.
    #[error(
        "{}: {} no probabilities, for example {first}; predict the held-out images of every fold into this folder",
        folder.display(), counted(*count, "image of the folds has", "images of the folds have")
    )]
    NoProbabilities {
        /// The folder of probabilities.
        folder: PathBuf,
        /// Number of images without probabilities.
        count: usize,
        /// The id of the first of them.
        first: String,
    },
    /// Probabilities and annotation differ in size.
    #[error("image {image}: annotation and probabilities: {source}; give the data that was predicted")]
    Size {
        /// The id of the image.
        image: String,
        /// Both sizes.
        source: MaskError,
    },
    /// The gain on other images cannot be estimated.
    #[error(
        "{} of {}; choosing thresholds needs two folds or more, and two patients or more, so that their gain is \
         estimated on images that they were not chosen on",
        counted(*folds, "fold", "folds"), counted(*patients, "patient", "patients")
    )]
    TooFew {
        /// Number of folds.
        folds: usize,
        /// Number of patients.
        patients: usize,
    },
}
