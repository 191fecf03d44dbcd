//! Folders of training runs: listing and comparison. This module does not need libtorch.
//!
//! [`Run`] reads a folder. [`compare`](compare()) groups runs whose configurations differ only in fold and seed, lists
//! the settings in which the groups differ, and estimates the difference in mean Dice. [`seed_noise`] is the variation
//! between trainings that differ only in their seed. [`subgroups`](subgroups()) is the Dice by sex, age and the like.
//! [`add_note`] keeps leaderboard scores with a run.

mod compare;
mod leaderboard;
mod noise;
mod note;
mod run;
mod settings;
mod subgroups;
mod summary;

use std::path::PathBuf;

pub use compare::{Comparison, Difference, Estimate, Measure, RunGroup, SeedNoiseBound, compare};
pub use leaderboard::Leaderboard;
pub use noise::{NOISE_UNKNOWN, noise_text, seed_noise};
pub use note::{NOTES, RunNote, add_note, read_notes};
pub use run::{BestEpoch, Run, RunListing, find};
pub use settings::{IGNORED_KEYS, TRAINING_KEYS, flatten};
pub use subgroups::{SubgroupGap, SubgroupRow, Subgroups, subgroups, subgroups_of_scores};
pub use summary::{AverageSummary, RunSummary, StageEnd, StageSummary};

use crate::scores::DiceFileError;
use crate::tables::TableError;

/// File of a run on crops: masks of the held-out images in pixels of the crops.
pub const CROP_PREDICTIONS: &str = "predictions_crops.csv";
/// File of a run: patient of each held-out image.
pub const HELD_OUT: &str = "held_out.csv";

/// Why runs cannot be read or compared.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A file or folder cannot be read.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or the folder.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// A file of a run is missing, is invalid, or has no scores.
    #[error("{}: {reason}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with the file.
        reason: String,
    },
    /// A note to add to a run is invalid.
    #[error("nothing was added to {}: {reason}", path.display())]
    Note {
        /// The file of notes.
        path: PathBuf,
        /// What is wrong with the note.
        reason: String,
    },
    /// The folder of a run is in use.
    #[error(transparent)]
    Lock(#[from] crate::artefact::LockError),
    /// A folder to read as a run lacks `config.toml`.
    #[error("{} is not a run: it has no config.toml, which `carpus train` writes", path.display())]
    NoConfig {
        /// The folder.
        path: PathBuf,
    },
    /// A file was given where a run or a folder of runs is needed.
    #[error("{} is not a run: a run is a folder with config.toml, which `carpus train` writes", path.display())]
    NotAFolder {
        /// The path, as given.
        path: PathBuf,
    },
    /// A folder is not a run and does not contain one.
    #[error("no runs in {}: a run is a folder with config.toml, which `carpus train` writes", path.display())]
    NoRuns {
        /// The path, as given.
        path: PathBuf,
    },
    /// Several paths were given, and all of them were skipped.
    #[error(
        "none of {} is a readable run: a run is a folder with config.toml, which `carpus train` writes",
        listed(paths)
    )]
    NoneLeft {
        /// The paths, as given.
        paths: Vec<PathBuf>,
    },
    /// A file of scores cannot be read.
    #[error(transparent)]
    Scores(#[from] DiceFileError),
    /// A table of a run cannot be read.
    #[error(transparent)]
    Table(#[from] TableError),
    /// Polars cannot compute a comparison.
    #[error(transparent)]
    Frame(#[from] polars::prelude::PolarsError),
    /// The given runs cannot be compared.
    #[error("{0}")]
    Compare(String),
}

fn listed(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}
