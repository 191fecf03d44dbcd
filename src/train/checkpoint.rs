use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use super::{Ema, InputSettings, Learner, Scaler, SpecialistSettings, SwaAverage, TrainError};
use crate::geometry::Size;
use crate::models::{Model, ModelConfig, WeightsError, read_metadata, read_tensors, write_with_metadata};
use crate::runs::{AverageSummary, StageSummary};
use crate::tables::EpochRow;

/// Entry of a safetensors header with the values that are not tensors, as JSON.
const HEADER: &str = "carpus";

/// The progress of a run. Together with the tensors in the same file, `last.safetensors`, it is everything that a
/// resumed run needs. Sampler and random numbers have no state: both follow from (seed, epoch, batch).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// Index of the current stage, from 0.
    pub stage: usize,
    /// Finished epochs of the current stage.
    pub stage_epoch: usize,
    /// Finished optimiser steps of the current stage.
    pub stage_step: u64,
    /// Finished epochs of all stages.
    pub epoch: usize,
    /// Finished batches of the current epoch.
    pub batch: usize,
    /// Finished optimiser steps of all stages.
    pub step: u64,
    /// The best epochs, best first.
    pub kept: Vec<Kept>,
    /// Number of epochs of the current stage in its stochastic weight average.
    #[serde(default)]
    pub swa_epochs: usize,
    /// The finished stages, also the current one from its last epoch on.
    #[serde(default)]
    pub ended: Vec<StageSummary>,
    /// Result of averaging the best epochs at the end of the run.
    #[serde(default)]
    pub average_best: Option<AverageSummary>,
    /// Scale of the loss, in half precision.
    pub scaler: Option<Scaler>,
    /// Sums over the current epoch, stored as a tensor because JSON does not keep every bit.
    #[serde(skip)]
    pub sums: Sums,
    /// One row per finished epoch.
    pub records: Vec<EpochRow>,
    /// The settings that change the trained weights, to compare when the run is resumed.
    pub settings: serde_json::Value,
    /// Content hashes of the training data and of the validation data, hexadecimal.
    pub data: [String; 2],
    /// Class names in channel order.
    pub classes: Vec<String>,
}

/// An epoch whose weights are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// Number of the epoch, from 1.
    pub epoch: usize,
    /// Bits of its score; a higher score is better.
    score: u64,
    /// Bits of its mean validation Dice.
    dice: u64,
}

impl Kept {
    pub(super) fn new(epoch: usize, score: f64, dice: f64) -> Kept {
        Kept { epoch, score: score.to_bits(), dice: dice.to_bits() }
    }

    /// Its score by [`super::Monitor`]; higher is better.
    pub fn score(&self) -> f64 {
        f64::from_bits(self.score)
    }

    /// Its mean validation Dice at the model's size, 0 to 1.
    pub fn dice(&self) -> f64 {
        f64::from_bits(self.dice)
    }
}

/// Sums over the current epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sums {
    /// Sum of each batch's loss times its number of samples.
    pub loss: f64,
    /// Number of samples.
    pub samples: f64,
    /// Sum of the gradients' norms before clipping.
    pub norm: f64,
    /// Number of optimiser steps that changed the weights.
    pub steps: f64,
    /// Number of optimiser steps that were skipped because half precision overflowed.
    pub skipped: f64,
    /// Number of samples that could not be read.
    pub broken: f64,
    /// Sum of each batch's consistency loss times its number of unlabelled images.
    pub consistency: f64,
    /// Number of unlabelled images.
    pub unlabelled: f64,
}

impl Sums {
    fn tensor(&self) -> Tensor {
        let Sums { loss, samples, norm, steps, skipped, broken, consistency, unlabelled } = *self;
        Tensor::from_slice(&[loss, samples, norm, steps, skipped, broken, consistency, unlabelled])
    }
}

/// Named tensors of the parts of a run's state.
#[derive(Default)]
pub(super) struct StateTensors {
    pub(super) model: BTreeMap<String, Tensor>,
    pub(super) ema: BTreeMap<String, Tensor>,
    pub(super) swa: BTreeMap<String, Tensor>,
    pub(super) optimiser: BTreeMap<String, Tensor>,
}

