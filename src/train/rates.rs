use serde::Serialize;

use super::{Schedule, batches};

/// What decides the rate of one stage of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct StageRates {
    /// Name of the stage; empty where the run has none.
    pub name: String,
    /// Passes over the training images.
    pub epochs: u64,
    /// Optimiser steps an epoch.
    pub steps_per_epoch: u64,
    /// The rate over the stage.
    pub schedule: Schedule,
    /// Base rate.
    pub lr: f64,
    /// Factor on the encoder's rate.
    pub encoder_lr_factor: f64,
}

/// The rate of one optimiser step.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Rate {
    /// Which stage, from 0.
    pub stage: usize,
    /// Over all stages, from 1.
    pub epoch: u64,
    /// Over all stages, from 0.
    pub step: u64,
    /// What the schedule gives.
    pub factor: f64,
    /// Base rate times the factor.
    pub lr: f64,
    /// The encoder's rate.
    pub encoder_lr: f64,
}

/// Optimiser steps that an epoch of `images` takes; the last sum of gradients may be smaller.
pub fn steps_per_epoch(images: usize, batch: usize, accumulate: usize) -> u64 {
    batches(images, batch.max(1)).div_ceil(accumulate.max(1)) as u64
}

/// The rate at every step of a run, all stages in a row; each stage's schedule begins anew.
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
    fn stages_follow_each_other_and_begin_anew() {
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
