use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use toml::Table;

use super::{
    Amp, EmaSettings, Freeze, InputSettings, Monitor, OptimiserSettings, PointWeight, Sampling, Schedule, StartFrom,
};
use crate::augment::Augmentations;
use crate::bones;
use crate::device::DeviceKind;
use crate::losses::LossMix;
use crate::models::{ModelConfig, ModelOutline};
use crate::violation::Violations;

/// Most epochs, images of a batch and the like: beyond it a number is a slip.
const MOST: usize = 100_000;

/// A training run as configured. Every key has a default; an unknown one is refused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
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
    #[schemars(example = 1.0)]
    pub clip: Option<f64>,
    /// Decides initial weights, order, augmentation and dropout.
    pub seed: u64,
    /// Epochs without a better validation Dice before the run ends; absent: never.
    #[schemars(example = 10)]
    pub early_stop: Option<usize>,
    /// Optimiser steps between two saves within an epoch; absent: only at its end.
    #[schemars(example = 500)]
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
    #[schemars(example = &"runs/NAME/best.safetensors")]
    pub weights: Option<PathBuf>,
    /// Weights of the encoder to start from, safetensors.
    #[schemars(example = &"encoder.safetensors")]
    pub encoder_weights: Option<PathBuf>,
    /// `auto`, `cpu`, `cuda` or `cuda:N`.
    #[schemars(with = "String")]
    pub device: DeviceKind,
    /// Threads that prepare batches.
    pub workers: usize,
    /// Validation images drawn after each epoch, a rotated hand first.
    pub pictures: usize,
    /// Whether histograms of weights and gradients go to TensorBoard after each epoch.
    pub histograms: bool,
    /// Whether the best weights are scored on the held-out images at their own size when the run ends.
    pub evaluate: bool,
    /// What is learnt from. `data = "DIR"` is short for its root.
    pub data: DataConfig,
    /// Where the run's folder goes.
    pub output: OutputConfig,
    /// Grey levels to input.
    pub input: InputSettings,
    /// The network; `carpus models list` has all.
    pub model: ModelConfig,
    /// What is minimised: losses with their weights, or with options as in `dice = { weight = 0.5, smooth = 1.0 }`.
    pub loss: LossMix,
    /// How weights move.
    pub optimiser: OptimiserSettings,
    /// The rate over time.
    pub schedule: Schedule,
    /// What is done to training samples.
    pub augment: Augmentations,
    /// Averaged weights; absent: none.
    pub ema: Option<EmaSettings>,
    /// How samples are drawn; absent: by weights where `data.sample-weights` names them, else every one once an epoch.
    pub sampling: Option<Sampling>,
    /// Weights that stay as they are: all up to the encoder's feature at stride `2^2`, `{ encoder-stages = 2 }`, or a prefix
    /// of names; either for some epochs of the stage: `{ prefix = "encoder.", from = 0, until = 5 }`.
    #[schemars(with = "Vec<serde_json::Value>")]
    pub freeze: Vec<Freeze>,
    /// Stages one after another; absent: one. Besides these keys a stage sets any of epochs, size, batch, accumulate, clip,
    /// early-stop, amp, loss, point-weight, optimiser, schedule, augment, sampling, freeze, ema and auxiliary-weights for
    /// itself: optimiser and ema key by key, the others as a whole; clip, ema and early-stop may be "off".
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<StageHead>")]
    pub stages: Vec<Table>,
}

/// What is learnt from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct DataConfig {
    /// Data folder or folder of crops. `phantom` stands for a tiny drawn data set with
    /// folds of its own, to see a configuration run in seconds.
    pub root: PathBuf,
    /// Folds that `carpus split` wrote.
    pub folds: PathBuf,
    /// The fold held out.
    pub fold: u32,
    /// Weights that `carpus split --sample-weights` wrote.
    #[schemars(example = &"weights.csv")]
    pub sample_weights: Option<PathBuf>,
    /// Corrections file, applied to the data on reading; what it excludes takes no part.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"corrections.jsonl")]
    pub corrections: Option<PathBuf>,
    /// Only the first so many images of each part, for a quick look.
    #[schemars(example = 20)]
    pub limit: Option<usize>,
    /// Memory for samples at the model's size, MiB; what does not fit is read again in each epoch.
    pub cache_mb: usize,
}

