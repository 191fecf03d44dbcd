use std::path::{Path, PathBuf};

/// The folder of a run.
#[derive(Clone, Debug)]
pub struct RunFolder(PathBuf);

impl RunFolder {
    /// The run `name` under `runs`.
    pub fn new(runs: &Path, name: &str) -> RunFolder {
        RunFolder(runs.join(name))
    }

    /// Path of the folder.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The state of the run, to resume it.
    pub fn last(&self) -> PathBuf {
        self.0.join("last.safetensors")
    }

    /// Weights of the best epoch.
    pub fn best(&self) -> PathBuf {
        self.0.join("best.safetensors")
    }

    /// Folder of the weights of the best epochs, if more than one is kept.
    pub fn kept_folder(&self) -> PathBuf {
        self.0.join("best")
    }

    /// Weights of epoch `epoch` while it is among the best.
    pub fn kept(&self, epoch: usize) -> PathBuf {
        self.kept_folder().join(format!("epoch{epoch:03}.safetensors"))
    }

    /// Predicted masks of the held-out images, in pixels of the original images.
    pub fn predictions(&self) -> PathBuf {
        self.0.join("predictions.csv")
    }

    /// Predicted masks of the held-out images in pixels of the crops, if the run was trained on crops.
    pub fn crop_predictions(&self) -> PathBuf {
        self.0.join(crate::runs::CROP_PREDICTIONS)
    }

    /// One row per epoch; `metrics.parquet` has the same rows.
    pub fn metrics(&self) -> PathBuf {
        self.0.join("metrics.csv")
    }

    /// Pictures of validation images after epoch `epoch`.
    pub fn picture(&self, epoch: usize) -> PathBuf {
        self.0.join(format!("pictures/epoch{epoch:03}.png"))
    }
}
