//! The data of a run, read once for each image size.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{ExperimentError, Observer};
use crate::bones::Bone;
use crate::dataset::{Corrections, Dataset, DatasetError, ImageEntry, Problem, ProblemSeverity, Subset, WithProblems};
use crate::geometry::Size;
use crate::splits;
use crate::tables::{self, FoldRow};
use crate::train::{
    Data, Fold, Partition, PatientMetadata, SampleFrame, Samples, SpecialistSettings, Stage, TrainConfig, TrainError,
    UnlabelledImages, partition,
};
use crate::wording::counted;

/// Training set and validation set at each image size that the stages use. There is no validation set if no fold is
/// held out.
pub struct DataBySize {
    sizes: Vec<(Size, Samples, Option<Samples>)>,
    /// The data set that the images come from.
    pub dataset: Arc<Dataset>,
    /// Metadata of the patients.
    pub known: PatientMetadata,
    /// Images without labels by their folder and size, for stages with a mean teacher.
    unlabelled: Vec<(Option<PathBuf>, Size, UnlabelledImages)>,
    /// Images that could not be used.
    problems: Vec<Problem>,
}

impl DataBySize {
    /// Reads the images of the configured fold, once at each different size of `sizes`.
    pub fn read(
        config: &TrainConfig,
        sizes: impl Iterator<Item = Size>,
        observer: &dyn Observer,
    ) -> Result<DataBySize, ExperimentError> {
        let corrections = config.data.corrections.as_deref().map(Corrections::read).transpose()?.unwrap_or_default();
        observer.problems(corrections.problems());
        let dataset = Dataset::open(&config.data.root).map_err(|error| match error {
            DatasetError::Io { path, source } if source.kind() == std::io::ErrorKind::NotFound => {
                ExperimentError::NoData { path }
            }
            other => other.into(),
        })?;
        let dataset = dataset.with_corrections(corrections);
        observer.problems(dataset.unfit_corrections());
        let parts = parts(config, &dataset, observer)?;
        let bytes = config.data.cache_mb << 20;
        let known = known(&dataset, observer);
        let mut read = DataBySize {
            sizes: Vec::new(),
            dataset: Arc::new(dataset),
            known,
            unlabelled: Vec::new(),
            problems: Vec::new(),
        };
        for size in sizes {
            if read.sizes.iter().any(|(s, ..)| *s == size) {
                continue;
            }
            let load = |entries: &[ImageEntry], part| {
                let frame = SampleFrame { size, specialist: config.specialist.clone() };
                Samples::load(&read.dataset, entries, &read.known, frame, bytes, part, observer)
            };
            let WithProblems { content: training, mut problems } = load(&parts.training, "training")?;
            let mut validation = None;
            if let Fold::Number(_) = config.data.fold {
                let read = load(&parts.validation, "validation")?;
                problems.extend(read.problems);
                validation = Some(read.content);
            }
            let uncached = training.uncached() + validation.as_ref().map_or(0, Samples::uncached);
            if uncached > 0 {
                observer.note(&format!(
                    "{} of {size} px do not fit into data.cache-mb = {} and are read from the disk again in each epoch",
                    counted(uncached, "sample", "samples"),
                    config.data.cache_mb
                ));
            }
            if read.sizes.is_empty() {
                warn_of_empty("training", &training, observer);
                if let Some(validation) = &validation {
                    warn_of_empty("validation", validation, observer);
                }
                problems.retain(|p| p.severity == ProblemSeverity::Error);
                observer.problems(&problems);
                read.problems = problems;
            }
            read.sizes.push((size, training, validation));
        }
        Ok(read)
    }

    /// Reads the unlabelled images of the stages that have a mean teacher.
    pub fn read_unlabelled(
        &mut self,
        stages: &[Stage],
        config: &TrainConfig,
        observer: &dyn Observer,
    ) -> Result<(), ExperimentError> {
        for stage in stages {
            let Some(settings) = &stage.config.mean_teacher else { continue };
            let (folder, size) = (&settings.unlabelled, stage.config.size);
            if self.unlabelled.iter().any(|(f, s, _)| f == folder && *s == size) {
                continue;
            }
            let (images, problems) = self.load_unlabelled(folder.as_deref(), size, config, observer)?;
            if self.unlabelled.is_empty() {
                observer.result(&format!(
                    "mean teacher: {}",
                    counted(images.len(), "unlabelled image", "unlabelled images")
                ));
            }
            observer.problems(&problems);
            self.unlabelled.push((folder.clone(), size, images));
        }
        Ok(())
    }

    fn load_unlabelled(
        &self,
        folder: Option<&Path>,
        size: Size,
        config: &TrainConfig,
        observer: &dyn Observer,
    ) -> Result<(UnlabelledImages, Vec<Problem>), ExperimentError> {
        let validation = self.sizes[0].2.as_ref().map_or(&[][..], Samples::entries);
        let (dataset, known, is_other) = match folder {
            None => (self.dataset.clone(), self.known.clone(), false),
            Some(root) => {
                let dataset = Dataset::open(root).map_err(|error| match error {
                    DatasetError::Io { path, source } if source.kind() == std::io::ErrorKind::NotFound => {
                        ExperimentError::NoUnlabelled { path }
                    }
                    other => other.into(),
                })?;
                // Grey levels are scaled as those of the training images.
                let dataset = match self.dataset.top_level() {
                    Some(top) => dataset.with_top_level(top),
                    None => dataset,
                };
                let known = known(&dataset, observer);
                (Arc::new(dataset), known, true)
            }
        };
        let is_test = |entry: &&ImageEntry| is_other || entry.subset == Subset::Test;
        let candidates = dataset.images().iter().filter(is_test).filter(|entry| !dataset.excludes(entry));
        // Patients of another data set may have the same numbers.
        let is_held_out = |entry: &ImageEntry| {
            let same = |held: &ImageEntry| {
                held.image_id == entry.image_id || (!is_other && held.patient_id == entry.patient_id)
            };
            validation.iter().any(same)
        };
        let (held_out, entries): (Vec<ImageEntry>, Vec<ImageEntry>) = candidates.cloned().partition(is_held_out);
        if !held_out.is_empty() {
            observer.note(&format!(
                "left out of the unlabelled images: {} of the validation set",
                counted(held_out.len(), "image", "images")
            ));
        }
        let bytes = config.data.cache_mb << 20;
        Ok(UnlabelledImages::load(&dataset, &entries, &known, size, bytes, observer)?)
    }

