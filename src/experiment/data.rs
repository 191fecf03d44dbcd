//! The data of a run: read once a size.

use std::collections::HashMap;
use std::sync::Arc;

use super::{ExperimentError, Observer};
use crate::bones::Bone;
use crate::dataset::{Corrections, Dataset, ImageEntry, Problem, ProblemSeverity};
use crate::splits;
use crate::tables::{self, FoldRow};
use crate::train::{Data, Partition, PatientMetadata, Samples, TrainConfig, TrainError, partition};
use crate::wording::counted;

/// Training and validation images at every size that a stage sees.
pub struct Sizes {
    sizes: Vec<(u32, Samples, Samples)>,
    /// Where they come from.
    pub dataset: Arc<Dataset>,
    /// What is known of the patients.
    pub known: PatientMetadata,
    /// Images that cannot be used.
    problems: Vec<Problem>,
}

impl Sizes {
    /// Reads the images of the configured fold at `sizes`, told apart.
    pub fn read(
        config: &TrainConfig,
        sizes: impl Iterator<Item = u32>,
        observer: &dyn Observer,
    ) -> Result<Sizes, ExperimentError> {
        let corrections = config.data.corrections.as_deref().map(Corrections::read).transpose()?.unwrap_or_default();
        observer.problems(corrections.problems());
        let dataset = Dataset::open(&config.data.root)?.with_corrections(corrections);
        observer.problems(dataset.unfit_corrections());
        let parts = parts(config, &dataset, observer)?;
        let bytes = config.data.cache_mb << 20;
        let known = known(&dataset, observer);
        let mut read = Sizes { sizes: Vec::new(), dataset: Arc::new(dataset), known, problems: Vec::new() };
        for size in sizes {
            if read.sizes.iter().any(|(s, ..)| *s == size) {
                continue;
            }
            let load = |entries: &[ImageEntry], part| {
                Samples::load(&read.dataset, entries, &read.known, size, bytes, part, observer)
            };
            let (training, mut problems) = load(&parts.training, "training")?;
            let (validation, found) = load(&parts.validation, "validation")?;
            problems.extend(found);
            let uncached = training.uncached() + validation.uncached();
            if uncached > 0 {
                observer.note(&format!(
                    "{} of {size} px beyond data.cache-mb = {}: read from the disk again in each epoch",
                    counted(uncached, "sample", "samples"),
                    config.data.cache_mb
                ));
            }
            if read.sizes.is_empty() {
                warn_of_empty("training", &training, observer);
                warn_of_empty("validation", &validation, observer);
                problems.retain(|p| p.severity == ProblemSeverity::Error);
                observer.problems(&problems);
                read.problems = problems;
            }
            read.sizes.push((size, training, validation));
        }
        Ok(read)
    }

    /// Those of `size`, which is among the sizes read.
    pub fn at(&self, size: u32) -> Data<'_> {
        let found = self.sizes.iter().find(|(s, ..)| *s == size);
        let (_, training, validation) = found.expect("every stage's size was read");
        Data { training, validation }
    }

    /// Images that could not be used.
    pub fn left_out(&self) -> usize {
        self.problems.len()
    }
}

/// Warns of images that show no bone, and of bones that no image shows: the Dice of two empty masks is 1, so that a model which
/// predicts nothing scores well on them.
fn warn_of_empty(part: &str, samples: &Samples, observer: &dyn Observer) {
    let (present, images) = (samples.present(), samples.len());
    let empty = present.iter().filter(|classes| **classes == 0).count();
    if empty == images {
        observer.warn(&format!(
            "NO {part} image shows a bone: all {images} annotations are empty. A model that predicts nothing will score a \
             Dice of 1 on them; look at the annotations"
        ));
        return;
    }
    let shown = present.iter().fold(0, |all, classes| all | classes);
    let absent: Vec<&str> = Bone::all().filter(|bone| shown >> bone.index() & 1 == 0).map(Bone::name).collect();
    if empty > 0 {
        observer.warn(&format!("{empty} of {images} {part} images show no bone: their annotations are empty"));
    }
    if !absent.is_empty() {
        observer.warn(&format!("no {part} image shows {}", absent.join(", ")));
    }
}

/// The fold of each image.
///
/// # Errors
/// The file cannot be read.
pub(super) fn read_folds(config: &TrainConfig) -> Result<Vec<FoldRow>, ExperimentError> {
    tables::read(&config.data.folds).map_err(|source| ExperimentError::Folds { source })
}

/// Images of the configured fold, and of the others, less those that the corrections exclude.
pub fn parts(config: &TrainConfig, dataset: &Dataset, observer: &dyn Observer) -> Result<Partition, ExperimentError> {
    let mut folds: Vec<FoldRow> = read_folds(config)?;
    let all = folds.len();
    let corrections = dataset.corrections();
    folds.retain(|row| !corrections.excludes(&row.image_id, &row.patient_id));
    if folds.len() < all {
        observer.note(&format!(
            "of the folds, {} excluded by {}",
            counted(all - folds.len(), "image is", "images are"),
            corrections.file()
        ));
    }
    let mut parts = partition(dataset.images(), &folds, config.data.fold)?;
    for image in parts.missing.iter().take(5) {
        observer.warn(&format!("image {image} of {} is not in the data: skipped", config.data.folds.display()));
    }
    if parts.missing.len() > 5 {
        observer.warn(&format!("… and {} of the folds", counted(parts.missing.len() - 5, "more image", "more images")));
    }
    let limit = config.data.limit.unwrap_or(usize::MAX);
    parts.training.truncate(limit);
    parts.validation.truncate(limit);
    Ok(parts)
}

/// A spreadsheet that cannot be read leaves every patient unknown: only a model that is conditioned on it misses it.
pub fn known(dataset: &Dataset, observer: &dyn Observer) -> PatientMetadata {
    PatientMetadata::read(dataset).unwrap_or_else(|error| {
        observer.warn(&format!("{error}; nothing is known of the patients"));
        PatientMetadata::default()
    })
}

/// Weights of the training images in the draw of an epoch.
pub fn weights(config: &TrainConfig, training: &Samples) -> Result<Option<Vec<f64>>, ExperimentError> {
    let Some(path) = &config.data.sample_weights else { return Ok(None) };
    let by_image: HashMap<String, f64> =
        splits::read_weights(path)?.into_iter().map(|w| (w.image_id, w.weight)).collect();
    let of = |entry: &ImageEntry| {
        by_image.get(&entry.image_id).copied().ok_or_else(|| TrainError::SampleWeights {
            reason: format!("{}: none for image {}; write it again with the folds", path.display(), entry.image_id),
        })
    };
    Ok(Some(training.entries().iter().map(of).collect::<Result<_, _>>()?))
}
