//! Run folders: what training left, listed and held against each other. Nothing here needs libtorch.
//!
//! [`Run`] reads a folder, [`compare`] groups runs whose configurations differ in fold and seed alone, names the
//! settings in which the groups differ, and estimates the difference in mean Dice.

mod compare;
mod run;
mod settings;

use std::path::PathBuf;

pub use compare::{Comparison, Difference, Estimate, Group, Measure, compare};
/// File of a run on crops with the masks of the held-out images in pixels of the crops.
pub const CROP_PREDICTIONS: &str = "predictions_crops.csv";

pub use run::{Epoch, Outcome, Run, find};
pub use settings::{IGNORED, UNITS, flatten};

/// A folder that is no run.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum RunError {
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: std::io::Error },
    #[error("{}: {reason}", path.display())]
    Content { path: PathBuf, reason: String },
    #[error("{} is no run: it holds no config.toml, which `carpus train` writes", path.display())]
    NoConfig { path: PathBuf },
    #[error("no run in {}: a run is a folder with config.toml, which `carpus train` writes", path.display())]
    NoRuns { path: PathBuf },
    #[error("{0}")]
    Compare(String),
}
