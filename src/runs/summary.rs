use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::RunError;
use crate::bounded;
use crate::scores::DiceSummary;

/// Content of `summary.json`, which a run writes when it ends.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunSummary {
    /// Folder of the run.
    pub run: PathBuf,
    /// Best epoch, from 1.
    pub best_epoch: usize,
    /// Mean validation Dice of the best epoch, at the model's input size.
    pub best_dice_at_model_size: f64,
    /// Whether early stopping ended the run.
    pub stopped_early: bool,
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
