//! `data = "phantom"`: a small synthetic data set with its own folds, to try any configuration in seconds.

use std::path::{Path, PathBuf};

use super::{ExperimentError, Observer};
use crate::dataset::metadata::Sex;
use crate::dataset::{Dataset, ImageEntry, Subset, phantom};
use crate::splits::{self, ImageWeight};
use crate::tables::{self, FoldRow};
use crate::train::TrainConfig;

/// One patient per fold of a five-fold experiment.
const PATIENTS: usize = 5;
/// Number of training images if the configuration has no `data.limit`.
const LIMIT: usize = 4;
/// Number of patients without annotations, if the configuration uses unlabelled images.
const UNLABELLED: usize = 2;
const SEED: u64 = 7;

/// Whether the configuration uses the synthetic data set.
pub fn is_used(config: &TrainConfig) -> bool {
    config.data.root == Path::new("phantom")
}

/// Draws the synthetic data set, once per image size, into the folder of runs, and returns the configuration with it as
/// its data. Files of weights that do not exist are removed from the configuration, with a note.
pub fn prepare(config: &TrainConfig, observer: &dyn Observer) -> Result<TrainConfig, ExperimentError> {
    let sizes = config.stages(Path::new("config.toml"))?.into_iter().flat_map(|s| s.config.size.sides());
    let size = sizes.max().unwrap_or(512).clamp(64, 512);
    let stages = config.stages(Path::new("config.toml"))?;
    let has_teacher = stages.iter().any(|stage| stage.config.mean_teacher.is_some());
    let kind = if has_teacher { format!("{size}-with-unlabelled") } else { size.to_string() };
    let folder = config.output.runs.join(".phantom").join(kind);
    let root = folder.join("data");
    let settings = phantom::PhantomSettings {
        patients: PATIENTS,
        test_patients: if has_teacher { UNLABELLED } else { 0 },
        size,
        seed: SEED,
        defects: false,
        jobs: 0,
        force: false,
    };
    if let Err(error) = phantom::generate(&settings, &root, observer) {
        // Another process may have written the same data in the meantime.
        phantom::generate(&settings, &root, observer).map_err(|_| error)?;
    }
    let mut prepared = config.clone();
    let dataset = Dataset::open(&root)?;
    let annotated: Vec<&ImageEntry> = dataset.images().iter().filter(|e| e.subset == Subset::Train).collect();
    let mut patients: Vec<&str> = annotated.iter().map(|e| e.patient_id.as_str()).collect();
    patients.dedup();
    let fold = |patient: &str| patients.iter().position(|p| *p == patient).unwrap_or(0) as u32;
    let folds = annotated.iter().map(|e| FoldRow {
        image_id: e.image_id.clone(),
        patient_id: e.patient_id.clone(),
        stratum: String::new(),
        fold: fold(&e.patient_id),
    });
    prepared.data.folds = folder.join("folds.csv");
    tables::write_csv(&prepared.data.folds, &folds.collect::<Vec<_>>())?;
    if config.data.sample_weights.is_some() {
        // The weight of men is that of the report.
        let people = dataset.patients()?.content;
        let is_man = |patient: &str| people.iter().any(|p| p.patient_id == patient && p.sex == Some(Sex::M));
        let weight = |patient: &str| if is_man(patient) { 1.34 } else { 1.0 };
        let weights = dataset.images().iter();
        let weights: Vec<ImageWeight> =
            weights.map(|e| ImageWeight { image_id: e.image_id.clone(), weight: weight(&e.patient_id) }).collect();
        let path = folder.join("weights.csv");
        splits::write_weights(&path, &weights)?;
        prepared.data.sample_weights = Some(path);
    }
    let unlabelled = prepared.mean_teacher.as_mut().and_then(|settings| settings.unlabelled.take_if(|p| !p.exists()));
    if let Some(path) = unlabelled {
        observer.note(&format!(
            "mean-teacher.unlabelled = {:?} does not exist; on synthetic data the test images are used",
            path.display().to_string()
        ));
    }
    prepared.data.root = root;
    prepared.data.limit = Some(config.data.limit.unwrap_or(LIMIT));
    for (key, weights) in [("weights", &mut prepared.weights), ("encoder-weights", &mut prepared.encoder_weights)] {
        let missing: Option<PathBuf> = weights.take_if(|path| !path.exists());
        if let Some(path) = missing {
            observer.note(&format!(
                "{key} = {:?} does not exist; on synthetic data the run starts from random weights",
                path.display().to_string()
            ));
        }
    }
    Ok(prepared)
}
