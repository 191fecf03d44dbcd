use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use super::{Ema, InputSettings, Learner, Scaler, TrainError};
use crate::models::{Model, ModelConfig, WeightsError, read_metadata, read_tensors, write_with_metadata};
use crate::tables::EpochRow;

/// Entry of a safetensors header that holds what is not a tensor, as JSON.
const HEADER: &str = "carpus";

/// Where a run stands; with the tensors next to it in `last.safetensors`, all that is needed to go on. Sampler and random
/// numbers have no state of their own: both follow from (seed, epoch, batch).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// The stage under way, from 0.
    pub stage: usize,
    /// Its epochs done.
    pub stage_epoch: usize,
    /// Its optimiser steps done.
    pub stage_step: u64,
    /// Epochs done, over all stages.
    pub epoch: usize,
    /// Batches done of the epoch under way.
    pub batch: usize,
    /// Optimiser steps done, over all stages.
    pub step: u64,
    /// The best epochs, best first.
    pub kept: Vec<Kept>,
    /// Scale of the loss, in half precision.
    pub scaler: Option<Scaler>,
    /// Sums over the epoch under way, kept as a tensor since JSON does not keep every bit.
    #[serde(skip)]
    pub sums: Sums,
    /// One an epoch done.
    pub records: Vec<EpochRow>,
    /// The settings, for comparison at resume.
    pub settings: serde_json::Value,
    /// Hash of the training and of the validation data.
    pub data: [String; 2],
    /// Class names in channel order.
    pub classes: Vec<String>,
}

/// An epoch whose weights are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// From 1.
    pub epoch: usize,
    /// Bits of what it is judged by, the higher the better.
    score: u64,
    /// Bits of its mean validation Dice.
    dice: u64,
}

impl Kept {
    pub(super) fn new(epoch: usize, score: f64, dice: f64) -> Kept {
        Kept { epoch, score: score.to_bits(), dice: dice.to_bits() }
    }

    /// What it is judged by.
    pub fn score(&self) -> f64 {
        f64::from_bits(self.score)
    }

    /// Its mean validation Dice at the model's size.
    pub fn dice(&self) -> f64 {
        f64::from_bits(self.dice)
    }
}

/// Sums over the epoch under way.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sums {
    /// Loss times samples.
    pub loss: f64,
    /// Samples.
    pub samples: f64,
    /// Norms of the gradients.
    pub norm: f64,
    /// Steps that moved the weights.
    pub steps: f64,
    /// Steps left out since half precision overflowed.
    pub skipped: f64,
    /// Samples that could not be read.
    pub broken: f64,
}

impl Sums {
    fn tensor(&self) -> Tensor {
        Tensor::from_slice(&[self.loss, self.samples, self.norm, self.steps, self.skipped, self.broken])
    }
}

/// Named tensors of the three parts of a run's state.
pub(super) struct StateTensors {
    pub(super) model: BTreeMap<String, Tensor>,
    pub(super) ema: BTreeMap<String, Tensor>,
    pub(super) optimiser: BTreeMap<String, Tensor>,
}

impl Checkpoint {
    pub(super) fn save(&self, path: &Path, learner: &Learner) -> Result<(), TrainError> {
        let mut tensors = vec![("run.sums".to_owned(), self.sums.tensor())];
        let shared = |named: &[(String, Tensor)]| named.iter().map(|(n, t)| (n.clone(), t.shallow_clone())).collect();
        let model: Vec<(String, Tensor)> = shared(learner.state());
        let ema = learner.ema().map(Ema::state).unwrap_or_default();
        for (part, named) in [("model", model), ("ema", ema), ("optimiser", learner.optimiser().state())] {
            tensors.extend(named.into_iter().map(|(name, tensor)| (format!("{part}.{name}"), tensor)));
        }
        write(path, &tensors, self)
    }

    pub(super) fn open(path: &Path) -> Result<(Checkpoint, StateTensors), TrainError> {
        let mut checkpoint: Checkpoint = header(path)?;
        let mut parts = StateTensors { model: BTreeMap::new(), ema: BTreeMap::new(), optimiser: BTreeMap::new() };
        for (name, tensor) in read_tensors(path)? {
            match name.split_once('.') {
                Some(("model", rest)) => drop(parts.model.insert(rest.into(), tensor)),
                Some(("ema", rest)) => drop(parts.ema.insert(rest.into(), tensor)),
                Some(("optimiser", rest)) => drop(parts.optimiser.insert(rest.into(), tensor)),
                _ => match Vec::<f64>::try_from(tensor)?[..] {
                    [loss, samples, norm, steps, skipped, broken] if name == "run.sums" => {
                        checkpoint.sums = Sums { loss, samples, norm, steps, skipped, broken };
                    }
                    _ => {
                        let reason = format!("tensor {name} is not of a carpus run");
                        return Err(TrainError::Checkpoint { path: path.into(), reason });
                    }
                },
            }
        }
        Ok((checkpoint, parts))
    }

