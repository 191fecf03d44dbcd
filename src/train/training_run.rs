use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tch::Tensor;

use super::checkpoint::{StateTensors, Sums};
use super::loader::Batches;
use super::{
    Batch, Checkpoint, EventsWriter, Learner, Loading, Ranks, RunFolder, Samples, Stage, StartFrom, StepOutcome,
    Strategy, TensorHistogram, Tensors, TrainError, TrainingPlan, batches, freeze, histograms, memory, order, pictures,
    seeds,
};
use crate::models::{Loaded, Model};
use crate::progress::Progress;
use crate::tables::EpochRow;
use crate::{aten, bones};

/// The data of a stage. Stages of the same image size may share them.
#[derive(Clone, Copy, Debug)]
pub struct Data<'a> {
    /// The training set.
    pub training: &'a Samples,
    /// The validation set.
    pub validation: &'a Samples,
}

/// An observer of a run.
pub trait Watcher: Progress {
    /// Called after each epoch. `epochs` is the number of epochs of the run, `best`: whether it is the best epoch so
    /// far.
    fn epoch(&self, record: &EpochRow, epochs: usize, best: bool);

    /// Called once for each image that could not be read again and is left out.
    fn skipped(&self, _image: &str, _reason: &str) {}
}

impl Watcher for crate::progress::Silent {
    fn epoch(&self, _record: &EpochRow, _epochs: usize, _best: bool) {}
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// All epochs are finished, or the run stopped early.
    Finished {
        /// The best epoch, from 1.
        best_epoch: usize,
        /// Its mean validation Dice at the model's size, 0 to 1.
        best_dice: f64,
        /// Whether a stage stopped early.
        early: bool,
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
/// `last.safetensors`. When `stop` becomes true, the run saves its state after the current step and ends. `strategy` is
/// the device, and the processes that train together.
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
    aten::deterministic(plan.config.deterministic)?;
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
    data: &'a [Data<'a>],
    pub(super) ranks: &'a dyn Ranks,
    pub(super) folder: &'a RunFolder,
    pub(super) learner: Learner<'a>,
    pub(super) checkpoint: Checkpoint,
    pub(super) watched: Vec<usize>,
    /// Names of the weights that are trained where nothing is frozen.
    trainable: Vec<String>,
    /// Weight of each training sample in the stage's draws; `None`: every sample once.
    weights: Option<Vec<f64>>,
    /// Indices of images that were reported as unreadable.
    broken: HashSet<usize>,
    /// Whether there is a saved state to resume from.
    saved: bool,
}

