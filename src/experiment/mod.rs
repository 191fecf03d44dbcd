//! An experiment: from a training configuration to run folders that are trained, scored and reported.
//!
//! [`Experiment::run_fold`] trains one fold, [`Experiment::run_folds`] several and collects what they held out. The caller
//! decides what happens to a run that exists ([`Existing`]), can stop the run, and follows it as an [`Observer`].

mod data;
mod error;
mod folds;
mod phantom;

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use serde::Serialize;
use tch::Device;

use crate::artefact::{Lock, Outputs, kind, remove_owned, write_atomically};
use crate::clean::read_transforms;
use crate::dataset::{ImageEntry, Problem};
use crate::device;
use crate::infer::{Predictor, predict, to_originals};
use crate::mask::submission;
use crate::report;
use crate::runs::{HELD_OUT, RunSummary};
use crate::scores::{self, DiceSummary, Region};
use crate::tables::{self, HeldOutRow, TableError};
use crate::train::{Amp, Outcome, RunFolder, Stage, Strategy, TrainConfig, TrainError, TrainingPlan, Watcher, train};
use crate::wording::counted;

pub use data::{known, parts};
pub use error::ExperimentError;
pub use folds::{FoldSummary, Folds, FoldsSummary};

use data::Sizes;

/// Someone who follows an experiment.
pub trait Observer: Watcher {
    /// A line of the result.
    fn result(&self, _text: &str) {}

    /// A remark.
    fn note(&self, _text: &str) {}

    /// Something that is probably not as intended.
    fn warn(&self, _text: &str) {}

    /// What was met in reading the data.
    fn problems(&self, _problems: &[Problem]) {}
}

impl Observer for crate::progress::Silent {}

/// What to do with a run that exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Existing {
    /// Leave it alone and end with an error
    Refuse,
    /// Go on with it; an error where settings or data changed
    Resume,
    /// Remove it and start from scratch
    Replace,
    /// Go on with it, or start from scratch where settings or data changed
    Auto,
}

/// A training configuration and how its runs are made.
#[derive(Clone, Debug)]
pub struct Experiment {
    /// What is trained.
    pub config: TrainConfig,
    /// The file that the configuration was read from: an input, and its name that of runs without another.
    pub config_file: PathBuf,
    /// What to do with a run that exists.
    pub existing: Existing,
    /// What may be written over.
    pub outputs: Outputs,
}

/// Whether a run is one of many: to resume one that was not begun is then to begin it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Many {
    Yes,
    No,
}

