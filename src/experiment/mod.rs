//! An experiment: it trains runs from a configuration, scores their held-out images, and writes their reports.
//!
//! [`Experiment::run_fold`] trains one fold; [`Experiment::run_folds`] trains several and collects their out-of-fold
//! predictions. The caller decides what happens to a run that exists ([`Existing`]), can stop the run, and observes it
//! ([`Observer`]).

mod average;
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
use crate::infer::{Guide, Predictor, TestTimeAugmentation, predict, predict_specialist, to_originals};
use crate::mask::submission;
use crate::report;
use crate::runs::{HELD_OUT, RunSummary};
use crate::scores::{self, DiceSummary, ImageScore, PredictedMasks, Region};
use crate::tables::{self, EpochRow, HeldOutRow, TableError};
use crate::train::{
    Amp, Fold, HookEvent, HookStatus, LrCurve, LrFinderOptions, Outcome, RunFolder, RunStart, Samples, Stage, Strategy,
    TrainConfig, TrainError, TrainingPlan, WandbFolder, WandbResult, Watcher, find_lr, train,
};
use crate::wording::counted;

pub use average::{AveragedWeights, average_weights};
pub use data::{known, parts};
pub use error::ExperimentError;
pub use folds::{FoldSummary, Folds, FoldsSummary};

use data::DataBySize;

/// An observer of an experiment.
pub trait Observer: Watcher {
    /// A line of the results.
    fn result(&self, _text: &str) {}

    /// Problems found while the data were read.
    fn problems(&self, _problems: &[Problem]) {}
}

impl Observer for crate::progress::Silent {}

/// What to do if the run already exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Existing {
    /// Stop with an error
    Refuse,
    /// Resume it; an error if settings or data changed
    Resume,
    /// Delete it and start from scratch
    Replace,
    /// Resume it, or start from scratch if settings or data changed
    Auto,
}

/// A training configuration, and the options of its runs.
#[derive(Clone, Debug)]
pub struct Experiment {
    /// The configuration of the training.
    pub config: TrainConfig,
    /// The file that the configuration was read from. Runs without a name of their own have its name.
    pub config_file: PathBuf,
    /// What to do if the run already exists.
    pub existing: Existing,
    /// Rules for overwriting existing files.
    pub outputs: Outputs,
}

/// Whether a run is alone or belongs to several folds: resuming then starts the folds that were not started yet.
#[derive(Clone, Copy, PartialEq, Eq)]
enum RunRole {
    Single,
    Member,
}

