use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Amp, EmaSettings, Freeze, OptimiserSettings, Sampling, Schedule};
use crate::augment::AugmentSettings;
use crate::closed_enum::closed_enum;
use crate::losses::LossMix;
use crate::models::ModelConfig;

/// How grey levels become the model's input: `(v / 255 - mean) / sd`, one value for every input channel or one
/// each.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct InputSettings {
    /// Subtracted, as a share of the full range.
    pub mean: Vec<f64>,
    /// Divided by, as a share of the full range.
    pub sd: Vec<f64>,
}

impl Default for InputSettings {
    fn default() -> Self {
        InputSettings { mean: vec![0.0], sd: vec![1.0] }
    }
}

closed_enum! {
    /// What tells the better of two epochs.
    pub enum Monitor ("monitor") {
        /// The higher mean validation Dice, over all stages.
        Dice = "dice",
        /// The lower validation loss. Stages may have losses that do not compare, so each looks for its own best.
        Loss = "loss",
    }
}

closed_enum! {
    /// The weights that a stage begins with.
    pub enum StartFrom ("start") {
        /// Those the stage before ended with; the first stage's are the model's initial ones.
        Last = "last",
        /// Those of the best epoch so far.
        Best = "best",
        /// The averages that the stage before ended with.
        Ema = "ema",
    }
}

/// The weight of PointRend's loss: a line over the stage.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "Given", into = "[f64; 2]")]
pub struct PointWeight {
    /// At the stage's first step.
    pub from: f64,
    /// At its last.
    pub to: f64,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "a number, or [first, last]")]
enum Given {
    One(f64),
    Two([f64; 2]),
}

impl From<Given> for PointWeight {
    fn from(given: Given) -> Self {
        let [from, to] = match given {
            Given::One(weight) => [weight; 2],
            Given::Two(ends) => ends,
        };
        PointWeight { from, to }
    }
}

impl From<PointWeight> for [f64; 2] {
    fn from(weight: PointWeight) -> Self {
        [weight.from, weight.to]
    }
}

impl Default for PointWeight {
    fn default() -> Self {
        PointWeight { from: 1.0, to: 1.0 }
    }
}

impl PointWeight {
    /// At step `step` (from 0) of a stage of `total`.
    pub fn at(&self, step: u64, total: u64) -> f64 {
        self.from + (self.to - self.from) * (step as f64 / total.saturating_sub(1).max(1) as f64).min(1.0)
    }
}

/// What one stage of a run does.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct StageSettings {
    /// Shown in the log.
    pub name: String,
    /// The weights it begins with; optimiser, schedule, averages and loss scale begin anew.
    pub start_from: StartFrom,
    /// Side of the square the model sees.
    pub size: u32,
    /// Passes over the training images.
    pub epochs: usize,
    /// Images a step.
    pub batch: usize,
    /// Steps whose gradients are summed before the optimiser moves.
    pub accumulate: usize,
    /// Largest norm of all gradients together.
    pub clip: Option<f64>,
    /// Epochs without a better one before the stage ends.
    pub early_stop: Option<usize>,
    /// What is minimised.
    pub loss: LossMix,
    /// Weights of the auxiliary outputs' losses in order, or one for all.
    pub auxiliary_weights: Vec<f64>,
    /// Weight of PointRend's loss.
    pub point_weight: PointWeight,
    /// How.
    pub optimiser: OptimiserSettings,
    /// The rate over time.
    pub schedule: Schedule,
    /// What is done to training samples.
    pub augment: AugmentSettings,
    /// How samples are drawn.
    pub sampling: Sampling,
    /// Weights that stay as they are.
    pub freeze: Vec<Freeze>,
    /// Averaged weights.
    pub ema: Option<EmaSettings>,
    /// What products are computed in.
    pub amp: Amp,
}

/// Everything that decides what a training run computes.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Settings {
    /// Decides initial weights, order, augmentation and dropout.
    pub seed: u64,
    /// The network.
    pub model: ModelConfig,
    /// Weights of the whole model to start from.
    pub weights: Option<PathBuf>,
    /// Weights of the encoder to start from.
    pub encoder_weights: Option<PathBuf>,
    /// Grey levels to input.
    pub input: InputSettings,
    /// What tells the better of two epochs.
    pub monitor: Monitor,
    /// Only algorithms that give the same bits each time.
    pub deterministic: bool,
    /// Channels innermost in memory.
    pub channels_last: bool,
    /// One after another.
    pub stages: Vec<StageSettings>,
    /// Weight of each training image where a stage draws by weights.
    pub sample_weights: Option<Vec<f64>>,
    /// How many of the best epochs' weights are kept.
    #[serde(skip)]
    pub keep_best: usize,
    /// Steps between two saves of `last.safetensors`; at each epoch's end in any case.
    #[serde(skip)]
    pub save_every: Option<u64>,
    /// Threads that prepare batches; changes no result.
    #[serde(skip)]
    pub workers: usize,
    /// Validation images drawn after each epoch.
    #[serde(skip)]
    pub pictures: usize,
    /// Whether histograms of weights and gradients go to TensorBoard.
    #[serde(skip)]
    pub histograms: bool,
}

impl Settings {
    /// Epochs of all stages.
    pub fn epochs(&self) -> usize {
        self.stages.iter().map(|s| s.epochs).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_weight_is_a_number_or_a_line() {
        let given = |text: &str| serde_json::from_str::<PointWeight>(text).unwrap();
        assert_eq!(given("0.5"), PointWeight { from: 0.5, to: 0.5 });
        let line = given("[0.5, 1.0]");
        assert_eq!([0, 5, 10, 99].map(|step| line.at(step, 11)), [0.5, 0.75, 1.0, 1.0]);
        assert_eq!(line.at(0, 1), 0.5);
        assert_eq!(given(&serde_json::to_string(&line).unwrap()), line);
    }
}
