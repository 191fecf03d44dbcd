//! The mean of the weights of several files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use tch::{Device, Kind, Tensor};

use super::{TrainError, WeightsInfo, weights_info};
use crate::models::{Model, read_tensors};

/// The mean of the weights of several files of one model.
pub struct MeanWeights {
    /// The model with the mean weights. Only the batch norms whose statistics differ between the files require a
    /// gradient of their weight: [`super::estimate_statistics`] estimates exactly those.
    pub model: Model,
    /// The description of the model: that of the first file, without epoch and Dice.
    pub info: WeightsInfo,
    /// Number of batch norms whose statistics differ between the files. Their means fit the mean weights badly, and
    /// should be estimated again.
    pub norms: usize,
}

impl MeanWeights {
    /// Reads files of weights that runs wrote and averages them with equal shares, on `device`. Counters are those of
    /// the first file.
    ///
    /// # Errors
    /// A file cannot be read; there are fewer than two; or they describe different models, image sizes or inputs.
    pub fn read(files: &[PathBuf], device: Device) -> Result<MeanWeights, TrainError> {
        let [first, others @ ..] = files else { return Err(too_few(files)) };
        if others.is_empty() {
            return Err(too_few(files));
        }
        let info = weights_info(first)?;
        let tensors = read_tensors(first)?;
        let mut sums: BTreeMap<String, Tensor> = BTreeMap::new();
        for (name, tensor) in &tensors {
            let is_float = tensor.is_floating_point();
            let kind = if is_float { Kind::Double } else { tensor.kind() };
            sums.insert(name.clone(), tensor.f_to_kind(kind)?.copy());
        }
        let mut moved: Vec<String> = Vec::new();
        for path in others {
            same_model(first, &info, path, &weights_info(path)?)?;
            let other = read_tensors(path)?;
            for (name, sum) in &mut sums {
                let tensor = other.get(name).filter(|tensor| tensor.size() == sum.size()).ok_or_else(|| {
                    different(
                        path,
                        format!("tensor {name} is missing or has another shape than in {}", first.display()),
                    )
                })?;
                if !sum.is_floating_point() {
                    continue;
                }
                let _ = sum.f_add_(&tensor.f_to_kind(Kind::Double)?)?;
                let layer = name.strip_suffix(".running_mean").or_else(|| name.strip_suffix(".running_var"));
                if let Some(layer) = layer.filter(|_| *tensor != tensors[name]) {
                    moved.push(layer.to_owned());
                }
            }
        }
        for (name, sum) in &mut sums {
            if sum.is_floating_point() {
                *sum = sum.f_div_scalar(files.len() as f64)?.f_to_kind(tensors[name].kind())?;
            }
        }
        let model = Model::from_tensors(&info.model, sums, first, device)?;
        moved.sort_unstable();
        moved.dedup();
        model.parameters().freeze("");
        // A norm that the reference lists under several names is one layer of the model.
        let norms = moved.iter().map(|layer| model.parameters().unfreeze(&format!("{layer}.weight"))).sum();
        let info = WeightsInfo { epoch: None, dice: None, averaged: true, ..info };
        Ok(MeanWeights { model, info, norms })
    }
}

fn too_few(files: &[PathBuf]) -> TrainError {
    TrainError::TooFewWeights { found: files.len() }
}

fn different(path: &Path, reason: String) -> TrainError {
    TrainError::Checkpoint { path: path.into(), reason }
}

/// Refuses to average weights of different models.
fn same_model(first: &Path, expected: &WeightsInfo, path: &Path, found: &WeightsInfo) -> Result<(), TrainError> {
    let differs = |what: &str, expected: String, found: String| {
        let reason = format!(
            "the {what} is {found}, but {expected} in {}; only weights of one model can be averaged",
            first.display()
        );
        Err(different(path, reason))
    };
    if found.model != expected.model {
        let text = |info: &WeightsInfo| serde_json::to_string(&info.model).unwrap_or_else(|_| info.model.describe());
        return differs("model", text(expected), text(found));
    }
    if found.size != expected.size {
        return differs("image size", format!("{} px", expected.size), format!("{} px", found.size));
    }
    if found.input != expected.input {
        return differs("input", format!("{:?}", expected.input), format!("{:?}", found.input));
    }
    if found.specialist != expected.specialist {
        return differs("specialist", format!("{:?}", expected.specialist), format!("{:?}", found.specialist));
    }
    if found.top_level != expected.top_level {
        return differs("top grey level", format!("{:?}", expected.top_level), format!("{:?}", found.top_level));
    }
    Ok(())
}
