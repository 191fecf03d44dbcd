//! The end of an epoch: validation, the weights of the best epochs, the log, and the save.

use tch::{TchError, Tensor};

use super::scalars::scalars;
use super::training_run::{Epoch, TrainingRun};
use super::{
    EventsWriter, Kept, Monitor, Ranks, TensorHistogram, TrainError, Validation, Watcher, WeightsInfo, histograms,
    memory, pictures, validate, write_weights,
};
use crate::metrics::DiceScore;
use crate::tables::{EpochRow, write_table};

/// Result of validating the averaged weights, or the trained weights where there are no averages.
struct Validated {
    validation: Validation,
    best: bool,
    picture: Option<Picture>,
    weights: Vec<(String, TensorHistogram)>,
}

struct Picture {
    width: u32,
    height: u32,
    png: Vec<u8>,
}

impl TrainingRun<'_> {
    /// Validates, logs and saves after the last batch of an epoch.
    pub(super) fn end_epoch(
        &mut self,
        epoch: &Epoch,
        mut events: Option<&mut EventsWriter>,
        watcher: &dyn Watcher,
    ) -> Result<(), TrainError> {
        let (stage, loading, data, ranks) = (self.stage(), self.loading(), self.data(), self.ranks);
        let validated = |learner: &super::Learner| {
            let own = validate(learner.model(), data.validation, &stage.config.loss, &loading, stage.config.amp)?;
            Ok(from_first_rank(own, ranks)?)
        };
        let raw = self.learner.ema().is_some().then(|| validated(&self.learner)).transpose()?;
        let result = self.validate_and_keep(validated)?;
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
            valid_loss: result.validation.loss,
            valid_dice: result.validation.dice.mean,
            valid_dice_raw: raw.map(|v| v.dice.mean),
            gradient_norm: if sums.steps > 0.0 { sums.norm / sums.steps } else { 0.0 },
            seconds: epoch.started.elapsed().as_secs_f64(),
            images_per_second: epoch.samples as f64 / trained,
            waiting: epoch.waited.as_secs_f64() / trained,
            memory_mb: memory::peak_mb(self.learner.model().device(), false)?,
            steps_skipped: sums.skipped as u64,
            images_skipped: sums.broken as u64,
            dice: result.validation.dice.per_class.clone(),
        };
        if let Some(events) = &mut events {
            write_events(&row, &result, &epoch.gradients, events).map_err(TrainError::io(events.path()))?;
        }
        let best = result.best;
        self.checkpoint.records.push(row);
        if self.ranks.writes() {
            write_table(self.folder.path(), &self.checkpoint.records)?;
        }
        self.save()?;
        self.write_wandb(None)?;
        let row = self.checkpoint.records.last().expect("one was pushed");
        watcher.epoch(row, self.plan.epochs(), best);
        Ok(())
    }

    /// Validates the averaged weights, draws the watched images, and keeps the weights if they are among the best.
    fn validate_and_keep(
        &mut self,
        validated: impl Fn(&super::Learner) -> Result<Validation, TrainError>,
    ) -> Result<Validated, TrainError> {
        let (stage, settings, folder, data) = (&self.stage().config, &self.plan.config, self.folder, self.data());
        let (loading, watched, writes) = (self.loading(), &self.watched, self.ranks.writes());
        let checkpoint = &mut self.checkpoint;
        let epoch = checkpoint.epoch + 1;
        self.learner.averaged(|learner| {
            let validation = validated(learner)?;
            let score = match settings.monitor {
                Monitor::Dice => validation.dice.mean,
                Monitor::Loss => -validation.loss,
            };
            // Of equal epochs the earlier one ranks first.
            let place = checkpoint.kept.iter().position(|kept| score > kept.score()).unwrap_or(checkpoint.kept.len());
            if place < settings.keep_best.max(1) {
                checkpoint.kept.insert(place, Kept::new(epoch, score, validation.dice.mean));
                checkpoint.kept.truncate(settings.keep_best.max(1));
                let info = WeightsInfo {
                    model: settings.model.clone(),
                    size: stage.size,
                    input: settings.input.clone(),
                    classes: checkpoint.classes.clone(),
                    top_level: data.training.top_level(),
                    epoch: Some(epoch),
                    dice: Some(validation.dice.mean),
                    averaged: stage.ema.is_some(),
                };
                if settings.keep_best > 1 && writes {
                    write_weights(&folder.kept(epoch), learner.state(), &info)?;
                }
                if place == 0 && writes {
                    write_weights(&folder.best(), learner.state(), &info)?;
                }
            }
            let mut weights = Vec::new();
            if settings.histograms {
                let named = learner.model().named_parameters();
                weights = histograms::by_part("weights", named.iter().map(|(n, t)| (n.as_str(), t.shallow_clone())))?;
            }
            let mut picture = None;
            if !watched.is_empty() && writes {
                let sheet = pictures::compare(learner.model(), data.validation, watched, &loading)?;
                let png = pictures::save(&folder.picture(epoch), &sheet)?;
                picture = Some(Picture { width: sheet.width(), height: sheet.height(), png });
            }
            Ok(Validated { validation, best: place == 0, picture, weights })
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
