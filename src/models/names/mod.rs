//! Weights under other libraries' names: a state dict of theirs as one of ours and back. Nothing is guessed: each tensor
//! goes to the one place that has its name, and what has none is named.

mod efficientnet;
mod mobilenet_v2;
pub mod transformers;

use std::collections::BTreeMap;

use tch::{Kind, TchError, Tensor};

use super::suggest_config::fitting;
use super::weights::{CLASSIFIERS, adapt_first_layer, advice, listing};
use super::{EncoderKind, Family, ModelConfig, ModelError, ModelOutline, Norm, Role, classes_of, shared};
use crate::closed_enum::closed_enum;

closed_enum! {
    /// A library whose state dicts can be exchanged.
    pub enum WeightsSource ("source") {
        /// segmentation_models_pytorch: whole models.
        Smp = "smp",
        /// timm: classifiers and feature extractors, which are our encoders.
        Timm = "timm",
        /// torchvision: classifiers, which are our encoders, and its whole segmentation models.
        Torchvision = "torchvision",
        /// transformers: the whole models that stand here as its second reference.
        Transformers = "transformers",
    }
}

/// Why weights could not be exchanged.
#[derive(Debug, thiserror::Error)]
pub enum NamesError {
    /// The other library has no such model.
    #[error("{source_name} has no {model}; weights of it cannot come from there or go there")]
    NoCounterpart {
        /// The other library.
        source_name: WeightsSource,
        /// What it lacks.
        model: String,
    },
    /// The norm has no counterpart there.
    #[error("{source_name} has {0} with batch norm alone, not {1}", model, norm)]
    NoNorm {
        /// The other library.
        source_name: WeightsSource,
        /// The model.
        model: String,
        /// The norm asked for.
        norm: Norm,
    },
    /// The tensors are not those of the model.
    #[error(
        "these are not the weights of {model} as {source_name} names them:{}{}",
        listing(missing, surplus, misshapen),
        advice(fitting)
    )]
    Mismatch {
        /// The other library.
        source_name: WeightsSource,
        /// The model.
        model: String,
        /// Tensors of the model that are not there, by the other library's names.
        missing: Vec<String>,
        /// Tensors that the model has no place for.
        surplus: Vec<String>,
        /// Tensors of another shape or of integers for floats, with what each has.
        misshapen: Vec<String>,
        /// What must be another in the configuration for them to be the model's: `depth = 3`.
        fitting: Option<String>,
    },
    /// Tensors that belong together do not fit each other.
    #[error("{name}: {source}")]
    Tensor {
        /// The tensor that was to be made.
        name: String,
        /// Why.
        source: TchError,
    },
    /// The model cannot be built.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// libtorch refused.
    #[error(transparent)]
    Torch(#[from] TchError),
}

/// Weights under new names.
#[derive(Debug)]
pub struct Renamed {
    /// By their new names, in the number types they had.
    pub tensors: BTreeMap<String, Tensor>,
    /// What was left out because the other side has no use for it: a classifier's head, or all but an encoder.
    pub left_out: Vec<String>,
    /// Whether the first layer, made for three channels, was summed to one for the model's single channel.
    pub first_layer_summed: bool,
}

const ENCODER: &str = "encoder.";
const COUNTER: &str = "num_batches_tracked";

/// SMP's second head, for classes of whole images: `aux_params`.
const CLASSIFICATION: &str = "classification_head.";

/// Our second head for training, which no other library has.
const AUXILIARY: &str = "auxiliary_head.";

/// The weights of `config` from a state dict of `source`. The number of classes is that of the tensors. Where
/// `config` has group norm in place of batch norm, running statistics are left out and affine weights stay.
///
/// # Errors
/// What [`NamesError`] lists.
pub fn to_carpus(
    source: WeightsSource,
    config: &ModelConfig,
    tensors: BTreeMap<String, Tensor>,
) -> Result<Renamed, NamesError> {
    // Whole models of these have our names, so that it can be told which model they fit.
    let ours = is_whole(source, config) && source != WeightsSource::Transformers;
    let given = ours.then(|| {
        let mut given = shared(&tensors);
        given.retain(|name, _| !name.starts_with(CLASSIFICATION));
        given
    });
    renamed_to_carpus(source, config, tensors).map_err(|error| match (error, given) {
        (NamesError::Mismatch { source_name, model, missing, surplus, misshapen, .. }, Some(given)) => {
            let classes = classes_of(config, &given).ok().flatten().unwrap_or(config.classes);
            let fitting = fitting(&ModelConfig { classes, ..config.clone() }, &given);
            NamesError::Mismatch { source_name, model, missing, surplus, misshapen, fitting }
        }
        (error, _) => error,
    })
}

