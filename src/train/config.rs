use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use toml::Table;

use super::{
    Amp, EmaSettings, Fold, Freeze, HookSettings, InputSettings, MeanTeacherSettings, Monitor, OptimiserSettings,
    PointWeight, Sampling, Schedule, SpecialistSettings, StartFrom, SwaSettings, UntilSettings, WandbConfig,
};
use crate::aten::Algorithms;
use crate::augment::Augmentations;
use crate::bones;
use crate::device::DeviceKind;
use crate::geometry::Size;
use crate::losses::LossMix;
use crate::models::{ModelConfig, ModelOutline};
use crate::violation::Violations;

/// Greatest number of epochs, images per batch and the like; a greater number is a typing error.
pub(super) const MOST: usize = 100_000;

/// What is expected of a setting that needs scores, where there are none.
pub(crate) const NO_SCORES: &str = "no value, because data.fold = \"none\" holds out no image and no epoch has a score; \
                                    remove the key, or hold out a fold";

/// The configuration of a training run. Every key has a default; unknown keys are refused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct TrainConfig {
    /// Size in px of the image that the model is trained on: one number for a square, or `[width, height]`; multiples of
    /// 32, up to 8192. An image keeps its aspect ratio, and the rest is black. Default 512.
    pub size: Size,
    /// Number of passes through the training images. 1 or more; default 50.
    pub epochs: usize,
    /// Images per batch. 1 or more; default 4.
    pub batch: usize,
    /// Batches whose gradients are summed for one optimiser step. 1 or more; default 1.
    pub accumulate: usize,
    /// Greatest norm of all gradients together; a greater norm is scaled down to it. Above 0; absent: no limit.
    #[schemars(example = 1.0)]
    pub clip: Option<f64>,
    /// Seed of the initial weights, the order of the images, augmentation and dropout. Default 0.
    pub seed: u64,
    /// Epochs without a better validation score (see `monitor`) after which the stage ends. 1 or more; absent: no early
    /// stop.
    #[schemars(example = 10)]
    pub early_stop: Option<usize>,
    /// Optimiser steps between two saves within an epoch. 1 or more; absent: saved only at the end of each epoch.
    #[schemars(example = 500)]
    pub save_every: Option<u64>,
    /// Weights of the losses of the model's auxiliary outputs: one for each output in order, or one for all. 0 or more;
    /// default `[0.4]`.
    pub auxiliary_weights: Vec<f64>,
    /// Weight of PointRend's loss: one number, or `[first, last]` for a weight that changes linearly over the stage. 0
    /// or more; default 1.
    pub point_weight: PointWeight,
    /// Precision of matrix products and convolutions: `off` (single precision), `bf16` or `fp16` (mixed precision).
    /// Default `off`.
    pub amp: Amp,
    /// Whether to use only algorithms that give the same bits in every run; operations that have none fail. Default
    /// false.
    pub deterministic: bool,
    /// Whether images and weights are stored with the channels innermost (channels last), which is faster on tensor
    /// cores. Default false.
    pub channels_last: bool,
    /// Gradient checkpointing: whether the backward pass computes the activations of the encoder's blocks again, one block
    /// at a time, instead of keeping them all. Needs less memory and about a third more time; the gradients are the same
    /// (on the CPU to the last bit). Not for whole networks. Default false.
    pub gradient_checkpointing: bool,
    /// Validation score that decides which epoch is the best: `dice` (higher is better) or `loss` (lower is better).
    /// Default `dice`.
    pub monitor: Monitor,
    /// Number of best epochs whose weights are kept. 1 or more; default 1.
    pub keep_best: usize,
    /// Number of best epochs whose weights are averaged at the end of the run, as `average.safetensors`, with the
    /// statistics of the batch norms estimated again from the training images. 2 or more, at most `keep-best`; absent:
    /// none.
    #[schemars(example = 3)]
    pub average_best: Option<usize>,
    /// File with weights of the whole model to start from, safetensors; absent: random weights.
    #[schemars(example = &"runs/NAME/best.safetensors")]
    pub weights: Option<PathBuf>,
    /// File with weights of the encoder to start from, safetensors; absent: random weights.
    #[schemars(example = &"encoder.safetensors")]
    pub encoder_weights: Option<PathBuf>,
    /// Device to train on: `auto`, `cpu`, `cuda` or `cuda:N`. Default `auto`.
    #[schemars(with = "String")]
    pub device: DeviceKind,
    /// Threads that prepare batches. Default 2.
    pub workers: usize,
    /// Whether the model's device resamples images, and changes grey levels, where the steps of the augmentation have a
    /// form for it: from the last step on that needs the CPU. Absent: only a CUDA device does.
    #[schemars(example = true)]
    pub augment_on_device: Option<bool>,
    /// Number of validation images drawn after each epoch; the most rotated hand is always one of them. Default 4; 0: none.
    pub pictures: usize,
    /// Whether histograms of weights and gradients are written for TensorBoard after each epoch. Default true.
    pub histograms: bool,
    /// Whether the best weights are scored on the held-out images at their original size when the run ends. Default
    /// true.
    pub evaluate: bool,
    /// Training and validation data. `data = "DIR"` is short for `data.root`.
    pub data: DataConfig,
    /// Folder and name of the run.
    pub output: OutputConfig,
    /// Normalisation of the grey levels.
    pub input: InputSettings,
    /// A model for some bones, which sees only the part of each image around them; absent: a model of the whole hand.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub specialist: Option<SpecialistSettings>,
    /// The model; `carpus models list` shows every architecture and encoder.
    pub model: ModelConfig,
    /// The loss: a weighted sum of losses by name. A loss is its weight, or a table of `weight` and options as in
    /// `dice = { weight = 0.5, smooth = 1.0 }`. Weights are 0 or more. Every loss also takes `class-weights`, factors of
    /// the values of the classes in its mean: one number per bone in order, or a table by bone or group as in
    /// `{ Pisiform = 3.0, carpal = 2.0 }`, in which the other bones have 1. The mean still divides by the number of
    /// classes.
    pub loss: LossMix,
    /// The optimiser.
    pub optimiser: OptimiserSettings,
    /// The learning rate over the stage, as a factor on `optimiser.lr`.
    pub schedule: Schedule,
    /// Augmentation of the training images: a list of steps, applied in this order.
    pub augment: Augmentations,
    /// Exponential moving average of the weights, used for validation and kept as the best weights; absent: none.
    pub ema: Option<EmaSettings>,
    /// Mean teacher: training with unlabelled images too. The averaged weights of `ema` are the teacher. Absent: none.
    pub mean_teacher: Option<MeanTeacherSettings>,
    /// Stochastic weight averaging: the mean of the weights at the end of the stage's last epochs, with the statistics
    /// of the batch norms estimated again from the training images, as `swa.safetensors` (of the last stage that has
    /// it). Absent: none.
    pub swa: Option<SwaSettings>,
    /// Validation scores at which the stage ends before its last epoch, after the first epoch that reaches all of them.
    /// Absent: none.
    pub until: Option<UntilSettings>,
    /// Commands to run after each epoch and at the end of the run; absent: none.
    pub hooks: Option<HookSettings>,
    /// How the images of an epoch are drawn; absent: `weights` if `data.sample-weights` names a file, else `uniform`.
    pub sampling: Option<Sampling>,
    /// Weights that are not trained: those of the encoder's first stages, `{ encoder-stages = 2 }` (up to its feature
    /// at stride `2^2`), or those whose names start with a prefix. Either may be limited to some epochs of the stage,
    /// counted from 0: `{ prefix = "encoder.", from = 0, until = 5 }`.
    #[schemars(with = "Vec<serde_json::Value>")]
    pub freeze: Vec<Freeze>,
    /// The run for W&B (Weights & Biases): after each epoch `wandb/offline-run-TIME-ID` is written into the run's folder, for
    /// `wandb sync`; absent: none. Nothing is sent while it trains.
    pub wandb: Option<WandbConfig>,
    /// Stages that are trained one after another; absent: one stage. In addition to its own keys a stage can set any of
    /// epochs, size, batch, accumulate, clip, early-stop, until, amp, loss, point-weight, optimiser, schedule, augment,
    /// sampling, freeze, ema, mean-teacher, swa and auxiliary-weights: single keys of optimiser, ema and mean-teacher,
    /// the others as a whole. The value "off" switches off clip, ema, mean-teacher, swa, until or early-stop.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<StageHead>")]
    pub stages: Vec<Table>,
}

