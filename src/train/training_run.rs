use std::collections::{BTreeSet, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tch::Tensor;

use super::checkpoint::{StateTensors, Sums};
use super::loader::Batches;
use super::{
    Batch, Checkpoint, EventsWriter, Kept, Learner, Loading, Ranks, RunFolder, Samples, Stage, StageRates, StartFrom,
    StepOutcome, Strategy, SwaAverage, TensorHistogram, Tensors, TrainError, TrainingPlan, Unlabelled,
    UnlabelledImages, UnlabelledTensors, WandbFolder, WandbResult, batches, freeze, histograms, initial, memory, order,
    pictures, seeds,
};
use crate::aten::{self, PeakReading};
use crate::bones;
use crate::dataset::ImageEntry;
use crate::digest::sha256;
use crate::models::Model;
use crate::progress::Progress;
use crate::runs::{AverageSummary, StageEnd, StageSummary};
use crate::tables::EpochRow;

/// The data of a stage. Stages of the same image size may share them.
#[derive(Clone, Copy, Debug)]
pub struct Data<'a> {
    /// The training set.
    pub training: &'a Samples,
    /// The validation set; `None`: no epoch is scored, and the last weights are kept.
    pub validation: Option<&'a Samples>,
    /// Images without labels, for stages with a mean teacher.
    pub unlabelled: Option<&'a UnlabelledImages>,
}

/// An observer of a run.
pub trait Watcher: Progress {
    /// Called after each epoch. `epochs` is the number of epochs of the run, `best`: whether it is the best epoch so
    /// far.
    fn epoch(&self, record: &EpochRow, epochs: usize, best: bool);

    /// Called once for each image that could not be read again and is left out.
    fn skipped(&self, _image: &str, _reason: &str) {}

    /// A note.
    fn note(&self, _text: &str) {}

    /// A warning about something that is probably not intended.
    fn warn(&self, _text: &str) {}
}

impl Watcher for crate::progress::Silent {
    fn epoch(&self, _record: &EpochRow, _epochs: usize, _best: bool) {}
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// All stages are finished.
    Finished {
        /// The best epoch; `None` without a validation set.
        best: Option<Kept>,
        /// Whether a stage stopped early, because there was no better epoch for some time.
        early: bool,
        /// Each stage.
        stages: Vec<StageSummary>,
        /// Result of averaging the best epochs.
        average_best: Option<AverageSummary>,
    },
    /// It was asked to stop and has saved its state.
    Interrupted {
        /// Number of finished epochs.
        epoch: usize,
        /// Number of finished optimiser steps.
        step: u64,
    },
}

/// Whether a run is new or continues a saved one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunStart {
    /// From scratch; a run that exists is refused.
    New,
    /// From the state in `last.safetensors`.
    Resume,
}

/// Trains `plan` on `data`, one entry per stage, and writes the run's files into `folder`. A resumed run continues from
/// `last.safetensors`. When `stop` becomes true, or the folder has a file named `stop`, the run saves its state after the
/// current step and ends. `strategy` is the device, and the processes that train together.
///
/// # Errors
/// The settings do not fit the data, a new run exists already, a resumed run does not exist or its settings, data or
/// classes changed, a file cannot be read or written, the loss is not finite, or a rank cannot be reached.
pub fn train(
    plan: &TrainingPlan,
    data: &[Data],
    strategy: Strategy,
    folder: &RunFolder,
    start: RunStart,
    stop: &AtomicBool,
    watcher: &dyn Watcher,
) -> Result<Outcome, TrainError> {
    let resume = start == RunStart::Resume;
    if data.is_empty() || data.len() != plan.stages.len() {
        return Err(TrainError::StageData { stages: plan.stages.len(), data: data.len() });
    }
    let lacks_images =
        |(stage, data): &(&Stage, &Data)| stage.config.mean_teacher.is_some() && data.unlabelled.is_none();
    if let Some((stage, _)) = plan.stages.iter().zip(data).find(lacks_images) {
        return Err(TrainError::NoUnlabelled { stage: stage.name.clone() });
    }
    aten::use_algorithms(plan.config.algorithms())?;
    let mut run = TrainingRun::new(plan, data, strategy, folder, resume)?;
    let outcome = run.stages(resume, stop, watcher);
    outcome.map_err(|error| {
        watcher.finish();
        memory::explain(error, run.stage(), strategy.device).disk_full(run.saved.then(|| folder.last()))
    })
}

