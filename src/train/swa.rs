use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::{TrainError, ema};
use crate::aten;
use crate::closed_enum::closed_enum;
use crate::models::Model;
use crate::violation::Violations;

closed_enum! {
    /// How the learning rate changes to the constant one of stochastic weight averaging.
    pub enum Annealing ("annealing") {
        /// Along half a cosine.
        Cos = "cos",
        /// Linearly.
        Linear = "linear",
    }
}

/// Stochastic weight averaging (Izmailov et al. 2018, "Averaging Weights Leads to Wider Optima and Better
/// Generalization"): the mean of the weights at the end of the last epochs of a stage.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct SwaSettings {
    /// Epochs of the stage after which averaging begins: their share of the stage, rounded to whole epochs, if below 1;
    /// otherwise their number. From 0 to less than the stage's epochs; default 0.75.
    pub start: f64,
    /// Epochs between two averaged epochs. 1 or more; default 1.
    pub every: usize,
    /// Constant learning rate from the beginning of averaging. Above 0; absent: the schedule goes on.
    #[schemars(example = 5e-4)]
    pub lr: Option<f64>,
    /// Epochs in which the learning rate changes from that of the schedule to `lr`. 0 or more; default 10.
    pub anneal_epochs: u64,
    /// How it changes: `cos` or `linear`. Default `cos`.
    pub anneal: Annealing,
}

impl Default for SwaSettings {
    fn default() -> Self {
        SwaSettings { start: 0.75, every: 1, lr: None, anneal_epochs: 10, anneal: Annealing::Cos }
    }
}

impl SwaSettings {
    /// The values that are out of range for a stage of this many epochs.
    pub fn violations(&self, epochs: usize) -> Violations {
        let mut wrong = Violations::new();
        let (start, whole) = (self.start, self.start < 1.0 || self.start.fract() == 0.0);
        wrong.expect(
            start.is_finite() && start >= 0.0 && whole && start < (epochs as f64).max(1.0),
            "start",
            start,
            format!("a share from 0 to below 1, or a whole number of epochs below {epochs}, the stage's epochs"),
        );
        wrong.expect(self.every > 0, "every", self.every, "1 or more");
        if let Some(lr) = self.lr {
            let expected = "above 0 (leave the key out to go on with the schedule)";
            wrong.expect(lr.is_finite() && lr > 0.0, "lr", lr, expected);
        }
        wrong
    }

    /// Number of epochs before the first averaged one, in a stage of `epochs` epochs.
    pub fn begin(&self, epochs: usize) -> usize {
        let given = if self.start < 1.0 { self.start * epochs as f64 } else { self.start };
        (given.round() as usize).min(epochs.saturating_sub(1))
    }

    /// Whether the weights at the end of epoch `epoch`, from 1, of a stage of `epochs` epochs are averaged.
    pub fn is_averaged(&self, epoch: usize, epochs: usize) -> bool {
        let begin = self.begin(epochs);
        epoch > begin && (epoch - begin - 1).is_multiple_of(self.every.max(1))
    }

    /// The learning rate at optimiser step `step`, from 0, of a stage of `epochs` epochs with `per_epoch` steps each;
    /// `scheduled` is that of the schedule. From the beginning of averaging it is that of
    /// `torch.optim.swa_utils.SWALR` with a step of the scheduler after each optimiser step.
    pub fn lr_at(&self, step: u64, epochs: usize, per_epoch: u64, scheduled: impl Fn(u64) -> f64) -> f64 {
        let first = self.begin(epochs) as u64 * per_epoch;
        let Some(lr) = self.lr.filter(|_| step >= first) else { return scheduled(step) };
        let share = match self.anneal_epochs * per_epoch {
            0 => 1.0,
            steps => ((step - first) as f64 / steps as f64).min(1.0),
        };
        let alpha = match self.anneal {
            Annealing::Cos => (1.0 - (std::f64::consts::PI * share).cos()) / 2.0,
            Annealing::Linear => share,
        };
        lr * alpha + scheduled(first) * (1.0 - alpha)
    }
}

/// The mean of a model's weights over some epochs, as `torch.optim.swa_utils.AveragedModel` computes it: weights are
/// averaged with equal shares, running statistics and counters are those of the last epoch.
pub struct SwaAverage {
    averages: Vec<(String, Tensor)>,
    epochs: usize,
}