/// Training and validation data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct DataConfig {
    /// Data folder, or folder of crops. `phantom` is a small synthetic data set with its own folds, to try a
    /// configuration in seconds. Default `data`.
    pub root: PathBuf,
    /// File of folds that `carpus split` wrote. Default `folds.csv`.
    pub folds: PathBuf,
    /// Number of the fold that is held out for validation; "none": all images are trained, no epoch is scored, and the
    /// last weights are kept as `final.safetensors`. Default 0.
    #[schemars(with = "u32")]
    pub fold: Fold,
    /// File of weights that `carpus split --sample-weights` wrote; absent: none.
    #[schemars(example = &"weights.csv")]
    pub sample_weights: Option<PathBuf>,
    /// Corrections file, applied when the data are read; images that it excludes are not used. Absent: no corrections.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"corrections.jsonl")]
    pub corrections: Option<PathBuf>,
    /// Use only the first images of the training set and of the validation set, this many of each; absent: all.
    #[schemars(example = 20)]
    pub limit: Option<usize>,
    /// Memory in MiB for images at the model's size; images beyond it are read from the disk again in each epoch.
    /// Default 4096.
    pub cache_mb: usize,
}

/// Folder and name of the run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct OutputConfig {
    /// Folder of all runs. Default `runs`.
    pub runs: PathBuf,
    /// Name of this run; absent: the configuration's file name and the fold.
    #[schemars(example = &"NAME")]
    pub name: Option<String>,
}

