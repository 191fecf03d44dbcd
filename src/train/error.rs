use std::path::PathBuf;

use super::Fold;
use crate::dataset::annotation::AnnotationError;
use crate::dataset::image::ImageError;
use crate::models::{ModelError, WeightsError};

/// Why a run cannot start, continue or finish.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// A patient has images in the validation fold and in other folds.
    #[error(
        "patient {patient} is in both the training set and the validation set of fold {fold} (images {training} and {validation}); make the folds again with `carpus split`"
    )]
    PatientInBoth {
        /// The id of the patient.
        patient: String,
        /// The validation fold.
        fold: Fold,
        /// An image of the patient in the training set.
        training: String,
        /// An image of the patient in the validation set.
        validation: String,
    },
    /// The plan has no stage, or not as many stages as there are data.
    #[error("there are {stages} stages and data for {data}; expected at least one stage, and data for each")]
    StageData {
        /// Number of stages.
        stages: usize,
        /// Number of data.
        data: usize,
    },
    /// No row of the folds file has the fold to train.
    #[error("unknown fold {fold}; the folds file has the folds {found:?}")]
    NoFold {
        /// The fold to train.
        fold: u32,
        /// The folds of the file.
        found: Vec<u32>,
    },
    /// The training or the validation set is empty, or none of its images can be read.
    #[error("no usable {part} images: {reason}")]
    NoImages {
        /// Which set: `training` or `validation`.
        part: &'static str,
        /// Why there are none.
        reason: String,
    },
    /// An image cannot be read.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// An annotation cannot be read.
    #[error(transparent)]
    Annotation(#[from] AnnotationError),
    /// An image of the training or the validation set lacks an annotation.
    #[error("image {image} has no annotation")]
    NotAnnotated {
        /// The id of the image.
        image: String,
    },
    /// The model cannot be built or run.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A file of weights cannot be read or written.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// The loss cannot be computed.
    #[error(transparent)]
    Loss(#[from] crate::losses::LossError),
    /// The Dice of the validation cannot be computed.
    #[error(transparent)]
    Metric(#[from] crate::metrics::MetricError),
    /// libtorch reports an error.
    #[error(transparent)]
    Torch(#[from] tch::TchError),
    /// A file or folder of the run cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or the folder.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// A file is not a state or a file of weights that this version can use, or a tensor cannot be saved.
    #[error("{}: {reason}", path.display())]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// What is wrong with the file.
        reason: String,
    },
    /// The learning-rate finder has no suggestion.
    #[error("the learning-rate finder has no suggestion: {reason}")]
    LrFinder {
        /// Why, and how to fix it.
        reason: String,
    },
    /// A specialist cannot be trained on an image that has none of its bones.
    #[error("image {image}: its annotation has none of the bones {bones}, around which a specialist cuts")]
    NoBones {
        /// The image.
        image: String,
        /// The bones of the specialist.
        bones: String,
    },
    /// The consistency loss of unlabelled images needs averaged weights, which the stage does not have.
    #[error("mean-teacher: the stage has no averaged weights, which are the teacher; add [ema]")]
    NoTeacher,
    /// A stage uses unlabelled images, but its data have none.
    #[error("stage {stage}: [mean-teacher] needs unlabelled images, but the data of the stage have none")]
    NoUnlabelled {
        /// The name of the stage.
        stage: String,
    },
    /// A tensor of the run is not in the saved state with the same shape.
    #[error("tensor {name} of the saved state is missing or has another shape")]
    StateTensor {
        /// The name of the tensor.
        name: String,
    },
    /// A run is to be resumed, but has no saved state.
    #[error("{}: no run to resume; start the run without --resume", path.display())]
    NothingToResume {
        /// The file of the state, which is missing.
        path: PathBuf,
    },
    /// A new run has the folder of a run with a saved state.
    #[error("{}: the run already exists; continue it with --resume, or choose another --name", path.display())]
    RunExists {
        /// The folder of the run.
        path: PathBuf,
    },
    /// A run is to be resumed with other settings, data or classes than those of its saved state.
    #[error("{}: the run cannot be resumed because these settings or data changed:{}\nundo the changes, or start a new run with another --name", path.display(), listing(changes))]
    Changed {
        /// The file of the saved state.
        path: PathBuf,
        /// One sentence per difference.
        changes: Vec<String>,
    },
    /// The loss or the norm of the gradients is NaN or infinite in a training step.
    #[error(
        "epoch {epoch}, step {step}: the {what} is {value} on images {images:?}; check these images, lower the learning rate (optimiser.lr) or clip gradients (clip = 1.0). {}",
        last_state(saved)
    )]
    NotFinite {
        /// The epoch, counted from 1.
        epoch: usize,
        /// Number of optimiser steps before this one.
        step: u64,
        /// Which value: the loss or the gradients' norm.
        what: &'static str,
        /// The value.
        value: f64,
        /// The ids of the images of the step.
        images: Vec<String>,
        /// The file of the last saved state; `None` if nothing was saved.
        saved: Option<PathBuf>,
    },
    /// The loss over the validation set is NaN or infinite.
    #[error(
        "the validation loss is {loss}: the weights are no longer finite numbers; lower the learning rate (optimiser.lr) or clip \
         gradients (clip = 1.0) and start the run again with another --name"
    )]
    ValidationNotFinite {
        /// The loss.
        loss: f64,
    },
    /// A logit is NaN or infinite.
    #[error("the model's logits are not finite (NaN or infinity): its weights or an image are damaged")]
    LogitsNotFinite,
    /// libtorch gets no more memory on the device.
    #[error("out of memory: {advice} ({source})")]
    OutOfMemory {
        /// The settings to lower, with values.
        advice: String,
        /// The error of libtorch.
        source: Box<TrainError>,
    },
    /// A file cannot be written because the disk or a quota is full.
    #[error("{}: {source}. Free some disk space and {}. {}", path.display(), how_to_continue(saved), last_state(saved))]
    DiskFull {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
        /// The file of the last saved state; `None` if nothing was saved.
        saved: Option<PathBuf>,
    },
    /// An entry of `freeze` names weights that the model does not have.
    #[error("freeze: no weight's name starts with {prefix:?}; expected one of {names:?}")]
    NothingFrozen {
        /// The start of the names.
        prefix: String,
        /// The starts of the names of the model's weights.
        names: Vec<String>,
    },
    /// An entry of `freeze` names encoder stages that the model does not have.
    #[error("freeze: {reason}")]
    Freeze {
        /// What is wrong with the entry.
        reason: String,
    },
    /// Images are drawn by weights, but there are no weights, or not one per training image.
    #[error("sampling by weights: {reason}")]
    SampleWeights {
        /// Which weights are missing.
        reason: String,
    },
    /// A stage starts from weights that the stage before did not write.
    #[error("stage {stage} cannot start from {from}: {reason}")]
    Start {
        /// The name of the stage.
        stage: String,
        /// The weights that it starts from.
        from: &'static str,
        /// Why it cannot start, and how to fix it.
        reason: String,
    },
    /// Fewer than two files of weights are to be averaged.
    #[error("{found} file of weights to average; expected two or more")]
    TooFewWeights {
        /// Number of files.
        found: usize,
    },
    /// A setting needs scores of held-out images, but no image is held out.
    #[error("{key} needs held-out images, but there is no validation set; remove it, or hold out a fold (data.fold)")]
    NoValidation {
        /// The setting.
        key: &'static str,
    },
    /// A table of the run cannot be read or written.
    #[error(transparent)]
    Table(#[from] crate::tables::TableError),
    /// A crop has no transform, or its masks do not fit it.
    #[error("image {image}: {reason}; make the crops again with `carpus clean`")]
    Crop {
        /// The id of the image.
        image: String,
        /// What is wrong with the crop.
        reason: String,
    },
    /// A thread that prepares batches panicked.
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
