//! The configuration of a training run.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use toml::Table;

pub use super::layered::ConfigError;
use super::layered::{read, set, typed};
use crate::augment::AugmentSettings;
use crate::device::DeviceKind;
use crate::losses::LossMix;
use crate::models::ModelConfig;
use crate::train::{EmaSettings, InputSettings, OptimiserSettings, Schedule, Settings};

/// A training run as configured. Every key has a default; an unknown one is refused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct TrainConfig {
    /// Side of the square the model sees; a multiple of 32.
    pub size: u32,
    /// Passes over the training images.
    pub epochs: usize,
    /// Images a step.
    pub batch: usize,
    /// Steps whose gradients are summed before the weights move.
    pub accumulate: usize,
    /// Largest norm of all gradients together; absent: any.
    pub clip: Option<f64>,
    /// Decides initial weights, order, augmentation and dropout.
    pub seed: u64,
    /// Epochs without a better validation Dice before the run ends; absent: never.
    pub early_stop: Option<usize>,
    /// Optimiser steps between two saves within an epoch; absent: only at its end.
    pub save_every: Option<u64>,
    /// Weight of each auxiliary output's loss.
    pub auxiliary_weight: f64,
    /// Weights of the whole model to start from, safetensors.
    pub weights: Option<PathBuf>,
    /// Weights of the encoder to start from, safetensors.
    pub encoder_weights: Option<PathBuf>,
    /// `auto`, `cpu`, `cuda` or `cuda:N`.
    pub device: DeviceKind,
    /// Threads that prepare batches.
    pub workers: usize,
    /// Validation images drawn after each epoch, a rotated hand first.
    pub pictures: usize,
    /// Whether the best weights are scored on the held-out images at their own size when the run ends.
    pub evaluate: bool,
    /// What is learnt from.
    pub data: DataConfig,
    /// Where the run's folder goes.
    pub output: OutputConfig,
    /// Grey levels to input.
    pub input: InputSettings,
    /// The network.
    pub model: ModelConfig,
    /// What is minimised.
    pub loss: LossMix,
    /// How.
    pub optimiser: OptimiserSettings,
    /// The rate over time.
    pub schedule: Schedule,
    /// What is done to training samples.
    pub augment: AugmentSettings,
    /// Averaged weights; absent: none.
    pub ema: Option<EmaSettings>,
}

/// What is learnt from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct DataConfig {
    /// Data folder or folder of crops. `data = "DIR"` is short for it.
    pub root: PathBuf,
    /// Folds that `carpus split` wrote.
    pub folds: PathBuf,
    /// The fold held out.
    pub fold: u32,
    /// Weights that `carpus split --sample-weights` wrote; absent: every image once an epoch.
    pub sample_weights: Option<PathBuf>,
    /// Only the first so many images of each part, for a quick look.
    pub limit: Option<usize>,
    /// Memory for samples at the model's size, MiB; what does not fit is read again in each epoch.
    pub cache_mb: usize,
}

/// Where the run's folder goes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct OutputConfig {
    /// Folder of all runs.
    pub runs: PathBuf,
    /// Name of this one; absent: the configuration's file name and the fold.
    pub name: Option<String>,
}

impl Default for TrainConfig {
    fn default() -> Self {
        TrainConfig {
            size: 512,
            epochs: 50,
            batch: 4,
            accumulate: 1,
            clip: None,
            seed: 0,
            early_stop: None,
            save_every: None,
            auxiliary_weight: 0.4,
            weights: None,
            encoder_weights: None,
            device: DeviceKind::Auto,
            workers: 2,
            pictures: 4,
            evaluate: true,
            data: DataConfig::default(),
            output: OutputConfig::default(),
            input: InputSettings::default(),
            model: ModelConfig::default(),
            loss: LossMix::default(),
            optimiser: OptimiserSettings::default(),
            schedule: Schedule::default(),
            augment: AugmentSettings::default(),
            ema: None,
        }
    }
}

impl Default for DataConfig {
    fn default() -> Self {
        DataConfig {
            root: "data".into(),
            folds: "folds.csv".into(),
            fold: 0,
            sample_weights: None,
            limit: None,
            cache_mb: 4096,
        }
    }
}