impl Default for TrainConfig {
    fn default() -> Self {
        TrainConfig {
            size: Size::square(512),
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
            gradient_checkpointing: false,
            monitor: Monitor::Dice,
            keep_best: 1,
            average_best: None,
            weights: None,
            encoder_weights: None,
            device: DeviceKind::Auto,
            workers: 2,
            augment_on_device: None,
            pictures: 4,
            histograms: true,
            evaluate: true,
            data: DataConfig::default(),
            output: OutputConfig::default(),
            input: InputSettings::default(),
            specialist: None,
            model: ModelConfig::default(),
            loss: LossMix::default(),
            optimiser: OptimiserSettings::default(),
            schedule: Schedule::default(),
            augment: Augmentations::default(),
            ema: None,
            mean_teacher: None,
            swa: None,
            until: None,
            hooks: None,
            sampling: None,
            freeze: Vec::new(),
            wandb: None,
            stages: Vec::new(),
        }
    }
}

impl Default for DataConfig {
    fn default() -> Self {
        DataConfig {
            root: "data".into(),
            folds: "folds.csv".into(),
            fold: Fold::Number(0),
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

/// The keys of a run that a stage can set for itself.
pub const STAGE_KEYS: [&str; 19] = [
    "epochs",
    "size",
    "batch",
    "accumulate",
    "clip",
    "early-stop",
    "until",
    "amp",
    "loss",
    "point-weight",
    "optimiser",
    "schedule",
    "augment",
    "sampling",
    "freeze",
    "ema",
    "mean-teacher",
    "swa",
    "auxiliary-weights",
];
/// Keys that do not change the trained weights: a run may be resumed with other values of them.
const FREE_KEYS: [&str; 14] = [
    "save-every",
    "gradient-checkpointing",
    "keep-best",
    "average-best",
    "device",
    "augment-on-device",
    "workers",
    "pictures",
    "histograms",
    "evaluate",
    "hooks",
    "data",
    "output",
    "wandb",
];

/// The keys that only a stage has.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct StageHead {
    /// Name of the stage in the log and in `metrics.csv`, different from those of the other stages; absent: `stage-N`.
    #[schemars(example = &"fine")]
    pub name: Option<String>,
    /// Weights that the stage starts from: the `last` weights of the stage before, those of the `best` epoch so far, the
    /// averaged weights (`ema`) at the end of the stage before, or its stochastic weight average (`swa`). Default
    /// `last`.
    pub start_from: StartFrom,
}

/// A stage with its full configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Stage {
    /// Name in the log and in `metrics.csv`.
    pub name: String,
    /// The weights it starts from; optimiser, schedule, averages and loss scale start from scratch.
    pub start_from: StartFrom,
    /// The run's configuration, overridden by the keys of the stage; its own `stages` are empty.
    pub config: TrainConfig,
}

/// A run that is ready to train.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainingPlan {
    /// The configuration of the run. Keys that a stage can set are read from `stages` only.
    pub config: TrainConfig,
    /// The stages in order.
    pub stages: Vec<Stage>,
    /// Weight of each training image, for stages that draw by weights.
    pub sample_weights: Option<Vec<f64>>,
}

