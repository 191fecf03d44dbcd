//! Scores of predicted masks and votes among them, on runs: nothing here needs libtorch.

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
        "{path}: {} no masks, first {first}; \
         predict them, or choose the images with --subset or --folds and --fold",
        counted(*count, "of the images to score has", "of the images to score have")
    )]
    NotPredicted { path: PathBuf, count: usize, first: String },
    #[error("image {image}, class {class}: {source} (the image is {width}x{height})")]
    Size { image: String, class: &'static str, width: u32, height: u32, source: MaskError },
    #[error("none of the chosen images ({count}) can be scored; the first: {first}")]
    None { count: usize, first: String },
    #[error("nothing to score: no image chosen has an annotation")]
    Nothing,
    #[error(
        "{path} differs from {first} in its images: {} missing{example}; every file must hold the same images",
        counted(*missing, "of the first is", "of the first are")
    )]
    Images { path: PathBuf, first: PathBuf, missing: usize, example: String },
    #[error("{path} and {first} differ in their pixels: one holds masks of crops, the other of the original images")]
    Spaces { path: PathBuf, first: PathBuf },
    #[error("{0}")]
    Vote(String),
}

/// The masks of a submission whose images' sizes are not known: each is one row as long as an RLE can reach.
/// [`score_files`] gives them their size.
pub fn read_flat(path: &Path) -> Result<Vec<ImageMasks>, SubmissionError> {
    submission::read(path, u32::MAX, 1)
}