/// Duration of an epoch, and values of its last step.
pub(super) struct Epoch {
    pub(super) started: Instant,
    pub(super) trained: Duration,
    pub(super) waited: Duration,
    pub(super) samples: usize,
    pub(super) lr: f64,
    pub(super) gradients: Vec<(String, TensorHistogram)>,
}

pub(super) struct TrainingRun<'a> {
    pub(super) plan: &'a TrainingPlan,
    pub(super) data: &'a [Data<'a>],
    pub(super) ranks: &'a dyn Ranks,
    pub(super) folder: &'a RunFolder,
    pub(super) learner: Learner<'a>,
    pub(super) checkpoint: Checkpoint,
    pub(super) watched: Vec<usize>,
    /// The stochastic weight average of the stage; `None` before its first epoch.
    pub(super) swa: Option<SwaAverage>,
    /// Names of the weights that are trained where nothing is frozen.
    pub(super) trainable: Vec<String>,
    /// Weight of each training sample in the stage's draws; `None`: every sample once.
    weights: Option<Vec<f64>>,
    /// Ids of images that were reported as unreadable.
    broken: HashSet<String>,
    /// Whether there is a saved state to resume from.
    saved: bool,
    /// The run's folder for W&B, if it is configured and this rank writes.
    wandb: Option<WandbFolder>,
}