impl Experiment {
    fn default_name(&self) -> String {
        self.config_file.file_stem().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// The configuration with the run's name in it.
    fn named(&self) -> TrainConfig {
        let mut config = self.config.clone();
        config.output.name.get_or_insert_with(|| format!("{}-fold{}", self.default_name(), config.data.fold));
        config
    }

    /// Trains the configured fold and scores its best weights. `None` where `stop` asked it to stop; it saved where it stood.
    ///
    /// # Errors
    /// The run exists or does not, its folder is in use or not to be written to, the data or folds cannot be read, or training
    /// fails.
    pub fn run_fold(&self, stop: &AtomicBool, observer: &dyn Observer) -> Result<Option<RunSummary>, ExperimentError> {
        self.train_fold(self.named(), Many::No, stop, observer)
    }

    /// Trains the fold of `config`, whose run has a name. A run that could not begin leaves no folder.
    fn train_fold(
        &self,
        config: TrainConfig,
        many: Many,
        stop: &AtomicBool,
        observer: &dyn Observer,
    ) -> Result<Option<RunSummary>, ExperimentError> {
        let folder = run_folder(&config)?;
        let ended = self.train_in(&folder, config, many, stop, observer);
        if ended.is_err() {
            // A folder with anything in it stays.
            let _ = std::fs::remove_dir(folder.path());
        }
        ended
    }

    fn train_in(
        &self,
        folder: &RunFolder,
        config: TrainConfig,
        many: Many,
        stop: &AtomicBool,
        observer: &dyn Observer,
    ) -> Result<Option<RunSummary>, ExperimentError> {
        let started = Instant::now();
        let begun = folder.last().exists();
        let existing = match self.existing {
            Existing::Resume if many == Many::Yes && !begun => Existing::Refuse,
            other => other,
        };
        if existing == Existing::Refuse && begun {
            return Err(TrainError::RunExists { path: folder.path().into() }.into());
        }
        if existing == Existing::Resume && !begun {
            return Err(TrainError::NothingToResume { path: folder.last() }.into());
        }
        let inputs = [&config.data.sample_weights, &config.data.corrections, &config.weights, &config.encoder_weights];
        let outputs = self.outputs.clone().inputs([&self.config_file, &config.data.folds]);
        outputs.inputs(inputs.into_iter().flatten()).folder(folder.path(), &kind::RUN)?;
        // Held until the run is trained, scored and reported.
        std::fs::create_dir_all(folder.path()).map_err(io(folder.path()))?;
        let _lock = Lock::take(folder.path())?;

        // The device comes first: only the first touch of libtorch can bring CUDA in.
        let device = device::select(config.device)?;
        let on_data =
            if phantom::is_asked_for(&config) { phantom::prepare(&config, observer)? } else { config.clone() };
        let stages = on_data.stages(&self.config_file)?;
        let sizes = Sizes::read(&on_data, stages.iter().map(|s| s.config.size), observer)?;
        let data = sizes.at(stages[0].config.size);
        let sample_weights = data::weights(&on_data, data.training)?;
        let plan = TrainingPlan { config: on_data, stages, sample_weights };
        let on_data = &plan.config;
        let run = Run { config: &config, plan: &plan, sizes: &sizes, device, folder };
        let outcome = run.train(existing, stop, observer)?;
        let (best_epoch, best_dice, early) = match outcome {
            Outcome::Interrupted { epoch, step } => {
                observer.note(&format!(
                    "interrupted after {} and {}; go on with --resume",
                    counted(epoch, "epoch", "epochs"),
                    counted(step as usize, "step", "steps")
                ));
                return Ok(None);
            }
            Outcome::Finished { best_epoch, best_dice, early } => (best_epoch, best_dice, early),
        };
        // A run that was over before this one began has been scored already.
        let file = folder.path().join(RunSummary::FILE);
        if many == Many::Yes
            && let Ok(summary) = RunSummary::read(&file)
        {
            return Ok(Some(summary));
        }
        let held_out = match config.evaluate {
            true => Some(run.score_best(data.validation.entries(), observer)?),
            false => None,
        };
        let summary = RunSummary {
            run: folder.path().into(),
            best_epoch,
            best_dice_at_model_size: best_dice,
            stopped_early: early,
            training_images: data.training.len(),
            validation_images: data.validation.len(),
            images_left_out: sizes.left_out(),
            seconds: started.elapsed().as_secs_f64(),
            held_out,
        };
        write_json(&file, &summary)?;
        // The run is whole without its report.
        let pictures = report::run::PICTURES;
        if let Err(error) = report::run::write(folder.path(), Some(&on_data.data.root), pictures, observer) {
            observer.warn(&format!("no report: {error}"));
        }
        describe(&summary, observer);
        Ok(Some(summary))
    }
}

/// A run that is about to be trained.
struct Run<'a> {
    /// Kept with the run.
    config: &'a TrainConfig,
    /// What is trained, on the data that there is.
    plan: &'a TrainingPlan,
    sizes: &'a Sizes,
    device: Device,
    folder: &'a RunFolder,
}

