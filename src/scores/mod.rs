//! Dice scores and pixel errors of predicted masks, and majority votes of predictions. Works on run-length masks and does
//! not need libtorch.

mod dice;
mod errors;
mod file;
mod join;
mod submission_check;
mod vote;

use std::path::{Path, PathBuf};

pub use dice::{
    ClassDice, ComparedFiles, ComparedMasks, DiceSummary, ImageScore, PredictedMasks, Region, Scoring, compare_files,
    score, score_files,
};
pub use errors::{ClassErrors, DISTANCES, Errors};
pub use file::{DiceFileError, DiceTable, read_scores, write_scores};
pub use join::{JoinedMasks, join_submissions};
pub use submission_check::{
    AreaRange, AreaRanges, CheckedSubmission, SubmissionOverlap, check_submission, submission_overlap,
};
pub use vote::vote;

use crate::dataset::annotation::AnnotationError;
use crate::dataset::image::ImageError;
use crate::mask::MaskError;
use crate::mask::submission::{self, ImageMasks, SubmissionError};
use crate::wording::counted;

/// Why predictions cannot be scored or combined.
#[derive(Debug, thiserror::Error)]
pub enum ScoreError {
    /// A file of masks cannot be read, or is invalid.
    #[error(transparent)]
    Submission(#[from] SubmissionError),
    /// An annotation cannot be read.
    #[error(transparent)]
    Annotation(#[from] AnnotationError),
    /// An image cannot be read.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// A file of scores cannot be written.
    #[error("{path}: {source}")]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// The file of predictions lacks selected images that have an annotation.
    #[error(
        "{path}: {} no predicted masks, for example {first}; predict these images, or select others with --subset or with \
         --folds and --fold",
        counted(*count, "of the images to score has", "of the images to score have")
    )]
    NotPredicted {
        /// The file of predictions.
        path: PathBuf,
        /// Number of images that it lacks.
        count: usize,
        /// The id of the first of them.
        first: String,
    },
    /// A predicted mask does not fit the size of the image.
    #[error("image {image}, class {class}: {source} (the image is {width}x{height})")]
    Size {
        /// The id of the image.
        image: String,
        /// The class of the mask.
        class: &'static str,
        /// The width of the image in pixels.
        width: u32,
        /// The height of the image in pixels.
        height: u32,
        /// Why the mask does not fit.
        source: MaskError,
    },
    /// Each of the selected images has an error.
    #[error("none of the {count} selected images can be scored; first error: {first}")]
    None {
        /// Number of selected images.
        count: usize,
        /// The error of the first one.
        first: String,
    },
    /// None of the selected images has an annotation.
    #[error(
        "nothing to score: no selected image has an annotation; select others with --subset or with --folds and --fold"
    )]
    Nothing,
    /// Two files of a vote have masks of different images.
    #[error(
        "{path} has other images than {first}: {} missing{example}; all files must have the same images",
        counted(*missing, "image is", "images are")
    )]
    Images {
        /// The file that differs from the first one.
        path: PathBuf,
        /// The first file.
        first: PathBuf,
        /// Number of images that only the first file has.
        missing: usize,
        /// Examples of the images that differ, as the message names them.
        example: String,
    },
    /// One file of a vote has masks of crops, another one masks of the original images.
    #[error(
        "{path} and {first}: one has masks of crops, the other masks of the original images; expected the same for all files"
    )]
    Spaces {
        /// The file that differs from the first one.
        path: PathBuf,
        /// The first file.
        first: PathBuf,
    },
    /// Two files that are to be joined have an image in common.
    #[error("{path}: image {image} is also in {other}; expected parts with different images")]
    ImageTwice {
        /// The name of the image.
        image: String,
        /// The second file.
        path: PathBuf,
        /// The first file.
        other: PathBuf,
    },
    /// A vote has fewer than two files, or requires no vote or more votes than it has files.
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