impl<'a> TrainingRun<'a> {
    fn new(
        plan: &'a TrainingPlan,
        data: &'a [Data<'a>],
        Strategy { device, ranks }: Strategy<'a>,
        folder: &'a RunFolder,
        resume: bool,
    ) -> Result<TrainingRun<'a>, TrainError> {
        if data.iter().any(|data| data.validation.is_none()) {
            refuse_scores(plan)?;
        }
        let last = folder.last();
        match (resume, last.exists()) {
            (true, false) => return Err(TrainError::NothingToResume { path: last }),
            (false, true) => return Err(TrainError::RunExists { path: folder.path().into() }),
            _ => {}
        }
        let mut checkpoint = Checkpoint {
            stage: 0,
            stage_epoch: 0,
            stage_step: 0,
            epoch: 0,
            batch: 0,
            step: 0,
            kept: Vec::new(),
            swa_epochs: 0,
            ended: Vec::new(),
            average_best: None,
            scaler: None,
            sums: Sums::default(),
            records: Vec::new(),
            settings: plan
                .decisive()
                .map_err(|e| TrainError::Checkpoint { path: last.clone(), reason: e.to_string() })?,
            data: [training_hash(data), data[0].validation.map_or("", Samples::hash).to_owned()],
            classes: bones::NAMES.map(str::to_owned).to_vec(),
        };
        let mut parts = None;
        if resume {
            let (saved, tensors) = Checkpoint::open(&last)?;
            saved.check(&checkpoint, &last)?;
            checkpoint = saved;
            parts = Some(tensors);
        }
        let settings = &plan.config;
        tch::manual_seed(settings.seed as i64);
        let mut model = Model::new(&settings.model, device)?;
        if parts.is_none() {
            initial::load_weights(&mut model, settings)?;
        }
        let trainable = model.named_parameters().into_iter().filter(|(_, t)| t.requires_grad()).map(|(n, _)| n);
        let trainable = trainable.collect();
        let mut learner = Learner::new(model, plan, checkpoint.stage, ranks)?;
        let mut swa = None;
        if let Some(parts) = &parts {
            restore(&learner, parts)?;
            learner.restore(parts, checkpoint.scaler.clone())?;
            if checkpoint.swa_epochs > 0 {
                swa = Some(SwaAverage::restored(learner.model(), checkpoint.swa_epochs, &parts.swa)?);
            }
        }
        let weights: Vec<Tensor> = learner.state().iter().map(|(_, tensor)| tensor.shallow_clone()).collect();
        ranks.share(&weights)?;
        let here = data[checkpoint.stage];
        let stage = &plan.stages[checkpoint.stage].config;
        Ok(TrainingRun {
            watched: watched(here, settings.pictures),
            swa,
            weights: stage.sampling().weights(here.training, plan.sample_weights.as_deref())?,
            plan,
            data,
            ranks,
            folder,
            learner,
            checkpoint,
            trainable,
            broken: HashSet::new(),
            saved: resume,
            wandb: None,
        })
    }

    /// The current stage.
    pub(super) fn stage(&self) -> &'a Stage {
        &self.plan.stages[self.checkpoint.stage]
    }

    pub(super) fn data(&self) -> Data<'a> {
        self.data[self.checkpoint.stage]
    }

    pub(super) fn loading(&self) -> Loading<'a> {
        let (settings, stage) = (&self.plan.config, &self.stage().config);
        let unlabelled = stage.mean_teacher.as_ref().zip(self.data().unlabelled);
        let unlabelled = unlabelled.map(|(settings, images)| Unlabelled { images, batch: settings.batch });
        let augment_on_device = settings.augment_on_device.unwrap_or(self.learner.model().device().is_cuda());
        Loading { unlabelled, augment_on_device, ..Loading::of(settings, stage, self.ranks) }
    }

    fn stages(&mut self, resume: bool, stop: &AtomicBool, watcher: &dyn Watcher) -> Result<Outcome, TrainError> {
        let last = self.plan.stages.len() - 1;
        if self.checkpoint.stage == last && self.stage_end().is_some() {
            return self.finish(watcher);
        }
        let resumed_at = resume.then_some(self.checkpoint.step);
        let path = self.folder.path();
        let writes = self.ranks.writes();
        let events = writes.then(|| EventsWriter::create(path, resumed_at)).transpose();
        let mut events = events.map_err(TrainError::io(path))?;
        if writes && self.plan.config.wandb.is_some() {
            let start = if resume { RunStart::Resume } else { RunStart::New };
            self.wandb = Some(WandbFolder::open(path, start).map_err(TrainError::io(path))?);
            self.write_wandb(None)?;
        }
        loop {
            while self.stage_end().is_none() {
                let Some(epoch) = self.epoch(stop, watcher)? else { return self.interrupted(watcher) };
                self.end_epoch(&epoch, events.as_mut(), watcher)?;
                let more = self.stage_end().is_none() || self.checkpoint.stage < last;
                if self.is_asked_to_stop(stop)? && more {
                    return self.interrupted(watcher);
                }
            }
            if self.checkpoint.stage == last {
                return self.finish(watcher);
            }
            self.finish_stage(watcher)?;
            self.next_stage()?;
        }
    }

    /// Writes the run's folder for W&B, if it is configured.
    pub(super) fn write_wandb(&self, result: Option<&WandbResult>) -> Result<(), TrainError> {
        let Some(wandb) = &self.wandb else { return Ok(()) };
        let written = wandb.write(&self.plan.config, &self.checkpoint.records, result);
        written.map_err(TrainError::io(wandb.path()))
    }

    /// Changes to the next stage and saves, because the weights that it starts from can change afterwards.
    fn next_stage(&mut self) -> Result<(), TrainError> {
        let next = self.checkpoint.stage + 1;
        let (stage, data) = (&self.plan.stages[next], self.data[next]);
        let from = stage.start_from;
        let wrong =
            |reason: &str| TrainError::Start { stage: stage.name.clone(), from: from.name(), reason: reason.into() };
        match from {
            StartFrom::Last => {}
            StartFrom::Best => {
                self.learner.model_mut().load(&self.folder.best())?;
            }
            StartFrom::Ema => {
                let missing = || wrong("the stage before has no averaged weights; add [ema] to it");
                self.copy_weights(&self.learner.ema().ok_or_else(missing)?.state())?;
            }
            StartFrom::Swa => {
                let missing = || wrong("the stage before averaged no epoch; add [swa] to it, or lower swa.start");
                self.copy_weights(&self.swa.as_ref().ok_or_else(missing)?.state())?;
            }
        }
        self.swa = None;
        self.learner.begin(stage)?;
        let given = self.plan.sample_weights.as_deref();
        self.weights = stage.config.sampling().weights(data.training, given)?;
        self.watched = watched(data, self.plan.config.pictures);
        self.checkpoint.stage = next;
        self.checkpoint.stage_epoch = 0;
        self.checkpoint.stage_step = 0;
        if self.plan.config.monitor == super::Monitor::Loss {
            self.checkpoint.kept.clear();
        }
        self.save()
    }

    /// Copies values into the model's tensors, given in the same order.
    fn copy_weights(&self, from: &[(String, Tensor)]) -> Result<(), TrainError> {
        tch::no_grad(|| {
            let mut state = self.learner.state().iter().zip(from);
            Ok(state.try_for_each(|((_, tensor), (_, value))| tensor.shallow_clone().f_copy_(value))?)
        })
    }

    /// Trains the current epoch to its end; `None` if the run was asked to stop, after a save.
    fn epoch(&mut self, stop: &AtomicBool, watcher: &dyn Watcher) -> Result<Option<Epoch>, TrainError> {
        let started = Instant::now();
        let (stage, epoch) = (&self.stage().config, self.checkpoint.epoch);
        freeze::apply(self.learner.model(), &self.trainable, &stage.freeze, self.checkpoint.stage_epoch)?;
        let dataset = self.data().training;
        let order = order(dataset.len(), self.weights.as_deref(), self.plan.config.seed, epoch as u64);
        let batches = batches(order.len(), stage.batch);
        let per_epoch = batches.div_ceil(stage.accumulate) as u64;
        let (total, rates) = (per_epoch * stage.epochs as u64, StageRates::of(self.stage(), per_epoch));
        let first = self.checkpoint.batch;
        let (mut waited, mut samples, mut lr) = (Duration::ZERO, 0, 0.0);
        let (mut gradients, mut images) = (Vec::new(), Vec::new());
        memory::peak_mb(self.learner.model().device(), PeakReading::Reset)?;
        watcher.start(&format!("batches of epoch {}", epoch + 1), (batches - first) as u64);
        let loading = self.loading();
        let finished = std::thread::scope(|scope| -> Result<bool, TrainError> {
            let mut made = Batches::start(scope, dataset, &order, &loading, epoch as u64, first);
            loop {
                let asked = Instant::now();
                let Some(batch) = made.next() else { return Ok(true) };
                let batch = batch?;
                waited += asked.elapsed();
                self.report_broken_batch(&batch, watcher);
                let own = batch.indices.len();
                let [read, broken, empty] =
                    self.ranks.totals([own, batch.broken.len(), usize::from(own == 0)].map(|n| n as f64))?;
                self.checkpoint.sums.broken += broken;
                let (read, broken) = (read as usize, broken as usize);
                samples += read;
                // The loss of a step is the mean over all samples whose gradients are summed.
                let at = self.checkpoint.batch;
                let group = at / stage.accumulate * stage.accumulate;
                let until = ((group + stage.accumulate).min(batches) * stage.batch).min(order.len());
                let share = read as f64 / (until - group * stage.batch - broken).max(1) as f64;
                // A batch is skipped if reading failed for all samples but one, which batch norm cannot be trained
                // with, or if a rank has no image and so no gradients.
                let usable = read > usize::from(broken > 0) && empty == 0.0;
                if usable {
                    self.learn(&batch, read, share, stage.point_weight.at(self.checkpoint.stage_step, total))?;
                    self.teach(&batch, share, self.checkpoint.stage_step as f64 / per_epoch as f64)?;
                }
                images.extend_from_slice(&batch.indices);
                self.checkpoint.batch += 1;
                watcher.advance(1);
                let last = self.checkpoint.batch == batches;
                if !self.checkpoint.batch.is_multiple_of(stage.accumulate) && !last {
                    continue;
                }
                lr = rates.lr_at(self.checkpoint.stage_step);
                let epochs = self.checkpoint.stage_step as f64 / per_epoch as f64;
                self.learner.limit_decay(stage.mean_teacher.as_ref().and_then(|settings| settings.decay_at(epochs)));
                self.step(lr, &images)?;
                images.clear();
                if last && self.plan.config.histograms {
                    gradients = histograms::by_part("gradients", self.learner.optimiser().gradients())?;
                }
                self.learner.clear_gradients()?;
                let due = self.plan.config.save_every.is_some_and(|n| self.checkpoint.step.is_multiple_of(n));
                let stopped = self.is_asked_to_stop(stop)? && !last;
                if (due && !last) || stopped {
                    self.save()?;
                }
                if stopped {
                    return Ok(false);
                }
            }
        });
        watcher.finish();
        let trained = started.elapsed();
        Ok(finished?.then_some(Epoch { started, trained, waited, samples, lr, gradients }))
    }

    /// Whether any rank was asked to stop, or the first one finds the stop file.
    fn is_asked_to_stop(&self, stop: &AtomicBool) -> Result<bool, TrainError> {
        let own = stop.load(Ordering::Relaxed) || (self.ranks.writes() && self.folder.stop().exists());
        let [asked] = self.ranks.totals([f64::from(u8::from(own))])?;
        Ok(asked > 0.0)
    }

    /// Removes the stop file, so that it does not stop the next run; whether there was one.
    fn remove_stop_file(&self) -> Result<bool, TrainError> {
        if !self.ranks.writes() {
            return Ok(false);
        }
        let path = self.folder.stop();
        match std::fs::remove_file(&path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(TrainError::io(path)(error)),
        }
    }

    fn report_broken_batch(&mut self, batch: &Batch, watcher: &dyn Watcher) {
        let Data { training, unlabelled, .. } = self.data();
        let labelled = batch.broken.iter().map(|(index, reason)| (&training.entries()[*index], reason));
        let others = batch.unlabelled.iter().flat_map(|batch| &batch.broken).zip(unlabelled.into_iter().cycle());
        let others = others.map(|((index, reason), images)| (&images.entries()[*index], reason));
        for (entry, reason) in labelled.chain(others) {
            if self.broken.insert(entry.image_id.clone()) {
                watcher.skipped(&entry.image_id, reason);
            }
        }
    }

    /// Adds the gradients of a batch's share of the step's mean loss. All ranks together have `images` samples of the
    /// batch.
    fn learn(&mut self, batch: &Batch, images: usize, share: f64, point_weight: f64) -> Result<(), TrainError> {
        seeds::seed_step(self.plan.config.seed, (self.checkpoint.epoch as u64) << 32 | self.checkpoint.batch as u64);
        let device = self.learner.model().device();
        let given = Tensors::new(batch, self.data().training.size(), &self.loading(), device)?;
        let [value] = self.ranks.totals([self.learner.learn(&given, share, point_weight)?])?;
        if !value.is_finite() {
            return Err(self.not_finite("loss", value, ids(self.data().training.entries(), &batch.indices)));
        }
        self.checkpoint.sums.loss += value * images as f64;
        self.checkpoint.sums.samples += images as f64;
        Ok(())
    }

    /// Adds the gradients of the consistency loss of a batch's unlabelled images, if there are any, after this many
    /// epochs of the stage.
    fn teach(&mut self, batch: &Batch, share: f64, epochs: f64) -> Result<(), TrainError> {
        let Some(settings) = &self.stage().config.mean_teacher else { return Ok(()) };
        let (Some(images), Some(batch)) = (self.data().unlabelled, &batch.unlabelled) else { return Ok(()) };
        let own = batch.indices.len() as f64;
        let [read] = self.ranks.totals([own])?;
        if read == 0.0 {
            return Ok(());
        }
        let mut value = 0.0;
        if own > 0.0 {
            let device = self.learner.model().device();
            let given = UnlabelledTensors::new(batch, images.size(), &self.loading(), device)?;
            let part = own / read;
            value = part * self.learner.teach(&given, settings.weight_at(epochs) * share * part)?;
        }
        let [value] = self.ranks.totals([value])?;
        if !value.is_finite() {
            return Err(self.not_finite("consistency loss", value, ids(images.entries(), &batch.indices)));
        }
        self.checkpoint.sums.consistency += value * read;
        self.checkpoint.sums.unlabelled += read;
        Ok(())
    }

    fn step(&mut self, lr: f64, images: &[usize]) -> Result<(), TrainError> {
        match self.learner.step(lr, self.checkpoint.stage_step + 1)? {
            StepOutcome::Updated(norm) => {
                self.checkpoint.sums.norm += norm;
                self.checkpoint.sums.steps += 1.0;
            }
            StepOutcome::Skipped => self.checkpoint.sums.skipped += 1.0,
            StepOutcome::NotFinite(norm) => {
                return Err(self.not_finite("gradients' norm", norm, ids(self.data().training.entries(), images)));
            }
        }
        self.checkpoint.step += 1;
        self.checkpoint.stage_step += 1;
        Ok(())
    }

    fn not_finite(&self, what: &'static str, value: f64, images: Vec<String>) -> TrainError {
        TrainError::NotFinite {
            epoch: self.checkpoint.epoch + 1,
            step: self.checkpoint.step,
            what,
            value,
            images,
            saved: self.saved.then(|| self.folder.last()),
        }
    }

    pub(super) fn save(&mut self) -> Result<(), TrainError> {
        self.checkpoint.scaler = self.learner.scaler().cloned();
        self.checkpoint.swa_epochs = self.swa.as_ref().map_or(0, SwaAverage::epochs);
        if !self.ranks.writes() {
            return Ok(());
        }
        self.checkpoint.save(&self.folder.last(), &self.learner, self.swa.as_ref())?;
        self.saved = true;
        self.remove_other_weights()
    }

    /// Why the current stage has ended; `None` if it goes on. All ranks agree, because the records are those of the
    /// first one.
    pub(super) fn stage_end(&self) -> Option<StageEnd> {
        let (stage, now) = (&self.stage().config, &self.checkpoint);
        let last = now.records.last().filter(|_| now.stage_epoch > 0);
        if last.is_some_and(|last| stage.until.as_ref().is_some_and(|until| until.is_reached(last))) {
            return Some(StageEnd::Until);
        }
        if now.stage_epoch == stage.epochs {
            return Some(StageEnd::Epochs);
        }
        let begun = now.epoch - now.stage_epoch;
        let best = now.kept.first().map_or(0, |kept| kept.epoch).max(begun);
        stage.early_stop.is_some_and(|patience| now.epoch - best >= patience).then_some(StageEnd::EarlyStop)
    }

    fn interrupted(&self, watcher: &dyn Watcher) -> Result<Outcome, TrainError> {
        if self.remove_stop_file()? {
            let path = self.folder.stop();
            watcher.note(&format!("the run stops because of the file {}, which was removed", path.display()));
        }
        Ok(Outcome::Interrupted { epoch: self.checkpoint.epoch, step: self.checkpoint.step })
    }

    /// Finishes the last stage and the run.
    fn finish(&mut self, watcher: &dyn Watcher) -> Result<Outcome, TrainError> {
        self.finish_stage(watcher)?;
        self.finish_run(watcher)?;
        self.remove_stop_file()?;
        let best = self.checkpoint.kept.first();
        let (best_epoch, best_dice) = (best.map(|kept| kept.epoch), best.map(Kept::dice));
        self.write_wandb(Some(&WandbResult { best_epoch, best_dice, held_out: None }))?;
        let ended = &self.checkpoint.ended;
        Ok(Outcome::Finished {
            best: self.checkpoint.kept.first().copied(),
            early: ended.iter().any(|stage| stage.end == StageEnd::EarlyStop),
            stages: ended.clone(),
            average_best: self.checkpoint.average_best.clone(),
        })
    }
}

