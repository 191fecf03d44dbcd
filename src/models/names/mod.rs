//! Converts state dicts between the names of other libraries and those of carpus, in both directions. Nothing is
//! guessed: each tensor has exactly one counterpart, and tensors without a counterpart are reported.

mod classes;
mod efficientnet;
pub mod mmseg;
mod mobilenet_v2;
pub mod transformers;

use std::collections::BTreeMap;

use tch::{Kind, TchError, Tensor};

use super::suggest_config::fitting;
use super::weights::{CLASSIFIERS, adapt_first_layer, advice, listing};
use super::{EncoderKind, Family, ModelConfig, ModelError, ModelOutline, Norm, Role, classes_of, shared};
use crate::closed_enum::closed_enum;

pub use classes::replace_classes;

closed_enum! {
    /// A library whose state dicts can be converted.
    pub enum WeightsSource ("source") {
        /// segmentation_models_pytorch: whole models.
        Smp = "smp",
        /// timm: classifiers and feature extractors, which are encoders here.
        Timm = "timm",
        /// torchvision: classifiers, which are encoders here, and whole segmentation models.
        Torchvision = "torchvision",
        /// transformers: whole models (`segformer-transformers` and `upernet-transformers`).
        Transformers = "transformers",
        /// mmsegmentation: whole models (`segformer-mmseg`, `upernet-transformers` and `hrnet-ocr-mmseg`), only from it.
        Mmseg = "mmseg",
    }
}

/// Why weights could not be converted.
#[derive(Debug, thiserror::Error)]
pub enum NamesError {
    /// The other library has no such model.
    #[error("{source_name} has no {model}; its weights cannot be converted from or to {source_name}")]
    NoCounterpart {
        /// The other library.
        source_name: WeightsSource,
        /// The model.
        model: String,
    },
    /// The other library does not have this norm.
    #[error("{source_name} has {0} only with batch norm, not with norm = {1}", model, norm)]
    NoNorm {
        /// The other library.
        source_name: WeightsSource,
        /// The model.
        model: String,
        /// The norm of the model.
        norm: Norm,
    },
    /// The tensors are not those of the model.
    #[error(
        "the tensors do not fit {model} with the names of {source_name}:{}{}",
        listing(missing, unexpected, mismatched),
        advice(fitting)
    )]
    Mismatch {
        /// The other library.
        source_name: WeightsSource,
        /// The model.
        model: String,
        /// Missing tensors of the model, by the other library's names.
        missing: Vec<String>,
        /// Tensors that the model does not have.
        unexpected: Vec<String>,
        /// Tensors of a wrong shape or number type, with both shapes.
        mismatched: Vec<String>,
        /// The change of the configuration with which they fit: `depth = 3`.
        fitting: Option<String>,
    },
    /// The file has no model that can be converted.
    #[error(
        "the tensors are of no model that carpus converts from {source_name}: found {found}; expected SegFormer          (MixVisionTransformer b0 to b5 with SegformerHead), UPerNet (SwinTransformer tiny, small or base with windows of          7, ConvNeXt tiny, small or base, or ConvNeXtV2 tiny, base or large, with UPerHead) or OCRNet (HRNet w18, w32 or          w48 with FCNHead and OCRHead)"
    )]
    Unrecognised {
        /// The other library.
        source_name: WeightsSource,
        /// What the names of the tensors show.
        found: String,
    },
    /// The file has another model than the configuration.
    #[error("the tensors are of {found}, not of {model}; give --arch and --encoder of the former, or neither")]
    OtherModel {
        /// The model of the file.
        found: String,
        /// The model that was asked for.
        model: String,
    },
    /// A setting of the other library, which no weight shows, differs from that of the model.
    #[error(
        "the checkpoint's configuration has {key} = {found}, but {model} has {key} = {expected}, so its logits would          differ; these weights cannot be converted"
    )]
    Setting {
        /// The key.
        key: &'static str,
        /// Its value in the checkpoint.
        found: String,
        /// Its value in the model.
        expected: String,
        /// The model.
        model: String,
    },
    /// The other library's names are only read.
    #[error("weights can be converted from {source_name}, but not to it")]
    OnlyFrom {
        /// The other library.
        source_name: WeightsSource,
    },
    /// Tensors that are parts of one tensor do not fit each other.
    #[error("{name}: {source}")]
    Tensor {
        /// The tensor that could not be created.
        name: String,
        /// The cause.
        source: TchError,
    },
    /// The model cannot be built.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// An error of libtorch.
    #[error(transparent)]
    Torch(#[from] TchError),
}