impl Default for OutputConfig {
    fn default() -> Self {
        OutputConfig { runs: "runs".into(), name: None }
    }
}

impl TrainConfig {
    /// Reads a file, lays `key=value` texts over it, and checks every value.
    pub fn load(path: &Path, sets: &[String]) -> Result<TrainConfig, ConfigError> {
        let mut table = read(path)?;
        for text in sets {
            set(&mut table, text, &[("data", "root")])?;
        }
        if let Some(toml::Value::String(root)) = table.get("data") {
            let root = toml::Value::String(root.clone());
            table.insert("data".into(), Table::from_iter([("root".to_owned(), root)]).into());
        }
        let config: TrainConfig = typed(path, table)?;
        config.validate(path)?;
        Ok(config)
    }

    /// The file that gives this configuration again, defaults written out.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("keys are text and values are numbers, texts, lists and tables")
    }

    fn validate(&self, path: &Path) -> Result<(), ConfigError> {
        let wrong = |key: &str, found: String, expected: &str| {
            Err(ConfigError::Value { path: path.into(), key: key.into(), found, expected: expected.into() })
        };
        if self.size == 0 || !self.size.is_multiple_of(32) || self.size > 8192 {
            return wrong("size", self.size.to_string(), "a multiple of 32 up to 8192");
        }
        for (key, value) in [("epochs", self.epochs), ("batch", self.batch), ("accumulate", self.accumulate)] {
            if value == 0 {
                return wrong(key, "0".into(), "1 or more");
            }
        }
        if self.early_stop == Some(0) || self.save_every == Some(0) {
            let key = if self.early_stop == Some(0) { "early-stop" } else { "save-every" };
            return wrong(key, "0".into(), "1 or more, or no such line");
        }
        if let Some(clip) = self.clip.filter(|c| c.is_nan() || *c <= 0.0) {
            return wrong("clip", clip.to_string(), "above 0, or no such line");
        }
        let channels = self.model.in_channels as usize;
        for (key, values) in [("input.mean", &self.input.mean), ("input.sd", &self.input.sd)] {
            if values.len() != 1 && values.len() != channels {
                return wrong(
                    key,
                    format!("{values:?}"),
                    &format!("one value, or one for each of {channels} input channels"),
                );
            }
        }
        if self.input.sd.iter().any(|sd| sd.is_nan() || *sd <= 0.0) {
            return wrong("input.sd", format!("{:?}", self.input.sd), "above 0");
        }
        if let Err(error) = self.model.validate() {
            return Err(ConfigError::Shape { path: path.into(), reason: error.to_string() });
        }
        if self.model.classes != crate::bones::COUNT as i64 {
            return wrong("model.classes", self.model.classes.to_string(), "29, the bones");
        }
        if let Err(error) = self.loss.validate(self.model.classes) {
            return Err(ConfigError::Shape { path: path.into(), reason: format!("loss: {error}") });
        }
        let optimiser = &self.optimiser;
        for (key, value, above_zero) in [
            ("optimiser.lr", optimiser.lr, true),
            ("optimiser.eps", optimiser.eps, true),
            ("optimiser.weight-decay", optimiser.weight_decay, false),
            ("optimiser.encoder-lr-factor", optimiser.encoder_lr_factor, false),
            ("auxiliary-weight", self.auxiliary_weight, false),
        ] {
            if !value.is_finite() || value < 0.0 || (above_zero && value == 0.0) {
                return wrong(key, value.to_string(), if above_zero { "above 0" } else { "0 or more" });
            }
        }
        for (key, value) in [
            ("optimiser.betas", optimiser.betas[0]),
            ("optimiser.betas", optimiser.betas[1]),
            ("optimiser.momentum", optimiser.momentum),
        ] {
            if !(0.0..1.0).contains(&value) {
                return wrong(key, value.to_string(), "from 0 to below 1");
            }
        }
        if let Some(ema) = &self.ema {
            if !(0.0..1.0).contains(&ema.decay) {
                return wrong("ema.decay", ema.decay.to_string(), "from 0 to below 1");
            }
            if ema.warmup.is_nan() || ema.warmup < 1.0 {
                return wrong("ema.warmup", ema.warmup.to_string(), "1 (none) or more");
            }
        }
        if let Err((key, found, expected)) = self.augment.validate() {
            return wrong(&format!("augment.{key}"), found.to_string(), expected);
        }
        if let Err((key, found, expected)) = self.schedule.validate() {
            return wrong(&format!("schedule.{key}"), found.to_string(), expected);
        }
        Ok(())
    }

    /// What the engine is given; `sample_weights` one a training image.
    pub fn settings(&self, sample_weights: Option<Vec<f64>>) -> Settings {
        Settings {
            size: self.size,
            epochs: self.epochs,
            batch: self.batch,
            accumulate: self.accumulate,
            clip: self.clip,
            seed: self.seed,
            early_stop: self.early_stop,
            auxiliary_weight: self.auxiliary_weight,
            model: self.model.clone(),
            weights: self.weights.clone(),
            encoder_weights: self.encoder_weights.clone(),
            input: self.input.clone(),
            loss: self.loss.clone(),
            optimiser: self.optimiser.clone(),
            schedule: self.schedule.clone(),
            augment: self.augment.clone(),
            ema: self.ema.clone(),
            sample_weights,
            save_every: self.save_every,
            workers: self.workers,
            pictures: self.pictures,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str, sets: &[&str]) -> Result<TrainConfig, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.toml");
        std::fs::write(&path, text).unwrap();
        let sets: Vec<String> = sets.iter().map(|s| (*s).to_owned()).collect();
        TrainConfig::load(&path, &sets).map_err(|e| e.to_string())
    }

    #[test]
    fn an_empty_file_is_the_default_and_goes_there_and_back() {
        let mut config = load("", &[]).unwrap();
        assert_eq!(config, TrainConfig::default());
        config.ema = Some(EmaSettings::default());
        config.clip = Some(1.0);
        assert_eq!(load(&config.to_toml(), &[]).unwrap(), config);
    }

    #[test]
    fn settings_are_laid_over() {
        let text = "data = 'crops'\n[loss]\nbce = 0.3\ndice = 0.7\n[schedule]\nkind = 'one-cycle'";
        let sets = ["data.fold=3", "optimiser.lr=2e-3", "ema.decay=0.99", "size=128", "data=phantom"];
        let config = load(text, &sets).unwrap_err();
        assert!(config.contains("data is \"crops\""), "{config}");
        let config = load(&text.replace("data = 'crops'", ""), &sets).unwrap();
        assert_eq!((config.data.root, config.data.fold), ("phantom".into(), 3));
        assert_eq!((config.optimiser.lr, config.size), (2e-3, 128));
        assert_eq!(config.ema.unwrap().decay, 0.99);
        assert_eq!(config.loss.terms().len(), 2);
    }

    #[test]
    fn every_configuration_of_the_repository_loads() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/train");
        let mut seen = 0;
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let config = TrainConfig::load(&path, &[]).unwrap_or_else(|e| panic!("{e}"));
            assert_eq!(load(&config.to_toml(), &[]).unwrap(), config);
            seen += 1;
        }
        assert!(seen > 0);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, says) in [
            ("[optimiser]\nlrr = 1", vec!["run.toml", "optimiser", "lrr", "weight-decay"]),
            ("size = 'big'", vec!["run.toml", "size", "big"]),
            ("size = 100", vec!["size is 100", "multiple of 32"]),
            ("[model]\nencoder = 'vgg'", vec!["vgg", "efficientnet-b0"]),
            ("[schedule]\nkind = 'cosine-warmup'\nwarmup = 2.0", vec!["schedule.warmup is 2", "0 to 1"]),
            ("[augment]\nflip = 2.0", vec!["augment.flip is 2"]),
            ("[loss]\nbec = 1", vec!["bec"]),
            ("[loss]\ntversky = { weight = 1, alpha = [0.3, 0.7] }", vec!["alpha", "2", "29"]),
            ("[loss]\ntversky = { weight = 1, alpha = { Pissiform = 1, default = 1 } }", vec!["Pissiform"]),
            ("epochs = ", vec!["run.toml", "line 1"]),
        ] {
            let error = load(text, &[]).unwrap_err();
            for part in says {
                assert!(error.contains(part), "{text}: {error}");
            }
        }
    }
}
