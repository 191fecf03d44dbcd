//! The configuration of a training run.

mod stages;
mod validate;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use toml::Table;

pub use super::layered::ConfigError;
use super::layered::{read, set, typed};
use crate::augment::AugmentSettings;
use crate::device::DeviceKind;
use crate::losses::LossMix;
use crate::models::ModelConfig;
use crate::train::{
    Amp, EmaSettings, Freeze, InputSettings, Monitor, OptimiserSettings, PointWeight, Sampling, Schedule, Settings,
};
pub use stages::StageConfig;

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
    /// Weights of the auxiliary outputs' losses in order, or one for all.
    pub auxiliary_weights: Vec<f64>,
    /// Weight of PointRend's loss: a number, or the first and the last of a line over the stage.
    pub point_weight: PointWeight,
    /// What products are computed in: `off` (single precision), `bf16` or `fp16`.
    pub amp: Amp,
    /// Only algorithms that give the same bits each time; those that have none fail.
    pub deterministic: bool,
    /// Channels innermost in memory, which tensor cores like better.
    pub channels_last: bool,
    /// What tells the better of two epochs: `dice` or `loss`.
    pub monitor: Monitor,
    /// How many of the best epochs' weights are kept.
    pub keep_best: usize,
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
    /// Whether histograms of weights and gradients go to TensorBoard after each epoch.
    pub histograms: bool,
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
    /// How samples are drawn; absent: by weights where `data.sample-weights` names them, else every one once an epoch.
    pub sampling: Option<Sampling>,
    /// Weights that stay as they are: all up to the encoder's feature at stride `2^2`, `{ encoder-stages = 2 }`, or a prefix
    /// of names; either for some epochs of the stage: `{ prefix = "encoder.", from = 0, until = 5 }`.
    pub freeze: Vec<Freeze>,
    /// Stages, each laid over all of the above; absent: one stage. See [`TrainConfig::stages`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stages: Vec<Table>,
}

/// What is learnt from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct DataConfig {
    /// Data folder or folder of crops. `data = "DIR"` is short for it. `phantom` stands for a tiny drawn data set with
    /// folds of its own, to see a configuration run in seconds.
    pub root: PathBuf,
    /// Folds that `carpus split` wrote.
    pub folds: PathBuf,
    /// The fold held out.
    pub fold: u32,
    /// Weights that `carpus split --sample-weights` wrote.
    pub sample_weights: Option<PathBuf>,
    /// Corrections file, applied to the data on reading; what it excludes takes no part.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub corrections: Option<PathBuf>,
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
            auxiliary_weights: vec![0.4],
            point_weight: PointWeight::default(),
            amp: Amp::Off,
            deterministic: false,
            channels_last: false,
            monitor: Monitor::Dice,
            keep_best: 1,
            weights: None,
            encoder_weights: None,
            device: DeviceKind::Auto,
            workers: 2,
            pictures: 4,
            histograms: true,
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
            sampling: None,
            freeze: Vec::new(),
            stages: Vec::new(),
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
            corrections: None,
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
        for text in sets {
            stages::give_way(&mut table, text);
        }
        let config: TrainConfig = typed(path, table)?;
        config.validate(path)?;
        if !config.stages.is_empty() {
            for (place, stage) in config.stages(path)?.iter().enumerate() {
                let inner =
                    |e: ConfigError| ConfigError::Shape { path: path.into(), reason: format!("stages[{place}]: {e}") };
                stage.config.validate(path).map_err(inner)?;
            }
        }
        Ok(config)
    }

    /// The file that gives this configuration again, defaults written out.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("keys are text and values are numbers, texts, lists and tables")
    }

    /// What the engine is given; `path` is the file for messages, `sample_weights` are one a training image.
    pub fn settings(&self, path: &Path, sample_weights: Option<Vec<f64>>) -> Result<Settings, ConfigError> {
        Ok(Settings {
            seed: self.seed,
            model: self.model.clone(),
            weights: self.weights.clone(),
            encoder_weights: self.encoder_weights.clone(),
            input: self.input.clone(),
            monitor: self.monitor,
            deterministic: self.deterministic,
            channels_last: self.channels_last,
            stages: self.stages(path)?.iter().map(StageConfig::settings).collect(),
            sample_weights,
            keep_best: self.keep_best,
            save_every: self.save_every,
            workers: self.workers,
            pictures: self.pictures,
            histograms: self.histograms,
        })
    }

    /// How samples are drawn: as configured, else by weights where there are any.
    pub fn sampling(&self) -> Sampling {
        self.sampling.unwrap_or(match self.data.sample_weights {
            Some(_) => Sampling::Weights {},
            None => Sampling::Uniform {},
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn load(text: &str, sets: &[&str]) -> Result<TrainConfig, String> {
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
            ("amp = 'fp8'", vec!["fp8", "off, bf16, fp16"]),
            ("keep-best = 0", vec!["keep-best is 0"]),
            ("auxiliary-weights = [0.4, -1]", vec!["auxiliary-weights is -1"]),
            ("point-weight = [0.4]", vec!["a number, or [first, last]"]),
            ("sampling = { kind = 'weights' }", vec!["sampling", "data.sample-weights"]),
            ("[optimiser]\nbetas = [0.9, 1.0]", vec!["optimiser.betas is 1"]),
            ("freeze = [{ prefix = 'encoder.', until = 0 }]", vec!["freeze", "until"]),
            ("freeze = [{ encoder-stages = 2, until = 0 }]", vec!["freeze", "until"]),
            ("freeze = [{ encoder-stages = 6 }]", vec!["freeze", "efficientnet-b0 go from 1 to 5"]),
            ("freeze = [{ encoder-stages = 1 }]\n[model]\nencoder = 'mit_b0'", vec!["freeze", "stride 4"]),
            ("freeze = [{ encoder-stages = 1 }]\n[model]\narchitecture = 'nnunet'", vec!["freeze", "show nnunet"]),
            ("freeze = [{ until = 3 }]", vec!["freeze", "prefix", "encoder-stages"]),
            ("[[stages]]\nfreeze = [{ encoder-stages = 0 }]", vec!["stages[0]", "freeze", "from 1 to 5"]),
            ("epochs = ", vec!["run.toml", "line 1"]),
        ] {
            let error = load(text, &[]).unwrap_err();
            for part in says {
                assert!(error.contains(part), "{text}: {error}");
            }
        }
    }
}
