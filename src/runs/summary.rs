use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::RunError;
use crate::bounded;
use crate::scores::DiceSummary;

/// `summary.json` of a run that has ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunSummary {
    /// Folder of the run.
    pub run: PathBuf,
    /// The best epoch, from 1.
    pub best_epoch: usize,
    /// Its mean validation Dice at the model's size.
    pub best_dice_at_model_size: f64,
    /// Whether it ended before its last epoch.
    pub stopped_early: bool,
    /// Training images.
    pub training_images: usize,
    /// Images held out.
    pub validation_images: usize,
    /// Images that could not be used.
    pub images_left_out: usize,
    /// Seconds in all.
    pub seconds: f64,
    /// Scores of the held-out images at their own size; absent where they were not scored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_out: Option<DiceSummary>,
}

impl RunSummary {
    /// Name of the file in the run's folder.
    pub const FILE: &str = "summary.json";

    /// Reads the file.
    ///
    /// # Errors
    /// It cannot be read or is no summary of a run.
    pub fn read(path: &Path) -> Result<RunSummary, RunError> {
        let io = |source| RunError::Io { path: path.into(), source };
        let bytes = bounded::read(path, bounded::MAX_TEXT).map_err(io)?;
        serde_json::from_slice(&bytes).map_err(|e| RunError::Content { path: path.into(), reason: e.to_string() })
    }
}
