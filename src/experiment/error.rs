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
pub enum ExperimentError {
    /// The configured name of the run cannot be the name of a folder.
    #[error("the run's name is {name:?}; expected a folder name without slashes that does not start with a dot")]
    Name {
        /// The configured name.
        name: String,
    },
    /// `--folds` names a fold that the folds file does not have.
    #[error("unknown fold {fold}; {} has the folds {found:?}", path.display())]
    NoFold {
        /// The fold.
        fold: u32,
        /// The folds file.
        path: PathBuf,
        /// The folds of the file.
        found: Vec<u32>,
    },
    /// Several folds are to be trained, but the evaluation of each is switched off.
    #[error(
        "--folds needs the held-out predictions, which evaluate = false switches off; set evaluate = true, or train the folds one by one with --fold"
    )]
    NotEvaluated,
    /// The folds file cannot be read.
    #[error("{source}; make the folds with `carpus split`")]
    Folds {
        /// Why it cannot be read.
        source: TableError,
    },
    /// The weights of a run's best epochs are to be averaged, but it kept only one epoch.
    #[error(
        "{}: the run kept only the best epoch (there is no {}); train with keep-best = 3 or more, or give files of weights",
        run.display(), folder.display()
    )]
    NoKeptWeights {
        /// Folder of the run.
        run: PathBuf,
        /// Folder of the weights, which does not exist.
        folder: PathBuf,
    },
    /// The predictions of a fold are not valid CSV.
    #[error("{}: {reason}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// The error of the CSV reader.
        reason: String,
    },
    /// A file or folder of the run cannot be read, written or removed.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or the folder.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// The configuration is invalid.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The folder of the run may not be written.
    #[error(transparent)]
    Output(#[from] OutputError),
    /// The folder of the run cannot be locked.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The configured device cannot be used.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// There is no data folder.
    #[error("data.root = {path:?}: no such folder; set it with --set data.root=DIR")]
    NoData {
        /// The folder.
        path: PathBuf,
    },
    /// There is no folder of unlabelled images.
    #[error("mean-teacher.unlabelled = {path:?}: no such folder; name the folder of the unlabelled images")]
    NoUnlabelled {
        /// The folder.
        path: PathBuf,
    },
    /// The data folder cannot be opened.
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    /// The corrections file cannot be read.
    #[error(transparent)]
    Corrections(#[from] CorrectionsError),
    /// The synthetic data set (`phantom`) cannot be made.
    #[error(transparent)]
    Phantom(#[from] PhantomError),
    /// The patients' metadata cannot be read.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    /// An image cannot be read.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// A table or the folds file cannot be written.
    #[error(transparent)]
    Table(#[from] TableError),
    /// The file of sample weights cannot be read.
    #[error(transparent)]
    SampleWeights(#[from] SplitError),
    /// The training or its data has an error.
    #[error(transparent)]
    Train(#[from] TrainError),
    /// The held-out images cannot be predicted.
    #[error(transparent)]
    Infer(#[from] InferError),
    /// The predictions of the held-out images cannot be scored.
    #[error(transparent)]
    Scores(#[from] ScoreError),
    /// The scores of a fold cannot be read.
    #[error(transparent)]
    DiceFile(#[from] DiceFileError),
    /// The predictions cannot be written.
    #[error(transparent)]
    Submission(#[from] SubmissionError),
    /// The transforms of the crops cannot be read.
    #[error(transparent)]
    Transforms(#[from] TransformsError),
}
