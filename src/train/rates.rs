use serde::Serialize;

use super::{Schedule, Stage, SwaSettings, batches};

/// The settings of one stage that decide its learning rate.
#[derive(Clone, Debug, PartialEq)]
pub struct StageRates {
    /// Name of the stage; empty if the run has no stages.
    pub name: String,
    /// Number of epochs.
    pub epochs: u64,
    /// Optimiser steps per epoch.
    pub steps_per_epoch: u64,
    /// The schedule of the stage.
    pub schedule: Schedule,
    /// Base learning rate.
    pub lr: f64,
    /// Factor on the learning rate for the encoder's weights.
    pub encoder_lr_factor: f64,
    /// Stochastic weight averaging, which can replace the schedule at the end of the stage.
    pub swa: Option<SwaSettings>,
}

impl StageRates {
    /// The rates of a stage with `steps_per_epoch` optimiser steps per epoch.
    pub fn of(stage: &Stage, steps_per_epoch: u64) -> StageRates {
        let Stage { name, config, .. } = stage;
        StageRates {
            name: name.clone(),
            epochs: config.epochs as u64,
            steps_per_epoch,
            schedule: config.schedule.clone(),
            lr: config.optimiser.lr,
            encoder_lr_factor: config.optimiser.encoder_lr_factor,
            swa: config.swa.clone(),
        }
    }

    /// The base learning rate at optimiser step `step` of the stage, from 0.
    pub fn lr_at(&self, step: u64) -> f64 {
        let total = self.epochs * self.steps_per_epoch;
        let scheduled = |step: u64| self.lr * self.schedule.factor(step, total, self.steps_per_epoch);
        match &self.swa {
            Some(swa) => swa.lr_at(step, self.epochs as usize, self.steps_per_epoch, scheduled),
            None => scheduled(step),
        }
    }
}

/// The learning rate of one optimiser step.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Rate {
    /// Index of the stage, from 0.
    pub stage: usize,
    /// Number of the epoch over all stages, from 1.
    pub epoch: u64,
    /// Number of the step over all stages, from 0.
    pub step: u64,
    /// The learning rate divided by the base learning rate of the stage.
    pub factor: f64,
    /// Learning rate of the weights outside of the encoder.
    pub lr: f64,
    /// Learning rate of the encoder's weights.
    pub encoder_lr: f64,
}

/// Number of optimiser steps in an epoch of `images` images; the last step may sum fewer batches.
pub fn steps_per_epoch(images: usize, batch: usize, accumulate: usize) -> u64 {
    batches(images, batch.max(1)).div_ceil(accumulate.max(1)) as u64
}

/// The learning rate at every step of a run, over all stages in order; each stage's schedule starts from its beginning.
pub fn rates(stages: &[StageRates]) -> impl Iterator<Item = Rate> {
    let mut begun = (0, 0);
    stages.iter().enumerate().flat_map(move |(stage, s)| {
        let (epochs, steps) = begun;
        let total = s.epochs * s.steps_per_epoch;
        begun = (epochs + s.epochs, steps + total);
        (0..total).map(move |step| {
            let scheduled = s.schedule.factor(step, total, s.steps_per_epoch);
            let lr = s.lr_at(step);
            // Exactly the schedule's factor where the schedule holds.
            let factor = if lr == s.lr * scheduled { scheduled } else { lr / s.lr };
            let epoch = epochs + step / s.steps_per_epoch + 1;
            Rate { stage, epoch, step: steps + step, factor, lr, encoder_lr: lr * s.encoder_lr_factor }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_follow_each_other_and_restart_their_schedules() {
        let stage = |schedule, epochs, lr| StageRates {
            name: String::new(),
            epochs,
            steps_per_epoch: 3,
            schedule,
            lr,
            encoder_lr_factor: 0.5,
            swa: None,
        };
        let stages = [stage(Schedule::Linear { end: 0.0 }, 2, 1.0), stage(Schedule::Constant {}, 1, 0.1)];
        let all: Vec<Rate> = rates(&stages).collect();
        assert_eq!(all.iter().map(|r| r.step).collect::<Vec<_>>(), (0..9).collect::<Vec<_>>());
        assert_eq!(all.iter().map(|r| r.epoch).collect::<Vec<_>>(), [1, 1, 1, 2, 2, 2, 3, 3, 3]);
        assert_eq!((all[0].lr, all[3].lr, all[6].lr, all[8].stage), (1.0, 0.5, 0.1, 1));
        assert_eq!(all[3].encoder_lr, 0.25);
        let swa = SwaSettings { start: 1.0, lr: Some(0.5), anneal_epochs: 0, ..SwaSettings::default() };
        let averaged = [StageRates { swa: Some(swa), ..stage(Schedule::Constant {}, 2, 2.0) }];
        let rates: Vec<(f64, f64)> = rates(&averaged).map(|r| (r.factor, r.lr)).collect();
        assert_eq!((rates[2], rates[3]), ((1.0, 2.0), (0.25, 0.5)));
        // A last batch of one sample is left out.
        assert_eq!((steps_per_epoch(11, 3, 1), steps_per_epoch(11, 3, 3), steps_per_epoch(9, 2, 4)), (4, 2, 1));
    }
}