    /// Refuses to go on where something that decides the result is not as it was, and says what.
    pub(super) fn check(&self, now: &Checkpoint, path: &Path) -> Result<(), TrainError> {
        let mut changes = Vec::new();
        differences("", &self.settings, &now.settings, &mut changes);
        for (part, (was, is)) in ["training", "validation"].iter().zip(self.data.iter().zip(&now.data)) {
            if was != is {
                changes.push(format!("the {part} data: content hash was {:.12}…, is {:.12}…", was, is));
            }
        }
        if self.classes != now.classes {
            changes.push(format!("the classes: were {:?}, are {:?}", self.classes, now.classes));
        }
        if changes.is_empty() { Ok(()) } else { Err(TrainError::Changed { path: path.into(), changes }) }
    }
}

/// Paths of the leaves that differ, with both values.
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
        (a, b) => changes.push(format!("{key}: was {a}, is {b}")),
    }
}

/// What a file of weights says about the model they belong to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WeightsInfo {
    /// The network.
    pub model: ModelConfig,
    /// Side of the square it was trained at.
    pub size: u32,
    /// Grey levels to input.
    pub input: InputSettings,
    /// Class names in channel order.
    pub classes: Vec<String>,
    /// The top level of the 16-bit images it was trained on; see [`crate::dataset::Dataset::top_level`].
    #[serde(default)]
    pub top_level: Option<u16>,
    /// Epochs done; unknown of weights that no run of carpus wrote.
    pub epoch: Option<usize>,
    /// Validation Dice at the model's size.
    pub dice: Option<f64>,
    /// Whether these are averaged weights.
    pub averaged: bool,
}

/// Writes a state by the reference's names, with what is needed to use it in the header, by rename.
pub fn write_weights(path: &Path, state: &[(String, Tensor)], info: &WeightsInfo) -> Result<(), TrainError> {
    write(path, state, info)
}

/// What a run's file of weights, as [`write_weights`] left it, says of them in its header.
///
/// # Errors
/// The file cannot be read, says nothing of a model, is a run's resumable state, or its classes are not the bones.
pub fn weights_info(path: &Path) -> Result<WeightsInfo, TrainError> {
    let wrong = |reason: String| TrainError::Checkpoint { path: path.into(), reason };
    let info: WeightsInfo = match header::<Checkpoint>(path) {
        Ok(_) => {
            return Err(wrong(
                "this is a run's state for `carpus train --resume`; take best.safetensors next to it".into(),
            ));
        }
        Err(_) => header(path)?,
    };
    if info.classes != crate::bones::NAMES {
        return Err(wrong(format!("its classes are {:?}, not the 29 of `carpus list bones`", info.classes)));
    }
    Ok(info)
}

/// The model of a run's file of weights on `device`, and what [`weights_info`] says of it.
///
/// # Errors
/// Those of [`weights_info`], or the weights are not those of the model.
pub fn read_weights(path: &Path, device: tch::Device) -> Result<(Model, WeightsInfo), TrainError> {
    let info = weights_info(path)?;
    Ok((Model::open(&info.model, path, device)?, info))
}

fn write(path: &Path, tensors: &[(String, Tensor)], header: &impl Serialize) -> Result<(), TrainError> {
    let wrong = |reason: String| TrainError::Checkpoint { path: path.into(), reason };
    if let Some((name, tensor)) =
        tensors.iter().find(|(_, t)| !matches!(t.kind(), Kind::Float | Kind::Double | Kind::Int64))
    {
        return Err(wrong(format!(
            "tensor {name} is of kind {:?}; a run holds float, double and int64",
            tensor.kind()
        )));
    }
    let header = serde_json::to_string(header).map_err(|e| wrong(e.to_string()))?;
    write_with_metadata(path, tensors, &[(HEADER, header)]).map_err(|error| match error {
        // So that a full disk is told from a wrong file.
        WeightsError::Io { path, source } => TrainError::Io { path, source },
        error => error.into(),
    })
}

fn header<T: for<'de> Deserialize<'de>>(path: &Path) -> Result<T, TrainError> {
    let wrong = |reason: String| TrainError::Checkpoint { path: path.into(), reason };
    let text = read_metadata(path)?.remove(HEADER).ok_or_else(|| {
        wrong(
            "no carpus header: these are weights without their configuration. To predict with weights of \
             segmentation_models_pytorch, give them one: carpus models convert IN.safetensors --from smp --arch A --encoder E \
             --in-channels C --size S --mean M --sd D --out OUT.safetensors; to start a run from weights, set `weights` in \
             its configuration"
                .into(),
        )
    })?;
    serde_json::from_str(&text).map_err(|e| wrong(format!("its header does not fit this version: {e}")))
}
