//! The end of a stage and of a run: why it ended, and the weights that are averaged over several epochs.

use std::path::PathBuf;

use super::epoch_end::Validator;
use super::training_run::TrainingRun;
use super::{
    Loading, MeanWeights, SwaAverage, TrainError, Watcher, WeightsInfo, estimate_statistics, freeze, weights_info,
    write_weights,
};
use crate::geometry::Size;
use crate::models::Model;
use crate::runs::{AverageSummary, StageEnd, StageSummary};
use crate::wording::counted;

impl TrainingRun<'_> {
    /// Adds the weights at the end of an epoch to the stochastic weight average, if the epoch is one of those to
    /// average.
    pub(super) fn average_epoch(&mut self) -> Result<(), TrainError> {
        let stage = &self.stage().config;
        let Some(swa) = &stage.swa else { return Ok(()) };
        if swa.is_averaged(self.checkpoint.stage_epoch, stage.epochs) {
            let model = self.learner.model();
            self.swa.get_or_insert_with(|| SwaAverage::new(model)).update(model)?;
        }
        Ok(())
    }

    /// Records the end of the current stage; whether it has ended.
    pub(super) fn record_end(&mut self) -> bool {
        let Some(end) = self.stage_end() else { return false };
        let (name, epochs) = (self.stage().name.clone(), self.checkpoint.stage_epoch);
        self.checkpoint.ended.push(StageSummary { name, epochs, end, swa: None });
        true
    }

    /// Reports a stage that ended by its condition, or did not reach it, or averaged no epoch.
    pub(super) fn report_end(&self, watcher: &dyn Watcher) {
        let (stage, now) = (self.stage(), &self.checkpoint);
        let name = &stage.name;
        if let (Some(until), Some(last), Some(end)) = (&stage.config.until, now.records.last(), self.stage_end()) {
            let scores = until.describe(last);
            match end {
                StageEnd::Until => watcher.note(&format!("stage `{name}` ended: {scores}")),
                StageEnd::Epochs | StageEnd::EarlyStop => watcher.warn(&format!(
                    "stage `{name}` ended after {} without reaching its `until`: {scores} in the last epoch",
                    counted(now.stage_epoch, "epoch", "epochs")
                )),
            }
        }
        if stage.config.swa.is_some() && self.swa.is_none() {
            watcher.warn(&format!(
                "stage `{name}` ended after {}, before the first epoch to average (swa.start): there is no swa.safetensors of it",
                counted(now.stage_epoch, "epoch", "epochs"),
            ));
        }
    }

    /// Estimates the batch norms of the stage's stochastic weight average, validates and writes it. Does nothing where
    /// this has been done before the run was resumed.
    pub(super) fn finish_stage(&mut self, watcher: &dyn Watcher) -> Result<(), TrainError> {
        let name = &self.stage().name;
        let done = self.checkpoint.ended.iter().any(|ended| ended.name == *name && ended.swa.is_some());
        if done {
            return Ok(());
        }
        let Some(mut average) = self.swa.take() else { return Ok(()) };
        average.swap(self.learner.state())?;
        let finished = self.finish_average();
        average.swap(self.learner.state())?;
        let summary = AverageSummary { epochs: average.epochs(), dice: finished? };
        self.swa = Some(average);
        watcher.note(&format!(
            "stage `{name}`: mean of the weights of {}{}: {}",
            counted(summary.epochs, "epoch", "epochs"),
            described(summary.dice),
            self.folder.swa().display()
        ));
        if let Some(ended) = self.checkpoint.ended.iter_mut().find(|ended| ended.name == *name) {
            ended.swa = Some(summary);
        }
        self.save()
    }

    /// Completes the average, which is in the model, and returns its Dice.
    fn finish_average(&self) -> Result<Option<f64>, TrainError> {
        let (stage, now, model) = (&self.stage().config, &self.checkpoint, self.learner.model());
        // The batch norms that were trained last are estimated.
        freeze::apply(model, &self.trainable, &stage.freeze, now.stage_epoch.saturating_sub(1))?;
        estimate_statistics(model, self.data().training, &self.loading(), stage.amp, now.epoch as u64)?;
        self.share_statistics(model)?;
        let dice = self.validator().map(|validator| validator.score(model)).transpose()?.map(|v| v.dice.mean);
        if self.ranks.writes() {
            let info = WeightsInfo { dice, averaged: true, ..self.weights_info() };
            write_weights(&self.folder.swa(), self.learner.state(), &info)?;
        }
        Ok(dice)
    }

    /// The first rank's statistics, for all ranks: their own may differ in the last bits.
    fn share_statistics(&self, model: &Model) -> Result<(), TrainError> {
        let buffers: Vec<_> = model.named_buffers().into_iter().map(|(_, tensor)| tensor).collect();
        Ok(self.ranks.share(&buffers)?)
    }

    /// Writes the last weights of a run without a validation set, and the mean of the best epochs.
    pub(super) fn finish_run(&mut self, watcher: &dyn Watcher) -> Result<(), TrainError> {
        let (path, info) = (self.folder.final_weights(), self.weights_info());
        if self.data().validation.is_none() && self.ranks.writes() && !path.exists() {
            self.learner.averaged(|learner| write_weights(&path, learner.state(), &info))?;
        }
        let Some(count) = self.plan.config.average_best else { return Ok(()) };
        let kept = &self.checkpoint.kept;
        let files: Vec<PathBuf> = kept.iter().take(count).map(|kept| self.folder.kept(kept.epoch)).collect();
        if self.checkpoint.average_best.as_ref().is_some_and(|done| done.epochs == files.len()) {
            return Ok(());
        }
        if files.len() < 2 {
            watcher.warn(&format!("average-best = {count}, but the run has only one epoch to average"));
            return Ok(());
        }
        let sizes = files.iter().map(|file| Ok(weights_info(file)?.size)).collect::<Result<Vec<Size>, TrainError>>()?;
        if sizes.iter().any(|size| *size != sizes[0]) {
            watcher.warn(&format!(
                "average-best = {count}: the best epochs are of different image sizes ({sizes:?}) and were not averaged"
            ));
            return Ok(());
        }
        let dice = self.average_files(&files)?;
        let summary = AverageSummary { epochs: files.len(), dice: Some(dice) };
        watcher.note(&format!(
            "mean of the weights of the {} best epochs{}: {}",
            summary.epochs,
            described(summary.dice),
            self.folder.average().display()
        ));
        self.checkpoint.average_best = Some(summary);
        self.save()
    }

    /// Averages files of weights, estimates the batch norms, and writes the mean; its Dice.
    fn average_files(&self, files: &[PathBuf]) -> Result<f64, TrainError> {
        let MeanWeights { model, info, norms } = MeanWeights::read(files, self.learner.model().device())?;
        let mut of_size = self.data.iter().zip(&self.plan.stages).filter(|(data, _)| data.training.size() == info.size);
        let (data, stage) = of_size.next_back().expect("the file was written by a stage of this size");
        let config = &stage.config;
        let loading = Loading { batch: config.batch, augment: Some(&config.augment), ..self.loading() };
        if norms > 0 {
            estimate_statistics(&model, data.training, &loading, config.amp, self.checkpoint.epoch as u64)?;
        }
        let state: Vec<_> = model.state().into_iter().map(|(_, tensor)| tensor).collect();
        self.ranks.share(&state)?;
        let samples = data.validation.ok_or(TrainError::NoValidation { key: "average-best" })?;
        let dice = Validator { samples, stage, loading, ranks: self.ranks }.score(&model)?.dice.mean;
        if self.ranks.writes() {
            write_weights(&self.folder.average(), &model.state(), &WeightsInfo { dice: Some(dice), ..info })?;
        }
        Ok(dice)
    }
}

fn described(dice: Option<f64>) -> String {
    dice.map_or(String::new(), |dice| format!(", Dice {dice:.4} at the model's size"))
}