fn renamed_to_carpus(
    source: WeightsSource,
    config: &ModelConfig,
    mut tensors: BTreeMap<String, Tensor>,
) -> Result<Renamed, NamesError> {
    let reference = ModelConfig { norm: Norm::Batch, ..config.clone() };
    if source == WeightsSource::Transformers {
        let renamed = transformers::to_carpus(&reference, tensors)?;
        return finish(source, config, &reference, renamed, Vec::new(), Vec::new(), Vec::new());
    }
    let pairs = pairs(source, &reference)?;
    // Files older than the counter of batches lack it everywhere; PyTorch then begins at 0.
    let counted = tensors.keys().any(|name| name.ends_with(COUNTER));
    let mut renamed = BTreeMap::new();
    let mut missing = Vec::new();
    for (ours, theirs) in pairs {
        let plain = ours.strip_prefix("encoder.model.").unwrap_or(&theirs);
        match tensors.remove(&theirs).or_else(|| tensors.remove(plain)) {
            Some(tensor) => drop(renamed.insert(ours, tensor)),
            None if !counted && ours.ends_with(COUNTER) => {
                renamed.insert(ours, Tensor::f_zeros([0i64; 0], (Kind::Int64, tch::Device::Cpu))?);
            }
            None => missing.push(theirs),
        }
    }
    let whole = is_whole(source, config);
    let is_head = |name: &String| match whole {
        true => source == WeightsSource::Smp && name.starts_with(CLASSIFICATION),
        false => CLASSIFIERS.iter().any(|prefix| name.starts_with(prefix)),
    };
    let (left_out, surplus): (Vec<_>, Vec<_>) = tensors.into_keys().partition(is_head);
    finish(source, config, &reference, renamed, left_out, missing, surplus)
}

/// The weights of `reference` as those of `config`, which may differ in the norm.
fn finish(
    source: WeightsSource,
    config: &ModelConfig,
    reference: &ModelConfig,
    mut renamed: BTreeMap<String, Tensor>,
    left_out: Vec<String>,
    missing: Vec<String>,
    surplus: Vec<String>,
) -> Result<Renamed, NamesError> {
    let first_layer_summed = sum_first_layer(reference, &mut renamed)?;
    check(source, reference, &renamed, missing, surplus)?;
    if config.norm != reference.norm {
        let stays = ModelOutline::of(config)?;
        let stays = stays.names();
        renamed.retain(|name, _| stays.contains(name.as_str()));
    }
    Ok(Renamed { tensors: renamed, left_out, first_layer_summed })
}

/// Fits a first layer for three channels to the one of `config`, and says whether it was so.
fn sum_first_layer(config: &ModelConfig, tensors: &mut BTreeMap<String, Tensor>) -> Result<bool, NamesError> {
    let outline = ModelOutline::of(config)?;
    let first = outline.entries.iter().find(|(_, shape, _)| shape.len() == 4);
    let Some((tensor, (_, shape, _))) = first.and_then(|first| Some((tensors.get_mut(&first.0)?, first))) else {
        return Ok(false);
    };
    let fitted = adapt_first_layer(tensor, shape[1])?;
    let summed = fitted.size() != tensor.size();
    *tensor = fitted;
    Ok(summed)
}

/// A state dict of `source` from weights of `config`, the whole model's or its encoder's.
///
/// # Errors
/// What [`NamesError`] lists.
pub fn from_carpus(
    source: WeightsSource,
    config: &ModelConfig,
    mut tensors: BTreeMap<String, Tensor>,
) -> Result<Renamed, NamesError> {
    if !matches!(config.norm, Norm::Batch | Norm::FrozenBatch) {
        return Err(NamesError::NoNorm { source_name: source, model: config.describe(), norm: config.norm });
    }
    if source == WeightsSource::Transformers {
        let plain = ModelConfig { auxiliary: false, ..config.clone() };
        let (left_out, tensors): (BTreeMap<_, _>, BTreeMap<_, _>) =
            tensors.into_iter().partition(|(name, _)| name.starts_with(AUXILIARY));
        check(source, &plain, &tensors, Vec::new(), Vec::new())?;
        let tensors = transformers::from_carpus(&plain, tensors)?;
        let left_out = left_out.into_keys().collect();
        return Ok(Renamed { tensors, left_out, first_layer_summed: false });
    }
    let pairs = pairs(source, config)?;
    let mut kept = BTreeMap::new();
    let mut missing = Vec::new();
    for (ours, _) in &pairs {
        match tensors.remove(ours) {
            Some(tensor) => drop(kept.insert(ours.clone(), tensor)),
            None => missing.push(ours.clone()),
        }
    }
    let whole = is_whole(source, config);
    let known = ModelOutline::of(config)?;
    let known = known.names();
    let has_no_place = |name: &String| name.starts_with(AUXILIARY) || (!whole && known.contains(name.as_str()));
    let (left_out, surplus) = tensors.into_keys().partition(has_no_place);
    check(source, config, &kept, missing, surplus)?;
    let renamed = pairs.into_iter().filter_map(|(ours, theirs)| kept.remove(&ours).map(|tensor| (theirs, tensor)));
    Ok(Renamed { tensors: renamed.collect(), left_out, first_layer_summed: false })
}

