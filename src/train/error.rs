use std::path::PathBuf;

use crate::dataset::annotation::AnnotationError;
use crate::dataset::image::ImageError;
use crate::models::{ModelError, WeightsError};

/// Why a run cannot start, continue or finish.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum TrainError {
    #[error(
        "patient {patient} is in both the training set and the validation set of fold {fold} (images {training} and {validation}); make the folds again with `carpus split`"
    )]
    PatientInBoth { patient: String, fold: u32, training: String, validation: String },
    #[error("there are {stages} stages and data for {data}; expected at least one stage, and data for each")]
    StageData { stages: usize, data: usize },
    #[error("unknown fold {fold}; the folds file has the folds {found:?}")]
    NoFold { fold: u32, found: Vec<u32> },
    #[error("no usable {part} images: {reason}")]
    NoImages { part: &'static str, reason: String },
    #[error(transparent)]
    Image(#[from] ImageError),
    #[error(transparent)]
    Annotation(#[from] AnnotationError),
    #[error("image {image} has no annotation")]
    NotAnnotated { image: String },
    #[error(transparent)]
    Model(#[from] ModelError),
    #[error(transparent)]
    Weights(#[from] WeightsError),
    #[error(transparent)]
    Loss(#[from] crate::losses::LossError),
    #[error(transparent)]
    Metric(#[from] crate::metrics::MetricError),
    #[error(transparent)]
    Torch(#[from] tch::TchError),
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: std::io::Error },
    #[error("{}: {reason}", path.display())]
    Checkpoint { path: PathBuf, reason: String },
    #[error("tensor {name} of the saved state is missing or has another shape")]
    StateTensor { name: String },
    #[error("{}: no run to resume; start the run without --resume", path.display())]
    NothingToResume { path: PathBuf },
    #[error("{}: the run already exists; continue it with --resume, or choose another --name", path.display())]
    RunExists { path: PathBuf },
    #[error("{}: the run cannot be resumed because these settings or data changed:{}\nundo the changes, or start a new run with another --name", path.display(), listing(changes))]
    Changed { path: PathBuf, changes: Vec<String> },
    #[error(
        "epoch {epoch}, step {step}: the {what} is {value} on images {images:?}; check these images, lower the learning rate (optimiser.lr) or clip gradients (clip = 1.0). {}",
        last_state(saved)
    )]
    NotFinite { epoch: usize, step: u64, what: &'static str, value: f64, images: Vec<String>, saved: Option<PathBuf> },
    #[error(
        "the validation loss is {loss}: the weights are no longer finite numbers; lower the learning rate (optimiser.lr) or clip \
         gradients (clip = 1.0) and start the run again with another --name"
    )]
    ValidationNotFinite { loss: f64 },
    #[error("the model's logits are not finite (NaN or infinity): its weights or an image are damaged")]
    LogitsNotFinite,
    #[error("out of memory: {advice} ({source})")]
    OutOfMemory { advice: String, source: Box<TrainError> },
    #[error("{}: {source}. Free some disk space and {}. {}", path.display(), how_to_continue(saved), last_state(saved))]
    DiskFull { path: PathBuf, source: std::io::Error, saved: Option<PathBuf> },
    #[error("freeze: no weight's name starts with {prefix:?}; expected one of {names:?}")]
    NothingFrozen { prefix: String, names: Vec<String> },
    #[error("freeze: {reason}")]
    Freeze { reason: String },
    #[error("sampling by weights: {reason}")]
    SampleWeights { reason: String },
    #[error("stage {stage} cannot start from {from}: {reason}")]
    Start { stage: String, from: &'static str, reason: String },
    #[error(transparent)]
    Table(#[from] crate::tables::TableError),
    #[error("image {image}: {reason}; make the crops again with `carpus clean`")]
    Crop { image: String, reason: String },
    #[error("a thread that prepares batches stopped with a panic; this is a fault in carpus")]
    Worker,
}

fn listing(changes: &[String]) -> String {
    changes.iter().map(|c| format!("\n  {c}")).collect()
}

/// How to continue: a run that has saved nothing cannot be resumed.
fn how_to_continue(saved: &Option<PathBuf>) -> &'static str {
    if saved.is_some() { "continue with --resume" } else { "start the run again" }
}

fn last_state(saved: &Option<PathBuf>) -> String {
    match saved {
        Some(path) => format!("The last saved state is in {}", path.display()),
        None => "Nothing has been saved yet".into(),
    }
}

impl TrainError {
    /// Turns an error of writing to a full disk into [`TrainError::DiskFull`].
    pub(super) fn disk_full(self, saved: Option<PathBuf>) -> TrainError {
        use std::io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
        let full = |e: &std::io::Error| matches!(e.kind(), StorageFull | QuotaExceeded | FileTooLarge);
        match self {
            TrainError::Io { path, source } | TrainError::Table(crate::tables::TableError::Io { path, source })
                if full(&source) =>
            {
                TrainError::DiskFull { path, source, saved }
            }
            other => other,
        }
    }

    pub(super) fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> TrainError {
        let path = path.into();
        move |source| TrainError::Io { path, source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resuming_is_suggested_only_if_something_was_saved() {
        let full = || TrainError::io("runs/a/best.safetensors")(std::io::ErrorKind::StorageFull.into());
        let saved = full().disk_full(Some("runs/a/last.safetensors".into())).to_string();
        assert!(saved.contains("continue with --resume") && saved.contains("in runs/a/last.safetensors"), "{saved}");
        let not_saved = full().disk_full(None).to_string();
        assert!(not_saved.contains("start the run again. Nothing has been saved yet"), "{not_saved}");
        // A run with other settings cannot be resumed.
        for error in [not_saved, TrainError::ValidationNotFinite { loss: f64::NAN }.to_string()] {
            assert!(!error.contains("--resume") && error.contains("start the run again"), "{error}");
        }
    }
}