/// Where the run's folder goes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct OutputConfig {
    /// Folder of all runs.
    pub runs: PathBuf,
    /// Name of this one; absent: the configuration's file name and the fold.
    #[schemars(example = &"NAME")]
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
            augment: Augmentations::default(),
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

/// The keys that a stage may set for itself.
pub const STAGE_KEYS: [&str; 16] = [
    "epochs",
    "size",
    "batch",
    "accumulate",
    "clip",
    "early-stop",
    "amp",
    "loss",
    "point-weight",
    "optimiser",
    "schedule",
    "augment",
    "sampling",
    "freeze",
    "ema",
    "auxiliary-weights",
];
/// Keys that change nothing in what is learnt: a run may go on with others.
const FREE_KEYS: [&str; 9] =
    ["save-every", "keep-best", "device", "workers", "pictures", "histograms", "evaluate", "data", "output"];

/// What a stage says of itself alone.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct StageHead {
    /// Shown in the log; absent: `stage-N`.
    #[schemars(example = &"fine")]
    pub name: Option<String>,
    /// The weights it begins with: those that the stage before ended with, those of the best epoch so far, or the averages that
    /// the stage before ended with.
    pub start_from: StartFrom,
}

/// A stage with everything that holds in it.
#[derive(Clone, Debug, PartialEq)]
pub struct Stage {
    /// Shown in the log.
    pub name: String,
    /// The weights it begins with; optimiser, schedule, averages and loss scale begin from scratch.
    pub start_from: StartFrom,
    /// The run's configuration with what the stage sets laid over it; its own `stages` are empty.
    pub config: TrainConfig,
}

/// A run to train.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainingPlan {
    /// What holds in all of it. What a stage may set for itself is read from `stages` alone.
    pub config: TrainConfig,
    /// One after another.
    pub stages: Vec<Stage>,
    /// Weight of each training image where a stage draws by weights.
    pub sample_weights: Option<Vec<f64>>,
}

impl TrainingPlan {
    /// Epochs of all stages.
    pub fn epochs(&self) -> usize {
        self.stages.iter().map(|stage| stage.config.epochs).sum()
    }

    /// Everything that decides what the run computes, for comparison when it is resumed.
    pub(super) fn decisive(&self) -> serde_json::Result<Value> {
        let part = |config: &TrainConfig, of_stages: bool| -> serde_json::Result<Map<String, Value>> {
            let Value::Object(all) = serde_json::to_value(config)? else { unreachable!("a struct is an object") };
            let is_part = |key: &str| match of_stages {
                true => STAGE_KEYS.contains(&key),
                false => key != "stages" && !STAGE_KEYS.contains(&key) && !FREE_KEYS.contains(&key),
            };
            Ok(all.into_iter().filter(|(key, _)| is_part(key)).collect())
        };
        let stages = self.stages.iter().map(|stage| {
            let mut own = part(&stage.config, true)?;
            own.insert("sampling".into(), serde_json::to_value(stage.config.sampling())?);
            own.insert("name".into(), stage.name.as_str().into());
            own.insert("start-from".into(), stage.start_from.name().into());
            Ok(Value::Object(own))
        });
        let mut all = part(&self.config, false)?;
        all.insert("stages".into(), stages.collect::<serde_json::Result<Vec<_>>>()?.into());
        all.insert("sample-weights".into(), serde_json::to_value(&self.sample_weights)?);
        Ok(Value::Object(all))
    }
}

impl TrainConfig {
    /// How samples are drawn: as configured, else by weights where there are any.
    pub fn sampling(&self) -> Sampling {
        self.sampling.unwrap_or(match self.data.sample_weights {
            Some(_) => Sampling::Weights {},
            None => Sampling::Uniform {},
        })
    }

