use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tch::{Device, Tensor};

use super::checkpoint::{Parts, Sums};
use super::loader::Batches;
use super::validate::tensors;
use super::{
    Checkpoint, Dataset, Ema, EpochRecord, EventsWriter, Loading, Optimiser, Settings, TrainError, Validation,
    WeightsInfo, log, order, pictures, seeds, validate, write_weights,
};
use crate::bones;
use crate::models::Model;
use crate::progress::Progress;

/// Where a run leaves its files.
#[derive(Clone, Debug)]
pub struct RunFolder(PathBuf);

impl RunFolder {
    /// The run `name` under `runs`.
    pub fn new(runs: &Path, name: &str) -> RunFolder {
        RunFolder(runs.join(name))
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Everything needed to go on.
    pub fn last(&self) -> PathBuf {
        self.0.join("last.safetensors")
    }

    /// Weights of the epoch with the best validation Dice.
    pub fn best(&self) -> PathBuf {
        self.0.join("best.safetensors")
    }

    /// One row an epoch.
    pub fn log(&self) -> PathBuf {
        self.0.join("log.csv")
    }

    /// Pictures after epoch `epoch`.
    pub fn picture(&self, epoch: usize) -> PathBuf {
        self.0.join(format!("pictures/epoch{epoch:03}.png"))
    }
}

/// Someone who follows a run.
pub trait Watcher: Progress {
    /// An epoch is done.
    fn epoch(&self, record: &EpochRecord, epochs: usize, best: bool);
}

impl Watcher for crate::progress::Silent {
    fn epoch(&self, _record: &EpochRecord, _epochs: usize, _best: bool) {}
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// All epochs are done, or no better one was in sight.
    Finished {
        /// The best epoch, from 1.
        best_epoch: usize,
        /// Its validation Dice at the model's size.
        best_dice: f64,
        /// Whether it ended before its time.
        early: bool,
    },
    /// It was asked to stop and saved where it stood.
    Interrupted {
        /// Epochs done.
        epoch: usize,
        /// Optimiser steps done.
        step: u64,
    },
}

/// Trains `settings` on `training`, watched on `validation`, and leaves its files in `folder`. With `resume`, goes
/// on from `last.safetensors`, and refuses where a setting, the data or the classes changed. When `stop` becomes
/// true the run saves after the step under way and ends.
#[allow(clippy::too_many_arguments)]
pub fn train(
    settings: &Settings,
    training: &Dataset,
    validation: &Dataset,
    device: Device,
    folder: &RunFolder,
    resume: bool,
    stop: &AtomicBool,
    watcher: &dyn Watcher,
) -> Result<Outcome, TrainError> {
    let mut run = Run::new(settings, training, validation, device, folder, resume)?;
    if run.checkpoint.epoch == settings.epochs || run.early() {
        return Ok(run.finished());
    }
    let resumed_at = resume.then_some(run.checkpoint.step);
    let mut events = EventsWriter::create(folder.path(), resumed_at).map_err(TrainError::io(folder.path()))?;
    while run.checkpoint.epoch < settings.epochs && !run.early() {
        let timing = match run.epoch(stop, watcher)? {
            Some(timing) => timing,
            None => return Ok(Outcome::Interrupted { epoch: run.checkpoint.epoch, step: run.checkpoint.step }),
        };
        run.close_epoch(&timing, &mut events, watcher)?;
        if stop.load(Ordering::Relaxed) && run.checkpoint.epoch < settings.epochs {
            return Ok(Outcome::Interrupted { epoch: run.checkpoint.epoch, step: run.checkpoint.step });
        }
    }
    Ok(run.finished())
}

/// What an epoch took.
struct Timing {
    started: Instant,
    trained: Duration,
    waited: Duration,
    samples: usize,
    lr: f64,
}

struct Run<'a> {
    settings: &'a Settings,
    training: &'a Dataset,
    validation: &'a Dataset,
    folder: &'a RunFolder,
    loading: Loading<'a>,
    model: Model,
    /// The model's tensors by name, sharing storage.
    state: Vec<(String, Tensor)>,
    optimiser: Optimiser,
    ema: Option<Ema>,
    checkpoint: Checkpoint,
    watched: Vec<usize>,
    /// Whether this process has saved, or found, a state to go back to.
    saved: bool,
}

