use std::path::PathBuf;

use crate::artefact::{LockError, OutputError};
use crate::clean::TransformsError;
use crate::config::layered::ConfigError;
use crate::dataset::corrections::CorrectionsError;
use crate::dataset::metadata::MetadataError;
use crate::dataset::phantom::PhantomError;
use crate::dataset::{DatasetError, image::ImageError};
use crate::device::DeviceError;
use crate::infer::InferError;
use crate::mask::submission::SubmissionError;
use crate::scores::{DiceFileError, ScoreError};
use crate::splits::SplitError;
use crate::tables::TableError;
use crate::train::TrainError;

/// Why an experiment cannot be run, or failed.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum ExperimentError {
    #[error("the run's name is {name:?}; expected a folder name without slashes that does not start with a dot")]
    Name { name: String },
    #[error("unknown fold {fold}; {} has the folds {found:?}", path.display())]
    NoFold { fold: u32, path: PathBuf, found: Vec<u32> },
    #[error(
        "--folds needs the held-out predictions, which evaluate = false switches off; set evaluate = true, or train the folds one by one with --fold"
    )]
    NotEvaluated,
    #[error("{source}; make the folds with `carpus split`")]
    Folds { source: TableError },
    #[error("{}: {reason}", path.display())]
    Content { path: PathBuf, reason: String },
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: std::io::Error },
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Output(#[from] OutputError),
    #[error(transparent)]
    Lock(#[from] LockError),
    #[error(transparent)]
    Device(#[from] DeviceError),
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    #[error(transparent)]
    Corrections(#[from] CorrectionsError),
    #[error(transparent)]
    Phantom(#[from] PhantomError),
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    #[error(transparent)]
    Image(#[from] ImageError),
    #[error(transparent)]
    Table(#[from] TableError),
    #[error(transparent)]
    SampleWeights(#[from] SplitError),
    #[error(transparent)]
    Train(#[from] TrainError),
    #[error(transparent)]
    Infer(#[from] InferError),
    #[error(transparent)]
    Scores(#[from] ScoreError),
    #[error(transparent)]
    DiceFile(#[from] DiceFileError),
    #[error(transparent)]
    Submission(#[from] SubmissionError),
    #[error(transparent)]
    Transforms(#[from] TransformsError),
}