impl Run<'_> {
    fn train(
        &self,
        existing: Existing,
        stop: &AtomicBool,
        observer: &dyn Observer,
    ) -> Result<Outcome, ExperimentError> {
        let Run { config, plan, sizes, device, folder } = *self;
        let stages: &[Stage] = &plan.stages;
        let data: Vec<_> = stages.iter().map(|s| sizes.at(s.config.size)).collect();
        observer.result(&format!(
            "{}: {} and {} at {} px, {}",
            config.model.describe(),
            counted(data[0].training.len(), "training image", "training images"),
            counted(data[0].validation.len(), "validation image", "validation images"),
            stages.iter().map(|s| s.config.size.to_string()).collect::<Vec<_>>().join(", then "),
            device::name(device),
        ));
        if device == Device::Cpu && stages.iter().any(|stage| stage.config.amp == Amp::Fp16) {
            observer.note(
                "amp = \"fp16\" is several times slower than \"bf16\" on a CPU, which has no fast half-precision products",
            );
        }
        let go = |resume: bool| -> Result<Outcome, ExperimentError> {
            if !resume {
                start_over(folder, config)?;
            }
            write_held_out(folder, data[0].validation.entries())?;
            Ok(train(plan, &data, Strategy::on(device), folder, resume, stop, observer)?)
        };
        match existing {
            Existing::Resume => go(true),
            Existing::Auto if folder.last().exists() => match go(true) {
                Err(ExperimentError::Train(TrainError::Changed { changes, .. })) => {
                    let changes = changes.join("; ");
                    observer.note(&format!("the run is started from scratch, since this changed: {changes}"));
                    go(false)
                }
                other => other,
            },
            Existing::Refuse | Existing::Replace | Existing::Auto => go(false),
        }
    }

    /// Predicts the held-out images with the best weights and scores them at their own size.
    fn score_best(&self, entries: &[ImageEntry], observer: &dyn Observer) -> Result<DiceSummary, ExperimentError> {
        let (Sizes { dataset, known, .. }, folder) = (self.sizes, self.folder);
        let predictor = Predictor::open(&folder.best(), self.device, false)?;
        let entries: Vec<&ImageEntry> = entries.iter().collect();
        let prediction = predict(&predictor, dataset, &entries, known, self.plan.config.batch, observer)?;
        let path = folder.predictions();
        let predicted = (path.as_path(), &prediction.images[..]);
        let scoring = scores::score_files(dataset, &entries, predicted, Region::Image, observer)?;
        scores::write_scores(&folder.path().join("per_image_dice.csv"), &scoring.scores)?;
        if dataset.is_copy() {
            submission::write_crops(&folder.crop_predictions(), &prediction.images)?;
            let originals = to_originals(prediction.images, &read_transforms(dataset.root())?)?;
            submission::write(&path, &originals)?;
        } else {
            submission::write(&path, &prediction.images)?;
        }
        Ok(DiceSummary::of(&scoring.scores))
    }
}

fn io(path: &Path) -> impl FnOnce(std::io::Error) -> ExperimentError {
    let path = path.to_owned();
    move |source| ExperimentError::Io { path, source }
}

fn run_folder(config: &TrainConfig) -> Result<RunFolder, ExperimentError> {
    let name = config.output.name.clone().unwrap_or_default();
    if name.is_empty() || name.contains(['/', '\\']) || name.starts_with('.') {
        return Err(ExperimentError::Name { name });
    }
    Ok(RunFolder::new(&config.output.runs, &name))
}

fn describe(summary: &RunSummary, observer: &dyn Observer) {
    observer.result(&format!(
        "best epoch {}: Dice {:.4} at the model's size",
        summary.best_epoch, summary.best_dice_at_model_size
    ));
    if let Some(held_out) = &summary.held_out {
        observer.result(&format!("held-out images at their own size: mean Dice {:.4}", held_out.mean_dice));
    }
    observer.result(&format!("run: {}", summary.run.display()));
}

/// Removes what an earlier run of the name left and writes the configuration as run.
fn start_over(folder: &RunFolder, config: &TrainConfig) -> Result<(), ExperimentError> {
    let path = folder.path();
    std::fs::create_dir_all(path).map_err(io(path))?;
    // Only what a run writes, and scores of its predictions: the folder may contain notes.
    remove_owned(path, &kind::RUN).map_err(|e| ExperimentError::Io { path: e.path, source: e.source })?;
    let file = path.join("config.toml");
    write_atomically(&file, |out| std::io::Write::write_all(out, config.to_toml().as_bytes())).map_err(io(&file))
}

/// Writes the patient of each held-out image: `carpus runs compare` draws whole patients, wherever the run is then.
fn write_held_out(folder: &RunFolder, entries: &[ImageEntry]) -> Result<(), TableError> {
    let rows = entries
        .iter()
        .map(|entry| HeldOutRow { image_id: entry.image_id.clone(), patient_id: entry.patient_id.clone() });
    tables::write_csv(&folder.path().join(HELD_OUT), &rows.collect::<Vec<_>>())
}

fn write_json(path: &Path, value: &impl Serialize) -> Result<(), ExperimentError> {
    write_atomically(path, |out| serde_json::to_writer_pretty(out, value).map_err(Into::into)).map_err(io(path))
}
