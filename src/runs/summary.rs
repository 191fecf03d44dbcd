use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::RunError;
use crate::bounded;
use crate::closed_enum::closed_enum;
use crate::scores::DiceSummary;

closed_enum! {
    /// Why a stage of a run ended.
    pub enum StageEnd ("end of a stage") {
        /// All its epochs are finished.
        Epochs = "epochs",
        /// There was no better epoch for some time (`early-stop`).
        EarlyStop = "early-stop",
        /// The scores of `until` were reached.
        Until = "until",
    }
}

/// A finished stage of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StageSummary {
    /// Name of the stage.
    pub name: String,
    /// Number of trained epochs.
    pub epochs: usize,
    /// Why it ended.
    pub end: StageEnd,
    /// Result of its stochastic weight averaging; absent if it averaged no epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub swa: Option<AverageSummary>,
}

/// Averaged weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AverageSummary {
    /// Number of averaged epochs.
    pub epochs: usize,
    /// Mean validation Dice at the model's input size; absent if no image was held out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dice: Option<f64>,
}

/// Content of `summary.json`, which a run writes when it ends.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunSummary {
    /// Folder of the run.
    pub run: PathBuf,
    /// Best epoch, from 1; `None` if no image was held out, because no epoch has a score then.
    pub best_epoch: Option<usize>,
    /// Mean validation Dice of the best epoch, at the model's input size; `None` if no image was held out.
    pub best_dice_at_model_size: Option<f64>,
    /// Whether early stopping ended a stage.
    pub stopped_early: bool,
    /// The stages in order; empty in runs of versions that did not write them.
    #[serde(default)]
    pub stages: Vec<StageSummary>,
    /// Result of averaging the best epochs (`average-best`); absent if they were not averaged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub average_best: Option<AverageSummary>,
    /// Number of training images.
    pub training_images: usize,
    /// Number of held-out images.
    pub validation_images: usize,
    /// Number of images that could not be used.
    pub images_left_out: usize,
    /// Duration in seconds.
    pub seconds: f64,
    /// Scores of the held-out images at original size; absent if they were not scored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_out: Option<DiceSummary>,
}

impl RunSummary {
    /// File name in the run's folder.
    pub const FILE: &str = "summary.json";

    /// Reads the file.
    ///
    /// # Errors
    /// The file cannot be read or is not the summary of a run.
    pub fn read(path: &Path) -> Result<RunSummary, RunError> {
        let io = |source| RunError::Io { path: path.into(), source };
        let bytes = bounded::read(path, bounded::MAX_TEXT).map_err(io)?;
        serde_json::from_slice(&bytes).map_err(|e| RunError::Content { path: path.into(), reason: e.to_string() })
    }
}
