use std::path::{Path, PathBuf};

use super::TrainError;

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

    /// The last weights of a run that holds out no fold: there is no best epoch.
    pub fn final_weights(&self) -> PathBuf {
        self.0.join("final.safetensors")
    }

    /// Weights by stochastic weight averaging at the end of a stage; see [`super::SwaSettings`]. Those of a later stage
    /// replace those of an earlier one.
    pub fn swa(&self) -> PathBuf {
        self.0.join("swa.safetensors")
    }

    /// Mean of the weights of the best epochs; see [`super::TrainConfig::average_best`].
    pub fn average(&self) -> PathBuf {
        self.0.join("average.safetensors")
    }

    /// A file of this name makes the run save and end. The run removes it.
    pub fn stop(&self) -> PathBuf {
        self.0.join("stop")
    }

    /// The weights to predict with that belong to `path`: in the folder of a run those of the best epoch or, if no fold
    /// was held out, the last weights; any other path is returned as it is.
    ///
    /// # Errors
    /// The folder has neither, or a run without a held-out fold was asked for the weights of its best epoch.
    pub fn weights_at(path: &Path) -> Result<PathBuf, TrainError> {
        let wrong = |reason: String| Err(TrainError::Checkpoint { path: path.into(), reason });
        if path.is_dir() {
            let run = RunFolder(path.into());
            return match [run.best(), run.final_weights()].into_iter().find(|file| file.is_file()) {
                Some(file) => Ok(file),
                None => {
                    wrong("no best.safetensors or final.safetensors in this folder; give the folder of a run".into())
                }
            };
        }
        let run = RunFolder(path.parent().unwrap_or(Path::new("")).into());
        if path == run.best() && !path.exists() && run.final_weights().is_file() {
            return wrong(format!(
                "this run held out no fold and has no best epoch; use {} (in a chain: fold = \"none\" in [train])",
                run.final_weights().display()
            ));
        }
        Ok(path.into())
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