impl SwaAverage {
    /// An average over no epochs.
    pub fn new(model: &Model) -> SwaAverage {
        let averages = model.state().iter().map(|(name, tensor)| (name.clone(), tensor.detach().copy())).collect();
        SwaAverage { averages, epochs: 0 }
    }

    /// An average over `epochs` epochs whose tensors [`SwaAverage::state`] returned.
    ///
    /// # Errors
    /// A tensor is missing or has another shape.
    pub fn restored(model: &Model, epochs: usize, state: &BTreeMap<String, Tensor>) -> Result<SwaAverage, TrainError> {
        let mut average = SwaAverage { epochs, ..SwaAverage::new(model) };
        ema::load(&mut average.averages, state)?;
        Ok(average)
    }

    /// Adds the model's weights.
    ///
    /// # Errors
    /// libtorch reports an error.
    pub fn update(&mut self, model: &Model) -> Result<(), TrainError> {
        let weights = model.named_parameters();
        let is_weight = |name: &String| weights.iter().any(|(weight, _)| weight == name);
        tch::no_grad(|| -> Result<(), TrainError> {
            let (mut averages, mut values) = (Vec::new(), Vec::new());
            for ((name, average), (_, tensor)) in self.averages.iter_mut().zip(model.state()) {
                if self.epochs > 0 && is_weight(name) {
                    averages.push(average.shallow_clone());
                    values.push(tensor);
                } else {
                    average.f_copy_(&tensor)?;
                }
            }
            if !averages.is_empty() {
                aten::lerp(&averages, &values, 1.0 / (self.epochs + 1) as f64)?;
            }
            Ok(())
        })?;
        self.epochs += 1;
        Ok(())
    }

    /// Number of averaged epochs.
    pub fn epochs(&self) -> usize {
        self.epochs
    }

    /// Swaps the model's state and the average; a second call restores both exactly.
    ///
    /// # Errors
    /// libtorch reports an error.
    pub fn swap(&mut self, state: &[(String, Tensor)]) -> Result<(), TrainError> {
        ema::swap(&mut self.averages, state)
    }

    /// The average by name, sharing storage.
    pub fn state(&self) -> Vec<(String, Tensor)> {
        self.averages.iter().map(|(name, tensor)| (name.clone(), tensor.shallow_clone())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn averaging_begins_after_a_share_or_a_number_of_epochs() {
        let averaged = |swa: &SwaSettings, epochs: usize| -> Vec<usize> {
            (1..=epochs).filter(|epoch| swa.is_averaged(*epoch, epochs)).collect()
        };
        let swa = SwaSettings::default();
        assert_eq!(averaged(&swa, 8), [7, 8]);
        // A share always leaves an epoch.
        assert_eq!(averaged(&swa, 1), [1]);
        assert_eq!(averaged(&SwaSettings { start: 3.0, every: 2, ..swa.clone() }, 8), [4, 6, 8]);
        assert_eq!(averaged(&SwaSettings { start: 0.0, ..swa.clone() }, 3), [1, 2, 3]);
        for (start, fits) in [(0.5, true), (4.0, true), (5.0, false), (1.5, false), (-0.1, false), (f64::NAN, false)] {
            assert_eq!(SwaSettings { start, ..swa.clone() }.violations(5).is_empty(), fits, "{start}");
        }
        let wrong = SwaSettings { every: 0, lr: Some(0.0), ..swa }.violations(5);
        assert_eq!(wrong.iter().map(|v| v.key.as_str()).collect::<Vec<_>>(), ["every", "lr"]);
    }

    #[test]
    fn the_learning_rate_changes_to_a_constant() {
        let linear = SwaSettings {
            start: 2.0,
            lr: Some(0.1),
            anneal_epochs: 2,
            anneal: Annealing::Linear,
            ..Default::default()
        };
        let scheduled = |step: u64| 1.0 - 0.01 * step as f64;
        let at = |swa: &SwaSettings, step| swa.lr_at(step, 10, 5, scheduled);
        assert_eq!((at(&linear, 9), at(&linear, 10), at(&linear, 20), at(&linear, 40)), (0.91, 0.9, 0.1, 0.1));
        assert!((at(&linear, 15) - 0.5).abs() < 1e-12);
        let at_once = SwaSettings { anneal_epochs: 0, ..linear.clone() };
        assert_eq!((at(&at_once, 9), at(&at_once, 10)), (0.91, 0.1));
        let scheduled_on = SwaSettings { lr: None, ..linear };
        assert_eq!(at(&scheduled_on, 30), 0.7);
    }
}
