//! Folders of training runs: listing and comparison. This module does not need libtorch.
//!
//! [`Run`] reads a folder. [`compare`](compare()) groups runs whose configurations differ only in fold and seed, lists
//! the settings in which the groups differ, and estimates the difference in mean Dice.

mod compare;
mod run;
mod settings;
mod summary;

use std::path::PathBuf;

pub use compare::{Comparison, Difference, Estimate, Measure, RunGroup, compare};
pub use run::{Run, RunListing, find};
pub use settings::{IGNORED_KEYS, TRAINING_KEYS, flatten};
pub use summary::RunSummary;

use crate::scores::DiceFileError;
use crate::tables::TableError;

/// File of a run on crops: masks of the held-out images in pixels of the crops.
pub const CROP_PREDICTIONS: &str = "predictions_crops.csv";
/// File of a run: patient of each held-out image.
pub const HELD_OUT: &str = "held_out.csv";

/// Why runs cannot be read or compared.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum RunError {
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: std::io::Error },
    #[error("{}: {reason}", path.display())]
    Content { path: PathBuf, reason: String },
    #[error("{} is not a run: it has no config.toml, which `carpus train` writes", path.display())]
    NoConfig { path: PathBuf },
    #[error("{} is not a run: a run is a folder with config.toml, which `carpus train` writes", path.display())]
    NotAFolder { path: PathBuf },
    #[error("no runs in {}: a run is a folder with config.toml, which `carpus train` writes", path.display())]
    NoRuns { path: PathBuf },
    #[error(
        "none of {} is a readable run: a run is a folder with config.toml, which `carpus train` writes",
        listed(paths)
    )]
    NoneLeft { paths: Vec<PathBuf> },
    #[error(transparent)]
    Scores(#[from] DiceFileError),
    #[error(transparent)]
    Table(#[from] TableError),
    #[error(transparent)]
    Frame(#[from] polars::prelude::PolarsError),
    #[error("{0}")]
    Compare(String),
}

fn listed(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}