impl TrainingPlan {
    /// Number of epochs of all stages together.
    pub fn epochs(&self) -> usize {
        self.stages.iter().map(|stage| stage.config.epochs).sum()
    }

    /// All settings that change the trained weights, to compare when the run is resumed.
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
    /// How images are drawn: as configured, or else by weights if there is a file of weights.
    pub fn sampling(&self) -> Sampling {
        self.sampling.unwrap_or(match self.data.sample_weights {
            Some(_) => Sampling::Weights {},
            None => Sampling::Uniform {},
        })
    }

    /// The algorithms that libtorch may use.
    pub(super) fn algorithms(&self) -> Algorithms {
        if self.deterministic { Algorithms::Deterministic } else { Algorithms::Any }
    }

    /// The settings that need scores of held-out images, with their values.
    pub(super) fn settings_of_scores(&self) -> Vec<(&'static str, String)> {
        let number = |value: Option<usize>| value.map(|value| value.to_string());
        [
            ("early-stop", number(self.early_stop)),
            ("until", self.until.as_ref().map(|_| "set".to_owned())),
            ("monitor", (self.monitor != Monitor::Dice).then(|| self.monitor.to_string())),
            ("keep-best", (self.keep_best > 1).then(|| self.keep_best.to_string())),
            ("average-best", number(self.average_best)),
        ]
        .into_iter()
        .filter_map(|(key, value)| Some((key, value?)))
        .collect()
    }

    /// The invalid values of the model, its size and its input.
    pub fn model_violations(&self) -> Violations {
        let mut wrong = Violations::new();
        let size = self.size;
        let is_square = size.width == size.height;
        let multiples = if is_square { "a multiple of" } else { "width and height that are multiples of" };
        let fits = size.both(|side| side != 0 && side.is_multiple_of(32) && side <= 8192);
        wrong.expect(fits, "size", size.setting(), format!("{multiples} 32 up to 8192"));
        wrong.inside("input", self.input.violations(self.model.in_channels));
        let of_model = self.model.violations();
        let classes = self.model.classes;
        let fits = classes == bones::COUNT as i64;
        // A model that can be built reports the sizes that it takes; any other has been refused above.
        if fits && wrong.is_empty() && of_model.is_empty() {
            match ModelOutline::of(&self.model) {
                Ok(ModelOutline { stride, least_side, .. }) => {
                    let (model, least) = (self.model.describe(), least_side.max(stride));
                    let expected = format!("{multiples} {stride}, at least {least}, for {model}");
                    let fits = size.both(|side| i64::from(side) % stride == 0 && i64::from(side) >= least_side);
                    wrong.expect(fits, "size", size.setting(), expected);
                }
                Err(error) => {
                    wrong.refuse("model", self.model.describe(), format!("a model that can be built ({error})"))
                }
            }
        }
        wrong.inside("model", of_model);
        wrong.expect(fits, "model.classes", classes, "29, the number of bones");
        wrong
    }