    /// Why there is no model of this size and input.
    pub fn model_violations(&self) -> Violations {
        let mut wrong = Violations::new();
        let size = self.size;
        wrong.expect(size != 0 && size.is_multiple_of(32) && size <= 8192, "size", size, "a multiple of 32 up to 8192");
        wrong.inside("input", self.input.violations(self.model.in_channels));
        let of_model = self.model.violations();
        let classes = self.model.classes;
        let fits = classes == bones::COUNT as i64;
        // What can be built says what it takes; what cannot has been refused.
        if fits && wrong.is_empty() && of_model.is_empty() {
            match ModelOutline::of(&self.model) {
                Ok(ModelOutline { stride, least_side, .. }) => {
                    let expected = format!(
                        "for {} a multiple of {stride} from {} up",
                        self.model.describe(),
                        least_side.max(stride)
                    );
                    let side = i64::from(size);
                    wrong.expect(side % stride == 0 && side >= least_side, "size", side, expected);
                }
                Err(error) => wrong.refuse("model", self.model.describe(), format!("one that can be built: {error}")),
            }
        }
        wrong.inside("model", of_model);
        wrong.expect(fits, "model.classes", classes, "29, the bones");
        wrong
    }

    /// Every value that cannot be; those of `stages` are not looked at.
    pub fn violations(&self) -> Violations {
        let mut wrong = self.model_violations();
        for (key, value) in [
            ("epochs", self.epochs),
            ("batch", self.batch),
            ("accumulate", self.accumulate),
            ("keep-best", self.keep_best),
        ] {
            wrong.expect((1..=MOST).contains(&value), key, value, format!("from 1 to {MOST}"));
        }
        wrong.expect(self.early_stop != Some(0), "early-stop", 0, "1 or more, or no such line");
        wrong.expect(self.save_every != Some(0), "save-every", 0, "1 or more, or no such line");
        if let Some(clip) = self.clip {
            wrong.expect(clip > 0.0, "clip", clip, "above 0, or no such line");
        }
        let weights = &self.auxiliary_weights;
        wrong.expect(!weights.is_empty(), "auxiliary-weights", "[]", "one for all auxiliary outputs, or one for each");
        let ends = [self.point_weight.from, self.point_weight.to];
        for (key, weights) in [("auxiliary-weights", &weights[..]), ("point-weight", &ends)] {
            if let Some(weight) = weights.iter().find(|w| !w.is_finite() || **w < 0.0) {
                wrong.refuse(key, weight, "0 or more");
            }
        }
        let unweighed = self.sampling == Some(Sampling::Weights {}) && self.data.sample_weights.is_none();
        wrong.expect(!unweighed, "sampling", "by weights", "a file of weights in data.sample-weights");
        wrong.inside("loss", self.loss.violations(Some(self.model.classes)));
        wrong.inside("optimiser", self.optimiser.violations());
        wrong.inside("schedule", self.schedule.violations());
        wrong.extend(self.augment.violations());
        wrong.inside("ema", self.ema.as_ref().map(EmaSettings::violations).unwrap_or_default());
        for (place, freeze) in self.freeze.iter().enumerate() {
            wrong.inside(&format!("freeze[{place}]"), freeze.violations(&self.model));
        }
        wrong
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_compared_by_what_decides_it() {
        let config = TrainConfig::default();
        let stage = |config: &TrainConfig| {
            vec![Stage { name: "train".into(), start_from: StartFrom::Last, config: config.clone() }]
        };
        let decisive = |config: TrainConfig| {
            TrainingPlan { stages: stage(&config), config, sample_weights: None }.decisive().unwrap()
        };
        let of = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<std::collections::BTreeSet<_>>();
        let plain = decisive(config.clone());
        let whole =
            "channels-last deterministic encoder-weights input model monitor sample-weights seed stages weights";
        assert_eq!(of(&plain), whole.split(' ').map(str::to_owned).collect());
        let in_stage = STAGE_KEYS.iter().chain(&["name", "start-from"]).map(|key| (*key).to_owned());
        assert_eq!(of(&plain["stages"][0]), in_stage.collect());
        assert_eq!(plain["stages"][0]["sampling"]["kind"], "uniform");
        // Other workers and more pictures come to the same weights; another rate does not.
        let free = TrainConfig { workers: 9, pictures: 9, keep_best: 3, ..config.clone() };
        assert_eq!(decisive(free), plain);
        let mut other = config;
        other.optimiser.lr = 0.5;
        assert_ne!(decisive(other), plain);
    }

    #[test]
    fn keys_that_are_set_apart_are_keys() {
        let Value::Object(all) = serde_json::to_value(TrainConfig::default()).unwrap() else { panic!() };
        assert!(STAGE_KEYS.iter().chain(&FREE_KEYS).all(|key| all.contains_key(*key)));
    }
}