/// Weights with converted names.
#[derive(Debug)]
pub struct Renamed {
    /// Tensors by their new names; the number types are unchanged.
    pub tensors: BTreeMap<String, Tensor>,
    /// Names of the tensors that were left out because the other side does not have them: the head of a classifier, or
    /// everything but the encoder.
    pub left_out: Vec<String>,
    /// Whether the first layer was converted from three input channels to one by a sum.
    pub first_layer_summed: bool,
    /// Names of the tensors with new random values, because the file has no such head: the auxiliary head of
    /// `upernet-transformers`, which is only used in training.
    pub fresh: Vec<String>,
}

const ENCODER: &str = "encoder.";
const COUNTER: &str = "num_batches_tracked";

/// SMP's classification head for whole images: `aux_params`.
const CLASSIFICATION: &str = "classification_head.";

/// The auxiliary head of carpus, which no other library has.
const AUXILIARY: &str = "auxiliary_head.";

/// Converts a state dict of `source` to weights of the model `config`. The number of classes is that of the tensors. If
/// `config` has group norm in place of batch norm, running statistics are dropped and affine weights are kept.
///
/// # Errors
/// The variants of [`NamesError`].
pub fn to_carpus(
    source: WeightsSource,
    config: &ModelConfig,
    tensors: BTreeMap<String, Tensor>,
) -> Result<Renamed, NamesError> {
    // Whole models of these libraries have the names of carpus, so a fitting configuration can be searched for.
    let other_names = matches!(source, WeightsSource::Transformers | WeightsSource::Mmseg);
    let ours = is_whole(source, config) && !other_names;
    let given = ours.then(|| {
        let mut given = shared(&tensors);
        given.retain(|name, _| !name.starts_with(CLASSIFICATION));
        given
    });
    renamed_to_carpus(source, config, tensors).map_err(|error| match (error, given) {
        (NamesError::Mismatch { source_name, model, missing, unexpected, mismatched, .. }, Some(given)) => {
            let classes = classes_of(config, &given).ok().flatten().unwrap_or(config.classes);
            let fitting = fitting(&ModelConfig { classes, ..config.clone() }, &given);
            NamesError::Mismatch { source_name, model, missing, unexpected, mismatched, fitting }
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
    if source == WeightsSource::Mmseg {
        let mmseg::Converted { tensors, left_out, missing, unexpected, fresh } = mmseg::to_carpus(&reference, tensors)?;
        let renamed = finish(source, config, &reference, tensors, left_out, missing, unexpected)?;
        return Ok(Renamed { fresh, ..renamed });
    }
    let pairs = pairs(source, &reference)?;
    // Old files have no counters of batches at all; PyTorch then starts at 0.
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
    let (left_out, unexpected): (Vec<_>, Vec<_>) = tensors.into_keys().partition(is_head);
    finish(source, config, &reference, renamed, left_out, missing, unexpected)
}

/// Completes the weights of `reference` to those of `config`, which may have another norm.
fn finish(
    source: WeightsSource,
    config: &ModelConfig,
    reference: &ModelConfig,
    mut renamed: BTreeMap<String, Tensor>,
    left_out: Vec<String>,
    missing: Vec<String>,
    unexpected: Vec<String>,
) -> Result<Renamed, NamesError> {
    let first_layer_summed = sum_first_layer(reference, &mut renamed)?;
    check(source, reference, &renamed, missing, unexpected)?;
    if config.norm != reference.norm {
        let stays = ModelOutline::of(config)?;
        let stays = stays.names();
        renamed.retain(|name, _| stays.contains(name.as_str()));
    }
    Ok(Renamed { tensors: renamed, left_out, first_layer_summed, fresh: Vec::new() })
}

/// Converts a first layer for three channels to the single channel of `config`; returns whether that was necessary.
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

/// Converts weights of the model `config` to a state dict of `source`: the whole model's or its encoder's.
///
/// # Errors
/// The variants of [`NamesError`].
pub fn from_carpus(
    source: WeightsSource,
    config: &ModelConfig,
    mut tensors: BTreeMap<String, Tensor>,
) -> Result<Renamed, NamesError> {
    if source == WeightsSource::Mmseg {
        return Err(NamesError::OnlyFrom { source_name: source });
    }
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
        return Ok(Renamed { tensors, left_out, first_layer_summed: false, fresh: Vec::new() });
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
    let (left_out, unexpected) = tensors.into_keys().partition(has_no_place);
    check(source, config, &kept, missing, unexpected)?;
    let renamed = pairs.into_iter().filter_map(|(ours, theirs)| kept.remove(&ours).map(|tensor| (theirs, tensor)));
    Ok(Renamed { tensors: renamed.collect(), left_out, first_layer_summed: false, fresh: Vec::new() })
}

/// Whether `source` has the whole model and not only its encoder.
fn is_whole(source: WeightsSource, config: &ModelConfig) -> bool {
    let reference = config.architecture.reference();
    match source {
        WeightsSource::Smp | WeightsSource::Mmseg => true,
        WeightsSource::Timm => false,
        WeightsSource::Transformers => reference.starts_with("transformers"),
        WeightsSource::Torchvision => reference.starts_with("torchvision"),
    }
}

/// The name in carpus and in `source` of each tensor that `source` has.
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

/// The name in `source` of the encoder's tensor `inside`; `None` if it does not have the encoder.
fn encoder_name(source: WeightsSource, encoder: EncoderKind, inside: &str) -> Option<String> {
    match (source, encoder.family()) {
        (WeightsSource::Smp, _) => Some(inside.to_owned()),
        (WeightsSource::Timm | WeightsSource::Torchvision, Family::ResNet) => Some(inside.to_owned()),
        (WeightsSource::Timm, Family::EfficientNet) => efficientnet::timm(encoder, inside),
        (WeightsSource::Torchvision, Family::EfficientNet) => efficientnet::torchvision(encoder, inside),
        (WeightsSource::Timm, Family::MobileNetV2) => mobilenet_v2::timm(inside),
        (WeightsSource::Torchvision, Family::MobileNetV2) => Some(inside.to_owned()),
        // Encoders that SMP takes from timm: a feature extractor renames `stages.0` to `stages_0`.
        (WeightsSource::Timm, _) => inside.strip_prefix("model.").map(nested_name),
        (WeightsSource::Torchvision | WeightsSource::Transformers | WeightsSource::Mmseg, _) => None,
    }
}

/// Converts `stages_0.downsample.0.weight` to `stages.0.downsample.0.weight`.
fn nested_name(name: &str) -> String {
    let Some((first, rest)) = name.split_once('.') else { return name.to_owned() };
    match first.rsplit_once('_') {
        Some((part @ ("stages" | "layers" | "stem"), index)) if index.bytes().all(|b| b.is_ascii_digit()) => {
            format!("{part}.{index}.{rest}")
        }
        _ => name.to_owned(),
    }
}

/// Checks that `ours` have the shapes and kinds of the model's tensors, and that none is missing or unexpected.
fn check(
    source: WeightsSource,
    config: &ModelConfig,
    ours: &BTreeMap<String, Tensor>,
    missing: Vec<String>,
    unexpected: Vec<String>,
) -> Result<(), NamesError> {
    let classes = classes_of(config, ours)?.unwrap_or(config.classes);
    let outline = ModelOutline::of(&ModelConfig { classes, ..config.clone() })?;
    let mut mismatched = Vec::new();
    for (name, shape, role) in &outline.entries {
        let Some(tensor) = ours.get(name) else { continue };
        let whole_number = *role == Role::Buffer && !tensor.is_floating_point();
        if tensor.size() != *shape || !(tensor.is_floating_point() || whole_number) {
            mismatched.push(format!("{name} ({:?} {:?}, the model has {shape:?})", tensor.kind(), tensor.size()));
        }
    }
    if missing.is_empty() && unexpected.is_empty() && mismatched.is_empty() {
        return Ok(());
    }
    let model = config.describe();
    Err(NamesError::Mismatch { source_name: source, model, missing, unexpected, mismatched, fitting: None })
}
