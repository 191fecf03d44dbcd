use serde::Serialize;

use super::{Schedule, batches};

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
    /// Factor of the schedule.
    pub factor: f64,
    /// Base learning rate times the factor.
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
            let factor = s.schedule.factor(step, total, s.steps_per_epoch);
            let lr = s.lr * factor;
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
        };
        let stages = [stage(Schedule::Linear { end: 0.0 }, 2, 1.0), stage(Schedule::Constant {}, 1, 0.1)];
        let all: Vec<Rate> = rates(&stages).collect();
        assert_eq!(all.iter().map(|r| r.step).collect::<Vec<_>>(), (0..9).collect::<Vec<_>>());
        assert_eq!(all.iter().map(|r| r.epoch).collect::<Vec<_>>(), [1, 1, 1, 2, 2, 2, 3, 3, 3]);
        assert_eq!((all[0].lr, all[3].lr, all[6].lr, all[8].stage), (1.0, 0.5, 0.1, 1));
        assert_eq!(all[3].encoder_lr, 0.25);
        // A last batch of one sample is left out.
        assert_eq!((steps_per_epoch(11, 3, 1), steps_per_epoch(11, 3, 3), steps_per_epoch(9, 2, 4)), (4, 2, 1));
    }
}