    /// The data of a stage with this configuration, whose size was read.
    pub fn at(&self, stage: &TrainConfig) -> Data<'_> {
        let found = self.sizes.iter().find(|(s, ..)| *s == stage.size);
        let (_, training, validation) = found.expect("every stage's size was read");
        let folder = stage.mean_teacher.as_ref().map(|settings| &settings.unlabelled);
        let unlabelled = self.unlabelled.iter().find(|(f, s, _)| Some(f) == folder && *s == stage.size);
        let unlabelled = unlabelled.map(|(.., images)| images);
        Data { training, validation: validation.as_ref(), unlabelled }
    }

    /// Number of images that could not be used.
    pub fn left_out(&self) -> usize {
        self.problems.len()
    }
}

/// Warns about images that show no bone, and about bones that no image shows: the Dice of two empty masks is 1, so a
/// model that predicts nothing has a high Dice on them.
fn warn_of_empty(part: &str, samples: &Samples, observer: &dyn Observer) {
    let (present, images) = (samples.present(), samples.len());
    let empty = present.iter().filter(|classes| **classes == 0).count();
    if empty == images {
        observer.warn(&format!(
            "no {part} image shows a bone: all {images} annotations are empty. A model that predicts nothing has a Dice of 1 on \
             them; check the annotations"
        ));
        return;
    }
    let shown = present.iter().fold(0, |all, classes| all | classes);
    let wanted = samples.specialist().map_or(u32::MAX, SpecialistSettings::word);
    let is_absent = |bone: &Bone| bone.bit() & wanted & !shown != 0;
    let absent: Vec<&str> = Bone::all().filter(is_absent).map(Bone::name).collect();
    if empty > 0 {
        observer.warn(&format!("{empty} of {images} {part} images show no bone: their annotations are empty"));
    }
    if !absent.is_empty() {
        observer.warn(&format!("no {part} image shows {}", absent.join(", ")));
    }
}

/// Reads the folds file: the fold of each image.
///
/// # Errors
/// The file cannot be read.
pub(super) fn read_folds(config: &TrainConfig) -> Result<Vec<FoldRow>, ExperimentError> {
    tables::read_folds(&config.data.folds).map_err(|source| ExperimentError::Folds { source })
}

/// The validation set (the images of the configured fold) and the training set (those of the other folds), without the
/// images that the corrections exclude.
///
/// # Errors
/// The folds file cannot be read or has no such fold, or a patient is in both sets.
pub fn parts(config: &TrainConfig, dataset: &Dataset, observer: &dyn Observer) -> Result<Partition, ExperimentError> {
    let mut folds: Vec<FoldRow> = read_folds(config)?;
    let all = folds.len();
    let corrections = dataset.corrections();
    folds.retain(|row| !corrections.excludes(&row.image_id, &row.patient_id));
    if folds.len() < all {
        observer.note(&format!(
            "{} excludes {} of the folds",
            corrections.file(),
            counted(all - folds.len(), "image", "images")
        ));
    }
    let mut parts = partition(dataset.images(), &folds, config.data.fold)?;
    for image in parts.missing.iter().take(5) {
        observer.warn(&format!("image {image} of {} is not in the data; skipped", config.data.folds.display()));
    }
    if parts.missing.len() > 5 {
        observer.warn(&format!(
            "… and {} of the folds are not in the data",
            counted(parts.missing.len() - 5, "more image", "more images")
        ));
    }
    let limit = config.data.limit.unwrap_or(usize::MAX);
    parts.training.truncate(limit);
    parts.validation.truncate(limit);
    Ok(parts)
}

/// Reads the patients' metadata. If the spreadsheet cannot be read, a warning is printed and all metadata are unknown:
/// only a model that is conditioned on them needs them.
pub fn known(dataset: &Dataset, observer: &dyn Observer) -> PatientMetadata {
    PatientMetadata::read(dataset).unwrap_or_else(|error| {
        observer.warn(&format!("{error}; the patients' metadata are unknown"));
        PatientMetadata::default()
    })
}

/// The weight of each training image in the draws of an epoch; `None` without a file of weights.
///
/// # Errors
/// The file of weights cannot be read, or has no weight for an image.
pub fn weights(config: &TrainConfig, training: &Samples) -> Result<Option<Vec<f64>>, ExperimentError> {
    let Some(path) = &config.data.sample_weights else { return Ok(None) };
    let by_image: HashMap<String, f64> =
        splits::read_weights(path)?.into_iter().map(|w| (w.image_id, w.weight)).collect();
    let of = |entry: &ImageEntry| {
        by_image.get(&entry.image_id).copied().ok_or_else(|| TrainError::SampleWeights {
            reason: format!(
                "{}: no weight for image {}; write the weights again with `carpus split --sample-weights`",
                path.display(),
                entry.image_id
            ),
        })
    };
    Ok(Some(training.entries().iter().map(of).collect::<Result<_, _>>()?))
}