impl Experiment {
    fn default_name(&self) -> String {
        self.config_file.file_stem().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// The configuration with the run's name.
    fn named(&self) -> TrainConfig {
        let mut config = self.config.clone();
        config.output.name.get_or_insert_with(|| match config.data.fold {
            Fold::Number(fold) => format!("{}-fold{fold}", self.default_name()),
            Fold::None => format!("{}-all", self.default_name()),
        });
        config
    }

    /// Trains the configured fold and scores its best weights; if no fold is held out, trains all images, without scores.
    /// `None` if the run was asked to stop; its state is saved.
    ///
    /// # Errors
    /// The run exists already, or does not exist although it is to be resumed; its folder is in use or cannot be
    /// written; the data or folds cannot be read; or training fails.
    pub fn run_fold(&self, stop: &AtomicBool, observer: &dyn Observer) -> Result<Option<RunSummary>, ExperimentError> {
        self.train_fold(self.named(), RunRole::Single, stop, observer)
    }

    /// Raises the learning rate step by step in a training of the configured fold that is not kept, and returns the
    /// losses by rate. Nothing is written into the folder of the run.
    ///
    /// # Errors
    /// The data or folds cannot be read, or the training reports an error.
    pub fn find_lr(&self, options: &LrFinderOptions, observer: &dyn Observer) -> Result<LrCurve, ExperimentError> {
        let device = device::select(self.config.device)?;
        let config = &self.config;
        let on_data = if phantom::is_used(config) { phantom::prepare(config, observer)? } else { config.clone() };
        let mut stages = on_data.stages(&self.config_file)?;
        stages.truncate(1);
        let sizes = DataBySize::read(&on_data, stages.iter().map(|s| s.config.size), observer)?;
        let data = sizes.at(&stages[0].config);
        let sample_weights = data::weights(&on_data, data.training)?;
        let plan = TrainingPlan { config: on_data, stages, sample_weights };
        Ok(find_lr(&plan, data, Strategy::on(device), options, observer)?)
    }

    /// Trains the fold of `config`, whose run has a name. A run that fails before anything was trained leaves no
    /// folder.
    fn train_fold(
        &self,
        config: TrainConfig,
        role: RunRole,
        stop: &AtomicBool,
        observer: &dyn Observer,
    ) -> Result<Option<RunSummary>, ExperimentError> {
        let folder = run_folder(&config)?;
        let ended = self.train_in(&folder, config, role, stop, observer);
        if ended.is_err() {
            // A folder that is not empty is not removed.
            let _ = std::fs::remove_dir(folder.path());
        }
        ended
    }

    fn train_in(
        &self,
        folder: &RunFolder,
        config: TrainConfig,
        role: RunRole,
        stop: &AtomicBool,
        observer: &dyn Observer,
    ) -> Result<Option<RunSummary>, ExperimentError> {
        let begun = folder.last().exists();
        let existing = match self.existing {
            Existing::Resume if role == RunRole::Member && !begun => Existing::Refuse,
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
        let is_new = std::fs::read_dir(folder.path()).map_or(true, |mut entries| entries.next().is_none());
        // The lock is held until the run is trained, scored and reported.
        std::fs::create_dir_all(folder.path()).map_err(io(folder.path()))?;
        let _lock = Lock::take(folder.path())?;
        let hooks = config.hooks.clone();
        let ended = self.train_locked(folder, config, existing, role, stop, observer);
        if let Some(hooks) = hooks {
            let error = ended.as_ref().err().map(ToString::to_string);
            let status = match (&ended, &error) {
                (Ok(Some(_)), _) => HookStatus::Finished,
                (Ok(None), _) => HookStatus::Interrupted,
                (Err(_), error) => HookStatus::Failed(error.as_deref().unwrap_or_default()),
            };
            hooks.notify(&event(folder, status), observer);
        }
        let nothing_trained = !folder.last().exists() && !folder.metrics().exists();
        if ended.is_err() && is_new && nothing_trained {
            // The error of the run is reported, not one of the removal.
            let _ = remove_owned(folder.path(), &kind::RUN);
        }
        ended
    }

    /// Trains, scores and reports the run in its locked folder.
    fn train_locked(
        &self,
        folder: &RunFolder,
        config: TrainConfig,
        existing: Existing,
        role: RunRole,
        stop: &AtomicBool,
        observer: &dyn Observer,
    ) -> Result<Option<RunSummary>, ExperimentError> {
        let started = Instant::now();
        // The device is selected first, because CUDA can only be loaded by the first use of libtorch.
        let device = device::select(config.device)?;
        let on_data = if phantom::is_used(&config) { phantom::prepare(&config, observer)? } else { config.clone() };
        let stages = on_data.stages(&self.config_file)?;
        let mut sizes = DataBySize::read(&on_data, stages.iter().map(|s| s.config.size), observer)?;
        sizes.read_unlabelled(&stages, &on_data, observer)?;
        let data = sizes.at(&stages[0].config);
        let sample_weights = data::weights(&on_data, data.training)?;
        let plan = TrainingPlan { config: on_data, stages, sample_weights };
        let on_data = &plan.config;
        let run = Run { config: &config, plan: &plan, sizes: &sizes, device, folder };
        let outcome = run.train(existing, stop, observer)?;
        let (best, early, stages, average_best) = match outcome {
            Outcome::Interrupted { epoch, step } => {
                observer.note(&format!(
                    "interrupted after {} and {}; continue with --resume",
                    counted(epoch, "epoch", "epochs"),
                    counted(step as usize, "step", "steps")
                ));
                return Ok(None);
            }
            Outcome::Finished { best, early, stages, average_best } => (best, early, stages, average_best),
        };
        // A run that was finished before has been scored already.
        let file = folder.path().join(RunSummary::FILE);
        if role == RunRole::Member
            && let Ok(summary) = RunSummary::read(&file)
        {
            return Ok(Some(summary));
        }
        let held_out = match data.validation.filter(|_| config.evaluate) {
            Some(validation) => Some(run.score_best(validation.entries(), observer)?),
            None => None,
        };
        if on_data.wandb.is_some() {
            let held_out = held_out.as_ref().map(|scores| scores.mean_dice);
            let (best_epoch, best_dice) = (best.map(|kept| kept.epoch), best.map(|kept| kept.dice()));
            write_wandb(folder, on_data, &WandbResult { best_epoch, best_dice, held_out })?;
        }
        let summary = RunSummary {
            run: folder.path().into(),
            best_epoch: best.map(|kept| kept.epoch),
            best_dice_at_model_size: best.map(|kept| kept.dice()),
            stopped_early: early,
            stages,
            average_best,
            training_images: data.training.len(),
            validation_images: data.validation.map_or(0, Samples::len),
            images_left_out: sizes.left_out(),
            seconds: started.elapsed().as_secs_f64(),
            held_out,
        };
        write_json(&file, &summary)?;
        // The run is complete without its report.
        let pictures = report::run::PICTURES;
        if let Err(error) = report::run::write(folder.path(), Some(&on_data.data.root), pictures, observer) {
            observer.warn(&format!("the report was not written: {error}"));
        }
        describe(&summary, folder, observer);
        Ok(Some(summary))
    }
}

/// A run with everything that its training needs.
struct Run<'a> {
    /// The configuration that is saved with the run.
    config: &'a TrainConfig,
    /// The plan of the training, with the data that are used.
    plan: &'a TrainingPlan,
    sizes: &'a DataBySize,
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
        let data: Vec<_> = stages.iter().map(|s| sizes.at(&s.config)).collect();
        observer.result(&format!(
            "{}: {} and {} at {} px, {}",
            config.model.describe(),
            counted(data[0].training.len(), "training image", "training images"),
            data[0].validation.map_or("no validation images".into(), |validation| {
                counted(validation.len(), "validation image", "validation images")
            }),
            stages.iter().map(|s| s.config.size.to_string()).collect::<Vec<_>>().join(", then "),
            device::name(device),
        ));
        if device == Device::Cpu && stages.iter().any(|stage| stage.config.amp == Amp::Fp16) {
            observer.note(
                "amp = \"fp16\" is several times slower than \"bf16\" on a CPU, which has no fast half-precision operations",
            );
        }
        let start = |start: RunStart| -> Result<Outcome, ExperimentError> {
            if start == RunStart::New {
                start_over(folder, config)?;
            }
            if let Some(validation) = data[0].validation {
                write_held_out(folder, validation.entries())?;
            }
            Ok(train(plan, &data, Strategy::on(device), folder, start, stop, observer)?)
        };
        match existing {
            Existing::Resume => start(RunStart::Resume),
            Existing::Auto if folder.last().exists() => match start(RunStart::Resume) {
                Err(ExperimentError::Train(TrainError::Changed { changes, .. })) => {
                    let changes = changes.join("; ");
                    observer.note(&format!(
                        "the run starts from scratch because these settings or data changed: {changes}"
                    ));
                    start(RunStart::New)
                }
                other => other,
            },
            Existing::Refuse | Existing::Replace | Existing::Auto => start(RunStart::New),
        }
    }