    /// All invalid values, except those in `stages`.
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
        wrong.expect(self.early_stop != Some(0), "early-stop", 0, "1 or more (leave the key out for no early stop)");
        if let Some(count) = self.average_best {
            let expected = format!("from 2 to {}, the value of keep-best", self.keep_best);
            wrong.expect(count >= 2 && count <= self.keep_best, "average-best", count, expected);
        }
        if self.data.fold == Fold::None {
            for (key, value) in self.settings_of_scores() {
                wrong.refuse(key, value, NO_SCORES);
            }
        }
        wrong.expect(
            self.save_every != Some(0),
            "save-every",
            0,
            "1 or more (leave the key out to save once per epoch)",
        );
        if let Some(clip) = self.clip {
            wrong.expect(clip.is_finite() && clip > 0.0, "clip", clip, "above 0 (leave the key out for no limit)");
        }
        let weights = &self.auxiliary_weights;
        wrong.expect(
            !weights.is_empty(),
            "auxiliary-weights",
            "[]",
            "one weight for all auxiliary outputs, or one for each",
        );
        let ends = [self.point_weight.from, self.point_weight.to];
        for (key, weights) in [("auxiliary-weights", &weights[..]), ("point-weight", &ends)] {
            if let Some(weight) = weights.iter().find(|w| !w.is_finite() || **w < 0.0) {
                wrong.refuse(key, weight, "0 or more");
            }
        }
        let lacks_weights = self.sampling == Some(Sampling::Weights {}) && self.data.sample_weights.is_none();
        wrong.expect(
            !lacks_weights,
            "sampling",
            "weights",
            "another kind, or a file of weights in data.sample-weights",
        );
        wrong.expect(
            !self.gradient_checkpointing || self.model.has_segments(),
            "gradient-checkpointing",
            true,
            format!(
                "false for {}, which is a whole network without an encoder of `carpus models list`",
                self.model.architecture
            ),
        );
        wrong.inside("loss", self.loss.violations(Some(self.model.classes)));
        wrong.inside("optimiser", self.optimiser.violations());
        wrong.inside("schedule", self.schedule.violations());
        wrong.extend(self.augment.violations());
        if let (Some(place), Some(reason)) = (self.augment.mixes_labels(), self.loss.refuses_soft_targets()) {
            wrong.refuse(&format!("augment[{place}]"), "mix-up", format!("another kind of step: {reason}"));
        }
        wrong.inside("ema", self.ema.as_ref().map(EmaSettings::violations).unwrap_or_default());
        wrong.inside(
            "mean-teacher",
            self.mean_teacher.as_ref().map(MeanTeacherSettings::violations).unwrap_or_default(),
        );
        let has_teacher = self.mean_teacher.is_none() || self.ema.is_some();
        wrong.expect(has_teacher, "mean-teacher", "set", "[ema] too, because the averaged weights are the teacher");
        if let Some(specialist) = &self.specialist {
            wrong.inside("specialist", specialist.violations());
            let expected = "no value, because unlabelled images have no bones around which a specialist cuts";
            wrong.expect(self.mean_teacher.is_none(), "mean-teacher", "set", expected);
        }
        wrong.inside("swa", self.swa.as_ref().map(|swa| swa.violations(self.epochs)).unwrap_or_default());
        wrong.inside("until", self.until.as_ref().map(UntilSettings::violations).unwrap_or_default());
        wrong.inside("hooks", self.hooks.as_ref().map(HookSettings::violations).unwrap_or_default());
        wrong.inside("wandb", self.wandb.as_ref().map(WandbConfig::violations).unwrap_or_default());
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
    fn a_run_is_compared_by_the_settings_that_change_its_weights() {
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
        // The number of workers and pictures does not change the weights; the learning rate does.
        let hooks = Some(HookSettings { epoch: Some("true".into()), ..HookSettings::default() });
        let (keep_best, average_best) = (3, Some(2));
        let free = TrainConfig { workers: 9, pictures: 9, keep_best, average_best, hooks, ..config.clone() };
        assert_eq!(decisive(free), plain);
        let mut other = config;
        other.optimiser.lr = 0.5;
        assert_ne!(decisive(other), plain);
    }

    #[test]
    fn mix_up_needs_losses_for_soft_targets() {
        let of = |loss: &str, steps: &str| {
            let (loss, augment) = (serde_json::from_str(loss).unwrap(), serde_json::from_str(steps).unwrap());
            TrainConfig { loss, augment, ..TrainConfig::default() }.violations()
        };
        let mix = r#"[{ "kind": "mix-up" }]"#;
        assert!(of(r#"{ "bce": 0.3, "dice": 0.4, "focal": 0.3 }"#, mix).is_empty());
        assert!(of(r#"{ "bce": 0.5, "lovasz": 0.5 }"#, r#"[{ "kind": "cut-mix" }]"#).is_empty());
        for loss in [
            r#"{ "bce": 0.5, "lovasz": 0.5 }"#,
            r#"{ "boundary": 1 }"#,
            r#"{ "bce": { "weight": 1, "pixel-weight": { "around": "gaps" } } }"#,
        ] {
            let wrong = of(loss, mix);
            let [one] = &wrong.iter().collect::<Vec<_>>()[..] else { panic!("{loss}: {wrong}") };
            assert_eq!((one.key.as_str(), one.found.as_str()), ("augment[0]", "mix-up"));
            assert!(one.expected.contains("soft targets; losses that do: bce without pixel-weight, dice"), "{wrong}");
        }
    }

    #[test]
    fn stage_keys_and_free_keys_exist() {
        let Value::Object(all) = serde_json::to_value(TrainConfig::default()).unwrap() else { panic!() };
        assert!(STAGE_KEYS.iter().chain(&FREE_KEYS).all(|key| all.contains_key(*key)));
    }
}
