//! The end of an epoch: validation, the weights of the best epochs, the log, and the save.

use tch::{TchError, Tensor};

use super::scalars::scalars;
use super::training_run::{Epoch, TrainingRun};
use super::{
    EventsWriter, HookEvent, HookStatus, Kept, Loading, Monitor, Ranks, Samples, Stage, TensorHistogram, TrainError,
    Validation, Watcher, WeightsInfo, histograms, memory, pictures, validate, write_weights,
};
use crate::aten::PeakReading;
use crate::metrics::DiceScore;
use crate::models::Model;
use crate::tables::{EpochRow, write_table};

/// Result of validating the averaged weights, or the trained weights where there are no averages.
struct Validated {
    /// `None` without a validation set.
    validation: Option<Validation>,
    best: bool,
    picture: Option<Picture>,
    weights: Vec<(String, TensorHistogram)>,
}

struct Picture {
    width: u32,
    height: u32,
    png: Vec<u8>,
}

/// The validation of a model with the settings of a stage; all ranks get the same result.
pub(super) struct Validator<'a> {
    pub(super) samples: &'a Samples,
    pub(super) stage: &'a Stage,
    pub(super) loading: Loading<'a>,
    pub(super) ranks: &'a dyn Ranks,
}

impl Validator<'_> {
    pub(super) fn score(&self, model: &Model) -> Result<Validation, TrainError> {
        let config = &self.stage.config;
        let own = validate(model, self.samples, &config.loss, &self.loading, config.amp)?;
        Ok(from_first_rank(own, self.ranks)?)
    }
}