    /// Predicts the held-out images with the best weights and scores them at their original size. A specialist sees the
    /// part around the annotated bones, and the summary is that of its bones.
    fn score_best(&self, entries: &[ImageEntry], observer: &dyn Observer) -> Result<DiceSummary, ExperimentError> {
        let (DataBySize { dataset, known, .. }, folder) = (self.sizes, self.folder);
        let predictor = Predictor::open(&folder.best(), self.device, TestTimeAugmentation::None)?;
        let entries: Vec<&ImageEntry> = entries.iter().collect();
        let (batch, specialist) = (self.plan.config.batch, self.plan.config.specialist.as_ref());
        let prediction = match specialist {
            None => predict(&predictor, dataset, &entries, known, batch, observer)?,
            Some(_) => predict_specialist(&predictor, dataset, &entries, Guide::Annotations, known, batch, observer)?,
        };
        let path = folder.predictions();
        let predicted = PredictedMasks { file: &path, images: &prediction.images };
        let scoring = scores::score_files(dataset, &entries, predicted, Region::Image, observer)?;
        scores::write_scores(&folder.path().join("per_image_dice.csv"), &scoring.scores)?;
        if dataset.is_copy() {
            submission::write_crops(&folder.crop_predictions(), &prediction.images)?;
            let originals = to_originals(prediction.images, &read_transforms(dataset.root())?)?;
            submission::write(&path, &originals)?;
        } else {
            submission::write(&path, &prediction.images)?;
        }
        Ok(dice_summary(&self.plan.config, &scoring.scores))
    }
}