impl Checkpoint {
    pub(super) fn save(&self, path: &Path, learner: &Learner, swa: Option<&SwaAverage>) -> Result<(), TrainError> {
        let mut tensors = vec![("run.sums".to_owned(), self.sums.tensor())];
        let shared = |named: &[(String, Tensor)]| named.iter().map(|(n, t)| (n.clone(), t.shallow_clone())).collect();
        let model: Vec<(String, Tensor)> = shared(learner.state());
        let ema = learner.ema().map(Ema::state).unwrap_or_default();
        let swa = swa.map(SwaAverage::state).unwrap_or_default();
        for (part, named) in [("model", model), ("ema", ema), ("swa", swa), ("optimiser", learner.optimiser().state())]
        {
            tensors.extend(named.into_iter().map(|(name, tensor)| (format!("{part}.{name}"), tensor)));
        }
        write(path, &tensors, self)
    }

    pub(super) fn open(path: &Path) -> Result<(Checkpoint, StateTensors), TrainError> {
        let mut checkpoint: Checkpoint = header(path)?;
        let mut parts = StateTensors::default();
        for (name, tensor) in read_tensors(path)? {
            match name.split_once('.') {
                Some(("model", rest)) => drop(parts.model.insert(rest.into(), tensor)),
                Some(("swa", rest)) => drop(parts.swa.insert(rest.into(), tensor)),
                Some(("ema", rest)) => drop(parts.ema.insert(rest.into(), tensor)),
                Some(("optimiser", rest)) => drop(parts.optimiser.insert(rest.into(), tensor)),
                _ => match Vec::<f64>::try_from(tensor)?[..] {
                    [loss, samples, norm, steps, skipped, broken, consistency, unlabelled] if name == "run.sums" => {
                        checkpoint.sums = Sums { loss, samples, norm, steps, skipped, broken, consistency, unlabelled };
                    }
                    _ => {
                        let reason = format!("tensor {name} does not belong to a run of carpus");
                        return Err(TrainError::Checkpoint { path: path.into(), reason });
                    }
                },
            }
        }
        Ok((checkpoint, parts))
    }

    /// Refuses to resume where a setting, the data or the classes differ from those of the saved run.
    pub(super) fn check(&self, now: &Checkpoint, path: &Path) -> Result<(), TrainError> {
        let mut changes = Vec::new();
        differences("", &self.settings, &now.settings, &mut changes);
        for (part, (was, is)) in ["training", "validation"].iter().zip(self.data.iter().zip(&now.data)) {
            if was != is {
                changes.push(format!("the {part} data: content hash was {was:.12}…, is now {is:.12}…"));
            }
        }
        if self.classes != now.classes {
            changes.push(format!("the classes: were {:?}, are now {:?}", self.classes, now.classes));
        }
        if changes.is_empty() { Ok(()) } else { Err(TrainError::Changed { path: path.into(), changes }) }
    }
}

/// The settings that differ, each with both values.
fn differences(key: &str, was: &serde_json::Value, is: &serde_json::Value, changes: &mut Vec<String>) {
    use serde_json::Value::{Array, Null, Object};
    match (was, is) {
        (Array(a), Array(b)) if a.len() == b.len() && a.iter().all(|v| v.is_object()) => {
            for (place, (a, b)) in a.iter().zip(b).enumerate() {
                differences(&format!("{key}.{place}"), a, b, changes);
            }
        }
        (Object(a), Object(b)) => {
            let keys: std::collections::BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            for name in keys {
                let key = if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
                differences(&key, a.get(name).unwrap_or(&Null), b.get(name).unwrap_or(&Null), changes);
            }
        }
        (a, b) if a == b => {}
        (a, b) => changes.push(format!("{key}: was {a}, is now {b}")),
    }
}

/// The description of a model in the header of its file of weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WeightsInfo {
    /// The model's configuration.
    pub model: ModelConfig,
    /// Size in px of the image that it was trained on.
    pub size: Size,
    /// Normalisation of the grey levels.
    pub input: InputSettings,
    /// The bones of a specialist, which sees only the part of an image around them; `None`: a model of the whole hand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub specialist: Option<SpecialistSettings>,
    /// Class names in channel order.
    pub classes: Vec<String>,
    /// The top grey level of the 16-bit images that it was trained on; see [`crate::dataset::Dataset::top_level`].
    #[serde(default)]
    pub top_level: Option<u16>,
    /// Number of epochs that it was trained; `None` for the mean of several files, and for weights that were not written
    /// by a run of carpus.
    pub epoch: Option<usize>,
    /// Mean validation Dice at the model's size, 0 to 1; `None` where it is not known.
    pub dice: Option<f64>,
    /// Whether the weights are an average: an exponential moving average, or the mean of several epochs.
    pub averaged: bool,
}