impl<'a> TrainingRun<'a> {
    /// The validation of the current stage; `None` without a validation set.
    pub(super) fn validator(&self) -> Option<Validator<'a>> {
        let samples = self.data().validation?;
        Some(Validator { samples, stage: self.stage(), loading: self.loading(), ranks: self.ranks })
    }

    /// The description of the current weights, without Dice.
    pub(super) fn weights_info(&self) -> WeightsInfo {
        let (stage, settings) = (&self.stage().config, &self.plan.config);
        WeightsInfo {
            model: settings.model.clone(),
            size: stage.size,
            input: settings.input.clone(),
            specialist: settings.specialist.clone(),
            classes: self.checkpoint.classes.clone(),
            top_level: self.data().training.top_level(),
            epoch: Some(self.checkpoint.epoch),
            dice: None,
            averaged: stage.ema.is_some(),
        }
    }

    /// Validates, logs and saves after the last batch of an epoch.
    pub(super) fn end_epoch(
        &mut self,
        epoch: &Epoch,
        mut events: Option<&mut EventsWriter>,
        watcher: &dyn Watcher,
    ) -> Result<(), TrainError> {
        let (stage, validator) = (self.stage(), self.validator());
        let raw = validator.as_ref().filter(|_| self.learner.ema().is_some());
        let raw = raw.map(|validator| validator.score(self.learner.model())).transpose()?;
        let result = self.validate_and_keep(validator.as_ref())?;
        let sums = std::mem::take(&mut self.checkpoint.sums);
        if sums.samples == 0.0 {
            return Err(TrainError::NoImages { part: "training", reason: "none can be read any longer".into() });
        }
        self.checkpoint.epoch += 1;
        self.checkpoint.stage_epoch += 1;
        self.checkpoint.batch = 0;
        let trained = epoch.trained.as_secs_f64();
        let row = EpochRow {
            stage: stage.name.clone(),
            epoch: self.checkpoint.epoch as u32,
            step: self.checkpoint.step,
            lr: epoch.lr,
            train_loss: sums.loss / sums.samples,
            valid_loss: result.validation.as_ref().map(|v| v.loss),
            valid_dice: result.validation.as_ref().map(|v| v.dice.mean),
            valid_dice_raw: raw.map(|v| v.dice.mean),
            gradient_norm: if sums.steps > 0.0 { sums.norm / sums.steps } else { 0.0 },
            seconds: epoch.started.elapsed().as_secs_f64(),
            images_per_second: epoch.samples as f64 / trained,
            waiting: epoch.waited.as_secs_f64() / trained,
            memory_mb: memory::peak_mb(self.learner.model().device(), PeakReading::Keep)?,
            steps_skipped: sums.skipped as u64,
            images_skipped: sums.broken as u64,
            dice: result.validation.as_ref().map(|v| v.dice.per_class.clone()).unwrap_or_default(),
        };
        if let Some(events) = &mut events {
            write_events(&row, &result, &epoch.gradients, events).map_err(TrainError::io(events.path()))?;
            if sums.unlabelled > 0.0 {
                let consistency = [("loss/consistency", sums.consistency / sums.unlabelled)];
                events.scalars(row.step, consistency).map_err(TrainError::io(events.path()))?;
            }
        }
        let best = result.best;
        self.checkpoint.records.push(row);
        self.average_epoch()?;
        let ended = self.record_end();
        if self.ranks.writes() {
            write_table(self.folder.path(), &self.checkpoint.records)?;
        }
        self.save()?;
        self.write_wandb(None)?;
        let row = self.checkpoint.records.last().expect("one was pushed");
        watcher.epoch(row, self.plan.epochs(), best);
        if ended {
            self.report_end(watcher);
        }
        self.notify(watcher);
        Ok(())
    }

    /// Runs the command of `hooks.epoch`, on the first rank.
    fn notify(&self, watcher: &dyn Watcher) {
        let (now, hooks) = (&self.checkpoint, &self.plan.config.hooks);
        let Some(hooks) = hooks.as_ref().filter(|_| self.ranks.writes()) else { return };
        let event = HookEvent {
            run: self.folder.path(),
            status: HookStatus::Running,
            epoch: now.epoch,
            dice: now.records.last().and_then(|row| row.valid_dice),
            best_dice: now.kept.first().map(|kept| kept.dice()),
        };
        hooks.notify(&event, watcher);
    }

    /// Validates the averaged weights, draws the watched images, and keeps the weights if they are among the best.
    fn validate_and_keep(&mut self, validator: Option<&Validator>) -> Result<Validated, TrainError> {
        let (settings, folder, info) = (&self.plan.config, self.folder, self.weights_info());
        let (watched, writes) = (&self.watched, self.ranks.writes());
        let checkpoint = &mut self.checkpoint;
        let epoch = checkpoint.epoch + 1;
        self.learner.averaged(|learner| {
            let validation = validator.map(|validator| validator.score(learner.model())).transpose()?;
            let mut best = false;
            if let Some(validation) = &validation {
                let score = match settings.monitor {
                    Monitor::Dice => validation.dice.mean,
                    Monitor::Loss => -validation.loss,
                };
                // Of equal epochs the earlier one ranks first.
                let kept = &mut checkpoint.kept;
                let place = kept.iter().position(|kept| score > kept.score()).unwrap_or(kept.len());
                best = place == 0;
                if place < settings.keep_best.max(1) {
                    kept.insert(place, Kept::new(epoch, score, validation.dice.mean));
                    kept.truncate(settings.keep_best.max(1));
                    let info = WeightsInfo { epoch: Some(epoch), dice: Some(validation.dice.mean), ..info };
                    if settings.keep_best > 1 && writes {
                        write_weights(&folder.kept(epoch), learner.state(), &info)?;
                    }
                    if best && writes {
                        write_weights(&folder.best(), learner.state(), &info)?;
                    }
                }
            }
            let mut weights = Vec::new();
            if settings.histograms {
                let named = learner.model().named_parameters();
                weights = histograms::by_part("weights", named.iter().map(|(n, t)| (n.as_str(), t.shallow_clone())))?;
            }
            let mut picture = None;
            if let Some(Validator { samples, loading, .. }) = validator.filter(|_| !watched.is_empty() && writes) {
                let sheet = pictures::compare(learner.model(), samples, watched, loading)?;
                let png = pictures::save(&folder.picture(epoch), &sheet)?;
                picture = Some(Picture { width: sheet.width(), height: sheet.height(), png });
            }
            Ok(Validated { validation, best, picture, weights })
        })
    }

    /// Removes the weights of epochs that are no longer among the best. It is called after the save, because a run that
    /// is killed before the save resumes from a state where they were.
    pub(super) fn remove_other_weights(&self) -> Result<(), TrainError> {
        let folder = self.folder.kept_folder();
        if !folder.is_dir() {
            return Ok(());
        }
        let kept: Vec<_> = self.checkpoint.kept.iter().map(|kept| self.folder.kept(kept.epoch)).collect();
        for entry in std::fs::read_dir(&folder).map_err(TrainError::io(&folder))? {
            let path = entry.map_err(TrainError::io(&folder))?.path();
            if !kept.contains(&path) {
                std::fs::remove_file(&path).map_err(TrainError::io(&path))?;
            }
        }
        Ok(())
    }
}

/// The first rank's validation, for all ranks: their own may differ in the last bits, and all must make the same
/// decisions.
fn from_first_rank(own: Validation, ranks: &dyn Ranks) -> Result<Validation, TchError> {
    if ranks.world() == 1 {
        return Ok(own);
    }
    let numbers = Tensor::f_from_slice(&[&[own.loss, own.dice.mean], &own.dice.per_class[..]].concat())?;
    ranks.share(std::slice::from_ref(&numbers))?;
    let numbers = Vec::<f64>::try_from(numbers)?;
    Ok(Validation {
        loss: numbers[0],
        dice: DiceScore { mean: numbers[1], per_class: numbers[2..].to_vec(), images: own.dice.images },
    })
}

fn write_events(
    row: &EpochRow,
    result: &Validated,
    gradients: &[(String, TensorHistogram)],
    events: &mut EventsWriter,
) -> std::io::Result<()> {
    let scalars = scalars(row);
    events.scalars(row.step, scalars.iter().map(|(tag, value)| (tag.as_str(), *value)))?;
    for (tag, histogram) in result.weights.iter().chain(gradients) {
        events.histogram(row.step, tag, histogram)?;
    }
    match &result.picture {
        Some(p) => events.image(row.step, "validation", p.width, p.height, &p.png),
        None => Ok(()),
    }
}