impl<'a> Run<'a> {
    fn new(
        settings: &'a Settings,
        training: &'a Dataset,
        validation: &'a Dataset,
        device: Device,
        folder: &'a RunFolder,
        resume: bool,
    ) -> Result<Run<'a>, TrainError> {
        let last = folder.last();
        match (resume, last.exists()) {
            (true, false) => return Err(TrainError::NothingToResume { path: last }),
            (false, true) => return Err(TrainError::RunExists { path: folder.path().into() }),
            _ => {}
        }
        tch::manual_seed(settings.seed as i64);
        let mut model = Model::new(&settings.model, device)?;
        if let Some(path) = settings.encoder_weights.as_ref().filter(|_| !resume) {
            model.load_encoder(path)?;
        }
        if let Some(path) = settings.weights.as_ref().filter(|_| !resume) {
            model.load(path)?;
        }
        let state = model.state();
        let mut optimiser = Optimiser::new(&settings.optimiser, model.named_parameters());
        let mut ema = settings.ema.as_ref().map(|s| Ema::new(s, &state));
        let mut checkpoint = Checkpoint {
            epoch: 0,
            batch: 0,
            step: 0,
            best_epoch: 0,
            sums: Sums { best_dice: f64::NEG_INFINITY, ..Sums::default() },
            records: Vec::new(),
            settings: serde_json::to_value(settings)
                .map_err(|e| TrainError::Checkpoint { path: last.clone(), reason: e.to_string() })?,
            data: [training.hash().to_owned(), validation.hash().to_owned()],
            classes: bones::NAMES.map(str::to_owned).to_vec(),
        };
        if resume {
            let (saved, parts) = Checkpoint::open(&last)?;
            saved.check(&checkpoint, &last)?;
            restore(&state, &parts)?;
            optimiser.load_state(&parts.optimiser)?;
            if let Some(ema) = &mut ema {
                ema.load_state(&parts.ema)?;
            }
            checkpoint = saved;
        }
        let loading = Loading {
            batch: settings.batch,
            augment: Some(&settings.augment),
            mean: &settings.input.mean,
            sd: &settings.input.sd,
            channels: settings.model.in_channels as usize,
            seed: settings.seed,
            workers: settings.workers.max(1),
        };
        let watched = pictures::watched(validation, settings.pictures);
        Ok(Run {
            settings,
            training,
            validation,
            folder,
            loading,
            model,
            state,
            optimiser,
            ema,
            checkpoint,
            watched,
            saved: resume,
        })
    }

    /// Trains the epoch under way to its end; `None` where it was asked to stop, and saved.
    fn epoch(&mut self, stop: &AtomicBool, watcher: &dyn Watcher) -> Result<Option<Timing>, TrainError> {
        let started = Instant::now();
        let epoch = self.checkpoint.epoch;
        let order =
            order(self.training.len(), self.settings.sample_weights.as_deref(), self.settings.seed, epoch as u64);
        let batches = order.len().div_ceil(self.settings.batch);
        let per_epoch = batches.div_ceil(self.settings.accumulate) as u64;
        let total = per_epoch * self.settings.epochs as u64;
        let first = self.checkpoint.batch;
        let (mut waited, mut samples, mut lr) = (Duration::ZERO, 0, 0.0);
        watcher.start(&format!("batches of epoch {}", epoch + 1), (batches - first) as u64);
        let (dataset, loading) = (self.training, self.loading.clone());
        let finished = std::thread::scope(|scope| {
            let mut made = Batches::start(scope, dataset, &order, &loading, epoch as u64, first);
            loop {
                let asked = Instant::now();
                let Some(batch) = made.next() else { return Ok(true) };
                let batch = batch?;
                waited += asked.elapsed();
                samples += batch.indices.len();
                // The samples whose gradients are summed with this batch's, which share one mean.
                let group = self.checkpoint.batch / self.settings.accumulate * self.settings.accumulate;
                let from = group * self.settings.batch;
                let until = (from + self.settings.accumulate * self.settings.batch).min(order.len());
                lr = self.settings.optimiser.lr * self.settings.schedule.factor(self.checkpoint.step, total, per_epoch);
                self.learn(&batch, (until - from) as f64)?;
                self.checkpoint.batch += 1;
                watcher.advance(1);
                if !self.checkpoint.batch.is_multiple_of(self.settings.accumulate) && self.checkpoint.batch != batches {
                    continue;
                }
                self.move_weights(lr);
                let due = self.settings.save_every.is_some_and(|n| self.checkpoint.step.is_multiple_of(n));
                let stopped = stop.load(Ordering::Relaxed) && self.checkpoint.batch != batches;
                if (due && self.checkpoint.batch != batches) || stopped {
                    self.save()?;
                }
                if stopped {
                    return Ok(false);
                }
            }
        });
        watcher.finish();
        let finished: bool = finished.map_err(|e: TrainError| e)?;
        Ok(finished.then(|| Timing { started, trained: started.elapsed(), waited, samples, lr }))
    }

    /// Adds the gradients of a batch's share of the mean loss over `group` samples.
    fn learn(&mut self, batch: &super::Batch, group: f64) -> Result<(), TrainError> {
        seeds::seed_step(self.settings.seed, (self.checkpoint.epoch as u64) << 32 | self.checkpoint.batch as u64);
        let (x, words) = tensors(batch, self.training.size(), self.loading.channels, self.model.device());
        let output = self.model.forward_t(&x, true)?;
        let mut loss = self.settings.loss.forward(&output.logits, &words)?;
        for auxiliary in &output.auxiliary {
            loss = loss
                .f_add(&self.settings.loss.forward(auxiliary, &words)?.f_mul_scalar(self.settings.auxiliary_weight)?)?;
        }
        let value = loss.double_value(&[]);
        if !value.is_finite() {
            let image = |i: &usize| self.training.entries()[*i].image_id.clone();
            return Err(TrainError::NotFinite {
                epoch: self.checkpoint.epoch + 1,
                step: self.checkpoint.step,
                value,
                images: batch.indices.iter().map(image).collect(),
                saved: self.saved.then(|| self.folder.last()),
            });
        }
        let samples = batch.indices.len() as f64;
        let loss = if samples == group { loss } else { loss.f_mul_scalar(samples / group)? };
        loss.f_backward()?;
        self.checkpoint.sums.loss += value * samples;
        self.checkpoint.sums.samples += samples;
        Ok(())
    }

    fn move_weights(&mut self, lr: f64) {
        self.checkpoint.sums.norm += self.optimiser.clip(self.settings.clip);
        self.checkpoint.sums.steps += 1.0;
        self.optimiser.step(lr);
        self.optimiser.zero_grad();
        self.checkpoint.step += 1;
        if let Some(ema) = &mut self.ema {
            ema.update(&self.state, self.checkpoint.step);
        }
    }

    /// Validates, logs and saves after the last batch of an epoch.
    fn close_epoch(
        &mut self,
        timing: &Timing,
        events: &mut EventsWriter,
        watcher: &dyn Watcher,
    ) -> Result<(), TrainError> {
        let loss = &self.settings.loss;
        let raw = validate(&self.model, self.validation, loss, &self.loading)?;
        let (best, validation, picture) = match self.ema.take() {
            None => {
                let (best, picture) = self.judge(&raw)?;
                (best, raw.clone(), picture)
            }
            Some(mut ema) => {
                ema.swap(&self.state);
                let averaged = validate(&self.model, self.validation, loss, &self.loading)?;
                let judged = self.judge(&averaged);
                ema.swap(&self.state);
                self.ema = Some(ema);
                let (best, picture) = judged?;
                (best, averaged, picture)
            }
        };
        let sums = self.checkpoint.sums;
        self.checkpoint.epoch += 1;
        self.checkpoint.batch = 0;
        self.checkpoint.sums = Sums { best_dice: sums.best_dice, ..Sums::default() };
        let trained = timing.trained.as_secs_f64();
        let record = EpochRecord {
            epoch: self.checkpoint.epoch,
            step: self.checkpoint.step,
            lr: timing.lr,
            train_loss: sums.loss / sums.samples,
            valid_loss: validation.loss,
            valid_dice: validation.dice.mean,
            valid_dice_raw: self.ema.is_some().then_some(raw.dice.mean),
            per_class: validation.dice.per_class,
            gradient_norm: sums.norm / sums.steps,
            seconds: timing.started.elapsed().as_secs_f64(),
            images_per_second: timing.samples as f64 / trained,
            waiting: timing.waited.as_secs_f64() / trained,
        };
        self.write_events(&record, picture, events).map_err(TrainError::io(events.path()))?;
        self.checkpoint.records.push(record);
        log::write_csv(&self.folder.log(), &self.checkpoint.records).map_err(TrainError::io(self.folder.log()))?;
        self.save()?;
        let record = self.checkpoint.records.last().expect("one was pushed");
        watcher.epoch(record, self.settings.epochs, best);
        Ok(())
    }

    /// Draws the watched images with the weights in the model and keeps these weights where they are the best yet.
    fn judge(&mut self, validation: &Validation) -> Result<(bool, Option<Picture>), TrainError> {
        let epoch = self.checkpoint.epoch + 1;
        let best = validation.dice.mean > self.checkpoint.sums.best_dice;
        if best {
            self.checkpoint.sums.best_dice = validation.dice.mean;
            self.checkpoint.best_epoch = epoch;
            let info = WeightsInfo {
                model: self.settings.model.clone(),
                size: self.settings.size,
                input: self.settings.input.clone(),
                classes: self.checkpoint.classes.clone(),
                epoch,
                dice: validation.dice.mean,
                averaged: self.settings.ema.is_some(),
            };
            write_weights(&self.folder.best(), &self.state, &info)?;
        }
        if self.watched.is_empty() {
            return Ok((best, None));
        }
        let sheet = pictures::compare(&self.model, self.validation, &self.watched, &self.loading)?;
        let png = pictures::save(&self.folder.picture(epoch), &sheet)?;
        Ok((best, Some(Picture { width: sheet.width(), height: sheet.height(), png })))
    }

    fn write_events(
        &self,
        record: &EpochRecord,
        picture: Option<Picture>,
        events: &mut EventsWriter,
    ) -> std::io::Result<()> {
        let mut scalars = vec![
            ("loss/train".to_owned(), record.train_loss),
            ("loss/validation".to_owned(), record.valid_loss),
            ("dice/validation".to_owned(), record.valid_dice),
            ("rate".to_owned(), record.lr),
            ("gradient norm".to_owned(), record.gradient_norm),
            ("images per second".to_owned(), record.images_per_second),
        ];
        scalars.extend(record.valid_dice_raw.map(|d| ("dice/validation raw".to_owned(), d)));
        scalars.extend(bones::NAMES.iter().zip(&record.per_class).map(|(n, d)| (format!("dice by class/{n}"), *d)));
        events.scalars(record.step, scalars.iter().map(|(tag, value)| (tag.as_str(), *value)))?;
        match picture {
            Some(p) => events.image(record.step, "validation", p.width, p.height, &p.png),
            None => Ok(()),
        }
    }

    fn save(&mut self) -> Result<(), TrainError> {
        let ema = self.ema.as_ref().map(Ema::state);
        self.checkpoint.save(&self.folder.last(), self.model.state(), ema, self.optimiser.state())?;
        self.saved = true;
        Ok(())
    }

    /// Whether no better epoch came for as long as the settings wait.
    fn early(&self) -> bool {
        let since = self.checkpoint.epoch - self.checkpoint.best_epoch.min(self.checkpoint.epoch);
        self.settings.early_stop.is_some_and(|patience| since >= patience)
    }

    fn finished(&self) -> Outcome {
        Outcome::Finished {
            best_epoch: self.checkpoint.best_epoch,
            best_dice: self.checkpoint.sums.best_dice,
            early: self.checkpoint.epoch < self.settings.epochs,
        }
    }
}

struct Picture {
    width: u32,
    height: u32,
    png: Vec<u8>,
}

fn restore(state: &[(String, Tensor)], parts: &Parts) -> Result<(), TrainError> {
    tch::no_grad(|| {
        for (name, tensor) in state {
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