/// The validation images that are drawn after each epoch.
fn watched(data: Data, pictures: usize) -> Vec<usize> {
    data.validation.map_or_else(Vec::new, |validation| pictures::watched(validation, pictures))
}

/// Refuses settings that need a validation set.
fn refuse_scores(plan: &TrainingPlan) -> Result<(), TrainError> {
    let configs = std::iter::once(&plan.config).chain(plan.stages.iter().map(|stage| &stage.config));
    let from_best = plan.stages.iter().any(|stage| stage.start_from == StartFrom::Best);
    let key = configs.flat_map(|config| config.settings_of_scores()).map(|(key, _)| key).next();
    match key.or(from_best.then_some("start-from = \"best\"")) {
        Some(key) => Err(TrainError::NoValidation { key }),
        None => Ok(()),
    }
}

fn ids(entries: &[ImageEntry], indices: &[usize]) -> Vec<String> {
    indices.iter().map(|i| entries[*i].image_id.clone()).collect()
}

/// Hash of everything that the weights are trained on in the stages with these data: that of the training set, or, with
/// unlabelled images, one of all hashes.
fn training_hash(data: &[Data]) -> String {
    let training = data[0].training.hash();
    let unlabelled: BTreeSet<&str> = data.iter().filter_map(|data| data.unlabelled).map(|u| u.hash()).collect();
    if unlabelled.is_empty() {
        return training.to_owned();
    }
    let all: Vec<&str> = std::iter::once(training).chain(unlabelled).collect();
    sha256(all.join(" ").as_bytes())
}

fn restore(learner: &Learner, parts: &StateTensors) -> Result<(), TrainError> {
    tch::no_grad(|| {
        for (name, tensor) in learner.state() {
            let saved = parts
                .model
                .get(name)
                .filter(|t| t.size() == tensor.size())
                .ok_or_else(|| TrainError::StateTensor { name: name.clone() })?;
            tensor.shallow_clone().f_copy_(saved)?;
        }
        Ok(())
    })
}
