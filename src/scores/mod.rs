//! Dice scores and pixel errors of predicted masks, and majority votes of predictions. Works on run-length masks and does
//! not need libtorch.

mod dice;
mod errors;
mod file;
mod vote;

use std::path::{Path, PathBuf};

pub use dice::{ComparedMasks, DiceSummary, ImageScore, Region, Scoring, score, score_files};
pub use errors::{ClassErrors, DISTANCES, Errors};
pub use file::{DiceFileError, DiceTable, read_scores, write_scores};
pub use vote::vote;

use crate::dataset::annotation::AnnotationError;
use crate::dataset::image::ImageError;
use crate::mask::MaskError;
use crate::mask::submission::{self, ImageMasks, SubmissionError};
use crate::wording::counted;

/// Why predictions cannot be scored or combined.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum ScoreError {
    #[error(transparent)]
    Submission(#[from] SubmissionError),
    #[error(transparent)]
    Annotation(#[from] AnnotationError),
    #[error(transparent)]
    Image(#[from] ImageError),
    #[error("{path}: {source}")]
    Write { path: PathBuf, source: std::io::Error },
    #[error(
        "{path}: {} no predicted masks, for example {first}; predict these images, or select others with --subset or with \
         --folds and --fold",
        counted(*count, "of the images to score has", "of the images to score have")
    )]
    NotPredicted { path: PathBuf, count: usize, first: String },
    #[error("image {image}, class {class}: {source} (the image is {width}x{height})")]
    Size { image: String, class: &'static str, width: u32, height: u32, source: MaskError },
    #[error("none of the {count} selected images can be scored; first error: {first}")]
    None { count: usize, first: String },
    #[error(
        "nothing to score: no selected image has an annotation; select others with --subset or with --folds and --fold"
    )]
    Nothing,
    #[error(
        "{path} has other images than {first}: {} missing{example}; all files must have the same images",
        counted(*missing, "image is", "images are")
    )]
    Images { path: PathBuf, first: PathBuf, missing: usize, example: String },
    #[error(
        "{path} and {first}: one has masks of crops, the other masks of the original images; expected the same for all files"
    )]
    Spaces { path: PathBuf, first: PathBuf },
    #[error("{0}")]
    Vote(String),
}

/// Reads the masks of a submission without the sizes of its images: each mask is one row of the maximal RLE length.
/// [`score_files`] reshapes them to the image size.
///
/// # Errors
/// The file cannot be read or is not a submission.
pub fn read_flat(path: &Path) -> Result<Vec<ImageMasks>, SubmissionError> {
    submission::read(path, u32::MAX, 1)
}