/// Writes a model's tensors by the names of [`Architecture::reference`](crate::models::Architecture::reference) as
/// safetensors, with `info` in the header. The file is written completely or not at all.
///
/// # Errors
/// The file cannot be written, or a tensor is not float, double or int64.
pub fn write_weights(path: &Path, state: &[(String, Tensor)], info: &WeightsInfo) -> Result<(), TrainError> {
    write(path, state, info)
}

/// The header of a file of weights that [`write_weights`] wrote.
///
/// # Errors
/// The file cannot be read, its header describes no model, it is the resumable state of a run, or its classes are not
/// the bones.
pub fn weights_info(path: &Path) -> Result<WeightsInfo, TrainError> {
    let wrong = |reason: String| TrainError::Checkpoint { path: path.into(), reason };
    let info: WeightsInfo = match header::<Checkpoint>(path) {
        Ok(_) => {
            return Err(wrong(
                "this is the state of a run, for `carpus train --resume`; use best.safetensors in the same folder \
                 (final.safetensors if the run held out no fold)"
                    .into(),
            ));
        }
        Err(_) => header(path)?,
    };
    if info.classes != crate::bones::NAMES {
        return Err(wrong(format!("its classes are {:?}; expected the 29 bones of `carpus list bones`", info.classes)));
    }
    Ok(info)
}

/// The model of a file of weights.
pub struct TrainedModel {
    /// The model with these weights.
    pub model: Model,
    /// The header of the file.
    pub info: WeightsInfo,
}

/// The model of a file of weights on `device`, and its [`weights_info`].
///
/// # Errors
/// Those of [`weights_info`], or the weights do not fit the model.
pub fn read_weights(path: &Path, device: tch::Device) -> Result<TrainedModel, TrainError> {
    let info = weights_info(path)?;
    Ok(TrainedModel { model: Model::open(&info.model, path, device)?, info })
}

fn write(path: &Path, tensors: &[(String, Tensor)], header: &impl Serialize) -> Result<(), TrainError> {
    let wrong = |reason: String| TrainError::Checkpoint { path: path.into(), reason };
    if let Some((name, tensor)) =
        tensors.iter().find(|(_, t)| !matches!(t.kind(), Kind::Float | Kind::Double | Kind::Int64))
    {
        return Err(wrong(format!("tensor {name} has kind {:?}; expected float, double or int64", tensor.kind())));
    }
    let header = serde_json::to_string(header).map_err(|e| wrong(e.to_string()))?;
    write_with_metadata(path, tensors, &[(HEADER, header)]).map_err(|error| match error {
        // A full disk must be distinguished from a wrong file.
        WeightsError::Io { path, source } => TrainError::Io { path, source },
        error => error.into(),
    })
}

fn header<T: for<'de> Deserialize<'de>>(path: &Path) -> Result<T, TrainError> {
    let wrong = |reason: String| TrainError::Checkpoint { path: path.into(), reason };
    let mut metadata = read_metadata(path).map_err(|error| match error {
        WeightsError::Format { source, .. } => wrong(format!(
            "not a safetensors file: {source}; give the best.safetensors of a run, or a file of `carpus models convert`"
        )),
        other => other.into(),
    })?;
    let text = metadata.remove(HEADER).ok_or_else(|| {
        wrong(
            "no carpus header: the file has weights without the model's configuration. To predict with weights of \
             segmentation_models_pytorch, add the header: carpus models convert IN.safetensors --from smp --arch A --encoder E \
             --in-channels C --size S --mean M --sd D --out OUT.safetensors; to start a run from weights, set `weights` in \
             its configuration"
                .into(),
        )
    })?;
    serde_json::from_str(&text).map_err(|e| wrong(format!("its header does not fit this version of carpus: {e}")))
}