/// Whether `source` has the whole model and not only its encoder.
fn is_whole(source: WeightsSource, config: &ModelConfig) -> bool {
    let reference = config.architecture.reference();
    match source {
        WeightsSource::Smp => true,
        WeightsSource::Timm => false,
        WeightsSource::Transformers => reference.starts_with("transformers"),
        WeightsSource::Torchvision => reference.starts_with("torchvision"),
    }
}

/// Our name and theirs of each tensor that `source` has of the model.
fn pairs(source: WeightsSource, config: &ModelConfig) -> Result<Vec<(String, String)>, NamesError> {
    let absent = |model: String| NamesError::NoCounterpart { source_name: source, model };
    let outline = ModelOutline::of(config)?;
    let names = outline.entries.into_iter().map(|(name, ..)| name);
    if is_whole(source, config) {
        let reference = config.architecture.reference();
        if source == WeightsSource::Smp && !reference.starts_with("smp") {
            return Err(absent(config.architecture.to_string()));
        }
        let added = [
            ("metadata", config.metadata.is_some()),
            ("multi-scale-attention", config.multi_scale_attention.is_some()),
            ("point-rend", config.point_rend.is_some()),
        ];
        if let Some((part, _)) = added.iter().find(|(_, is_there)| *is_there) {
            return Err(absent(format!("{} with {part}", config.architecture)));
        }
        let names = names.filter(|name| !name.starts_with(AUXILIARY));
        return Ok(names.map(|name| (name.clone(), name)).collect());
    }
    let encoder = config.backbone().ok_or_else(|| absent(config.architecture.to_string()))?;
    let mut pairs = Vec::new();
    for ours in names {
        let Some(inside) = ours.strip_prefix(ENCODER) else { continue };
        let theirs = encoder_name(source, encoder, inside).ok_or_else(|| absent(encoder.to_string()))?;
        pairs.push((ours, theirs));
    }
    Ok(pairs)
}

/// What `source` calls the tensor `inside` of an encoder; `None` where it has no such encoder.
fn encoder_name(source: WeightsSource, encoder: EncoderKind, inside: &str) -> Option<String> {
    match (source, encoder.family()) {
        (WeightsSource::Smp, _) => Some(inside.to_owned()),
        (WeightsSource::Timm | WeightsSource::Torchvision, Family::ResNet) => Some(inside.to_owned()),
        (WeightsSource::Timm, Family::EfficientNet) => efficientnet::timm(encoder, inside),
        (WeightsSource::Torchvision, Family::EfficientNet) => efficientnet::torchvision(encoder, inside),
        (WeightsSource::Timm, Family::MobileNetV2) => mobilenet_v2::timm(inside),
        (WeightsSource::Torchvision, Family::MobileNetV2) => Some(inside.to_owned()),
        // The encoders that SMP itself takes from timm: a feature extractor joins `stages.0` to `stages_0`.
        (WeightsSource::Timm, _) => inside.strip_prefix("model.").map(apart),
        (WeightsSource::Torchvision | WeightsSource::Transformers, _) => None,
    }
}

/// `stages_0.downsample.0.weight` as `stages.0.downsample.0.weight`.
fn apart(name: &str) -> String {
    let Some((first, rest)) = name.split_once('.') else { return name.to_owned() };
    match first.rsplit_once('_') {
        Some((part @ ("stages" | "layers" | "stem"), index)) if index.bytes().all(|b| b.is_ascii_digit()) => {
            format!("{part}.{index}.{rest}")
        }
        _ => name.to_owned(),
    }
}

/// That `ours` are the model's tensors in shape and kind, and that none is missing or over.
fn check(
    source: WeightsSource,
    config: &ModelConfig,
    ours: &BTreeMap<String, Tensor>,
    missing: Vec<String>,
    surplus: Vec<String>,
) -> Result<(), NamesError> {
    let classes = classes_of(config, ours)?.unwrap_or(config.classes);
    let outline = ModelOutline::of(&ModelConfig { classes, ..config.clone() })?;
    let mut misshapen = Vec::new();
    for (name, shape, role) in &outline.entries {
        let Some(tensor) = ours.get(name) else { continue };
        let whole_number = *role == Role::Buffer && !tensor.is_floating_point();
        if tensor.size() != *shape || !(tensor.is_floating_point() || whole_number) {
            misshapen.push(format!("{name} ({:?} {:?}, the model has {shape:?})", tensor.kind(), tensor.size()));
        }
    }
    if missing.is_empty() && surplus.is_empty() && misshapen.is_empty() {
        return Ok(());
    }
    let model = config.describe();
    Err(NamesError::Mismatch { source_name: source, model, missing, surplus, misshapen, fitting: None })
}