impl<'a> TrainingRun<'a> {
    fn new(
        plan: &'a TrainingPlan,
        data: &'a [Data<'a>],
        Strategy { device, ranks }: Strategy<'a>,
        folder: &'a RunFolder,
        resume: bool,
    ) -> Result<TrainingRun<'a>, TrainError> {
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
            scaler: None,
            sums: Sums::default(),
            records: Vec::new(),
            settings: plan
                .decisive()
                .map_err(|e| TrainError::Checkpoint { path: last.clone(), reason: e.to_string() })?,
            data: [data[0].training.hash().to_owned(), data[0].validation.hash().to_owned()],
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
            if let Some(path) = &settings.encoder_weights {
                model.load_encoder(path)?;
            }
            if let Some(path) = &settings.weights {
                let Loaded { norms_converted, parts_kept } = model.load(path)?;
                if norms_converted > 0 {
                    tracing::info!(
                        "{}: {norms_converted} batch norms were converted to {}",
                        path.display(),
                        settings.model.norm
                    );
                }
                if !parts_kept.is_empty() {
                    tracing::info!(
                        "{}: the file has no weights for {}; they start from random values",
                        path.display(),
                        parts_kept.join(", ")
                    );
                }
            }
        }
        let trainable = model.named_parameters().into_iter().filter(|(_, t)| t.requires_grad()).map(|(n, _)| n);
        let trainable = trainable.collect();
        let mut learner = Learner::new(model, plan, checkpoint.stage, ranks)?;
        if let Some(parts) = &parts {
            restore(&learner, parts)?;
            learner.restore(parts, checkpoint.scaler.clone())?;
        }
        let weights: Vec<Tensor> = learner.state().iter().map(|(_, tensor)| tensor.shallow_clone()).collect();
        ranks.share(&weights)?;
        let here = data[checkpoint.stage];
        let stage = &plan.stages[checkpoint.stage].config;
        Ok(TrainingRun {
            watched: pictures::watched(here.validation, settings.pictures),
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
        Loading {
            batch: stage.batch,
            augment: Some(&stage.augment),
            augment_on_device: settings.augment_on_device.unwrap_or(self.learner.model().device().is_cuda()),
            mean: &settings.input.mean,
            sd: &settings.input.sd,
            channels: settings.model.in_channels as usize,
            channels_last: settings.channels_last,
            seed: settings.seed,
            workers: settings.workers.max(1),
            ranks: self.ranks,
        }
    }

    fn stages(&mut self, resume: bool, stop: &AtomicBool, watcher: &dyn Watcher) -> Result<Outcome, TrainError> {
        let last = self.plan.stages.len() - 1;
        if self.checkpoint.stage == last && self.stage_is_done() {
            return Ok(self.finished());
        }
        let resumed_at = resume.then_some(self.checkpoint.step);
        let path = self.folder.path();
        let writes = self.ranks.writes();
        let events = writes.then(|| EventsWriter::create(path, resumed_at)).transpose();
        let mut events = events.map_err(TrainError::io(path))?;
        loop {
            while !self.stage_is_done() {
                let Some(epoch) = self.epoch(stop, watcher)? else { return Ok(self.interrupted()) };
                self.end_epoch(&epoch, events.as_mut(), watcher)?;
                let more = !self.stage_is_done() || self.checkpoint.stage < last;
                if self.is_asked_to_stop(stop)? && more {
                    return Ok(self.interrupted());
                }
            }
            if self.checkpoint.stage == last {
                return Ok(self.finished());
            }
            self.next_stage()?;
        }
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
                let averages = self
                    .learner
                    .ema()
                    .ok_or_else(|| wrong("the stage before has no averaged weights; add [ema] to it"))?
                    .state();
                tch::no_grad(|| {
                    let mut state = self.learner.state().iter().zip(averages);
                    state.try_for_each(|((_, tensor), (_, average))| tensor.shallow_clone().f_copy_(&average))
                })?;
            }
        }
        self.learner.begin(stage)?;
        let given = self.plan.sample_weights.as_deref();
        self.weights = stage.config.sampling().weights(data.training, given)?;
        self.watched = pictures::watched(data.validation, self.plan.config.pictures);
        self.checkpoint.stage = next;
        self.checkpoint.stage_epoch = 0;
        self.checkpoint.stage_step = 0;
        if self.plan.config.monitor == super::Monitor::Loss {
            self.checkpoint.kept.clear();
        }
        self.save()
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
        let total = per_epoch * stage.epochs as u64;
        let first = self.checkpoint.batch;
        let (mut waited, mut samples, mut lr) = (Duration::ZERO, 0, 0.0);
        let (mut gradients, mut images) = (Vec::new(), Vec::new());
        memory::peak_mb(self.learner.model().device(), true)?;
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
                }
                images.extend_from_slice(&batch.indices);
                self.checkpoint.batch += 1;
                watcher.advance(1);
                let last = self.checkpoint.batch == batches;
                if !self.checkpoint.batch.is_multiple_of(stage.accumulate) && !last {
                    continue;
                }
                lr = stage.optimiser.lr * stage.schedule.factor(self.checkpoint.stage_step, total, per_epoch);
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

    /// Whether any rank was asked to stop.
    fn is_asked_to_stop(&self, stop: &AtomicBool) -> Result<bool, TrainError> {
        let [asked] = self.ranks.totals([f64::from(u8::from(stop.load(Ordering::Relaxed)))])?;
        Ok(asked > 0.0)
    }

    fn report_broken_batch(&mut self, batch: &Batch, watcher: &dyn Watcher) {
        for (index, reason) in &batch.broken {
            if self.broken.insert(*index) {
                watcher.skipped(&self.data().training.entries()[*index].image_id, reason);
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
            return Err(self.not_finite("loss", value, &batch.indices));
        }
        self.checkpoint.sums.loss += value * images as f64;
        self.checkpoint.sums.samples += images as f64;
        Ok(())
    }

    fn step(&mut self, lr: f64, images: &[usize]) -> Result<(), TrainError> {
        match self.learner.step(lr, self.checkpoint.stage_step + 1)? {
            StepOutcome::Updated(norm) => {
                self.checkpoint.sums.norm += norm;
                self.checkpoint.sums.steps += 1.0;
            }
            StepOutcome::Skipped => self.checkpoint.sums.skipped += 1.0,
            StepOutcome::NotFinite(norm) => return Err(self.not_finite("gradients' norm", norm, images)),
        }
        self.checkpoint.step += 1;
        self.checkpoint.stage_step += 1;
        Ok(())
    }

    fn not_finite(&self, what: &'static str, value: f64, images: &[usize]) -> TrainError {
        let entries = self.data().training.entries();
        TrainError::NotFinite {
            epoch: self.checkpoint.epoch + 1,
            step: self.checkpoint.step,
            what,
            value,
            images: images.iter().map(|i| entries[*i].image_id.clone()).collect(),
            saved: self.saved.then(|| self.folder.last()),
        }
    }

    pub(super) fn save(&mut self) -> Result<(), TrainError> {
        self.checkpoint.scaler = self.learner.scaler().cloned();
        if !self.ranks.writes() {
            return Ok(());
        }
        self.checkpoint.save(&self.folder.last(), &self.learner)?;
        self.saved = true;
        self.remove_other_weights()
    }

    /// Whether the stage's epochs are finished, or it stops early.
    fn stage_is_done(&self) -> bool {
        let (stage, now) = (&self.stage().config, &self.checkpoint);
        let begun = now.epoch - now.stage_epoch;
        let best = now.kept.first().map_or(0, |kept| kept.epoch).max(begun);
        now.stage_epoch == stage.epochs || stage.early_stop.is_some_and(|patience| now.epoch - best >= patience)
    }

    fn interrupted(&self) -> Outcome {
        Outcome::Interrupted { epoch: self.checkpoint.epoch, step: self.checkpoint.step }
    }

    fn finished(&self) -> Outcome {
        let best = self.checkpoint.kept.first();
        Outcome::Finished {
            best_epoch: best.map_or(0, |kept| kept.epoch),
            best_dice: best.map_or(0.0, |kept| kept.dice()),
            early: self.checkpoint.epoch < self.plan.epochs(),
        }
    }
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
