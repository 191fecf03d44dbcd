use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{EmaSettings, OptimiserSettings, Schedule};
use crate::augment::AugmentSettings;
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

/// Everything that decides what a training run computes.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Settings {
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
    /// Decides initial weights, order, augmentation and dropout.
    pub seed: u64,
    /// Epochs without a better validation Dice before the run ends.
    pub early_stop: Option<usize>,
    /// Weight of each auxiliary output's loss.
    pub auxiliary_weight: f64,
    /// The network.
    pub model: ModelConfig,
    /// Weights of the whole model to start from.
    pub weights: Option<PathBuf>,
    /// Weights of the encoder to start from.
    pub encoder_weights: Option<PathBuf>,
    /// Grey levels to input.
    pub input: InputSettings,
    /// What is minimised.
    pub loss: LossMix,
    /// How.
    pub optimiser: OptimiserSettings,
    /// The rate over time.
    pub schedule: Schedule,
    /// What is done to training samples.
    pub augment: AugmentSettings,
    /// Averaged weights.
    pub ema: Option<EmaSettings>,
    /// Weight of each training image in the draw of an epoch; all once where absent.
    pub sample_weights: Option<Vec<f64>>,
    /// Steps between two saves of `last.safetensors`; at each epoch's end in any case.
    #[serde(skip)]
    pub save_every: Option<u64>,
    /// Threads that prepare batches; changes no result.
    #[serde(skip)]
    pub workers: usize,
    /// Validation images drawn after each epoch.
    #[serde(skip)]
    pub pictures: usize,
}