/// Summary of the scores of a run with this configuration: of a specialist, over its bones.
fn dice_summary(config: &TrainConfig, scores: &[ImageScore]) -> DiceSummary {
    match &config.specialist {
        None => DiceSummary::of(scores),
        Some(specialist) => DiceSummary::of_bones(scores, &specialist.bones().collect::<Vec<_>>()),
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

/// The state of the run in `folder` for the command of `hooks.run`, by its log; a log that cannot be read has no epochs.
fn event<'a>(folder: &'a RunFolder, status: HookStatus<'a>) -> HookEvent<'a> {
    let log: Vec<EpochRow> = tables::read_csv(&folder.metrics()).unwrap_or_default();
    let dice = |row: &EpochRow| row.valid_dice;
    HookEvent {
        run: folder.path(),
        status,
        epoch: log.len(),
        dice: log.last().and_then(dice),
        best_dice: log.iter().filter_map(dice).reduce(f64::max),
    }
}

fn describe(summary: &RunSummary, folder: &RunFolder, observer: &dyn Observer) {
    match summary.best_epoch.zip(summary.best_dice_at_model_size) {
        Some((epoch, dice)) => observer.result(&format!("best epoch {epoch}: Dice {dice:.4} at the model's size")),
        None => observer.result(&format!(
            "no scores, because no image was held out; the last weights are in {}",
            folder.final_weights().display()
        )),
    }
    if let Some(held_out) = &summary.held_out {
        observer.result(&format!("held-out images at their original size: mean Dice {:.4}", held_out.mean_dice));
    }
    observer.result(&format!("run: {}", summary.run.display()));
}

/// Removes the files of an earlier run of this name and writes the configuration of the run.
fn start_over(folder: &RunFolder, config: &TrainConfig) -> Result<(), ExperimentError> {
    let path = folder.path();
    std::fs::create_dir_all(path).map_err(io(path))?;
    // Only files that a run writes, and scores of its predictions, are removed: the folder may contain notes.
    remove_owned(path, &kind::RUN).map_err(|e| ExperimentError::Io { path: e.path, source: e.source })?;
    let file = path.join("config.toml");
    write_atomically(&file, |out| std::io::Write::write_all(out, config.to_toml().as_bytes())).map_err(io(&file))
}

/// Writes the patient of each held-out image, because `carpus runs compare` draws whole patients, also where the data
/// are not available.
fn write_held_out(folder: &RunFolder, entries: &[ImageEntry]) -> Result<(), TableError> {
    let rows = entries
        .iter()
        .map(|entry| HeldOutRow { image_id: entry.image_id.clone(), patient_id: entry.patient_id.clone() });
    tables::write_csv(&folder.path().join(HELD_OUT), &rows.collect::<Vec<_>>())
}

/// Writes the run's folder for W&B with the result of the run.
fn write_wandb(folder: &RunFolder, config: &TrainConfig, result: &WandbResult) -> Result<(), ExperimentError> {
    let rows = tables::read_csv::<EpochRow>(&folder.metrics())?;
    let wandb = WandbFolder::open(folder.path(), RunStart::Resume).map_err(io(folder.path()))?;
    wandb.write(config, &rows, Some(result)).map_err(io(wandb.path()))?;
    Ok(())
}

fn write_json(path: &Path, value: &impl Serialize) -> Result<(), ExperimentError> {
    write_atomically(path, |out| serde_json::to_writer_pretty(out, value).map_err(Into::into)).map_err(io(path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::Size;
    use crate::progress::Silent;
    use crate::train::OutputConfig;

    #[test]
    fn a_run_that_fails_before_anything_was_trained_leaves_no_folder() {
        let folder = tempfile::tempdir().unwrap();
        let weights = folder.path().join("damaged.safetensors");
        std::fs::write(&weights, "no weights").unwrap();
        let mut config = TrainConfig { size: Size::square(64), weights: Some(weights), ..TrainConfig::default() };
        config.data.root = "phantom".into();
        config.output = OutputConfig { runs: folder.path().join("runs"), name: Some("run".into()) };
        let run = folder.path().join("runs/run");
        let experiment = Experiment {
            config,
            config_file: "run.toml".into(),
            existing: Existing::Refuse,
            outputs: Outputs::default(),
        };
        let fails = || {
            let error = experiment.run_fold(&AtomicBool::new(false), &Silent).unwrap_err().to_string();
            assert!(error.contains("damaged.safetensors"), "{error}");
        };
        fails();
        assert!(!run.exists());
        // An empty folder becomes the run's folder; one with other files is not touched.
        std::fs::create_dir(&run).unwrap();
        fails();
        assert!(!run.exists());
        std::fs::create_dir(&run).unwrap();
        std::fs::write(run.join("notes.txt"), "x").unwrap();
        experiment.run_fold(&AtomicBool::new(false), &Silent).unwrap_err();
        assert!(run.join("notes.txt").exists());
    }
}
