use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, SafeTensorError};
use tch::{TchError, Tensor};

use super::parameters::Parameters;
use super::tensor_file::read_tensors;

/// Why weights could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum WeightsError {
    /// The file could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// The file is not a safetensors file.
    #[error("{}: not a safetensors file: {source}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: SafeTensorError,
    },
    /// A tensor's number type is not supported.
    #[error("{}: tensor {name} is of type {dtype:?}; carpus reads bool, integers, half, bfloat16, float and double", path.display())]
    Type {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// Its type.
        dtype: Dtype,
    },
    /// A weight or a statistic is NaN or infinite.
    #[error("{}: tensor {name} has values that are not finite (NaN or infinity); the training that wrote it diverged", path.display())]
    NotFinite {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
    },
    /// The tensors are not those of the model.
    #[error(
        "{}: the tensors do not fit the model:{}{}",
        path.display(), listing(missing, unexpected, mismatched), advice(fitting)
    )]
    Mismatch {
        /// The file.
        path: PathBuf,
        /// Tensors of the model that the file does not have.
        missing: Vec<String>,
        /// Tensors of the file that the model does not have.
        unexpected: Vec<String>,
        /// Tensors of a wrong shape or number type, with both shapes; and tensors that differ although they are the
        /// same tensor in the model.
        mismatched: Vec<String>,
        /// The change of the configuration with which they fit: `depth = 3`.
        fitting: Option<String>,
    },
    /// The weights do not fit the reduced encoder.
    #[error(
        "published weights do not fit a reduced encoder (encoder-scale {scale}): train it from scratch, remove \
         `encoder-scale`, or use weights of the same scale\n{mismatch}"
    )]
    Reduced {
        /// Factors of width and depth.
        scale: String,
        /// The mismatch.
        mismatch: Box<WeightsError>,
    },
    /// The weights do not fit the encoder under its own names.
    #[error(
        "{mismatch}\nif these are weights with another library's names, convert them first: carpus models convert {} \
         --from timm|torchvision --arch {architecture} --encoder {encoder} --out W.safetensors", path.display()
    )]
    Encoder {
        /// The file.
        path: PathBuf,
        /// The model's architecture.
        architecture: super::Architecture,
        /// The encoder.
        encoder: super::EncoderKind,
        /// The mismatch.
        mismatch: Box<WeightsError>,
    },
    /// The file is a Python pickle.
    #[error(
        "{}: this is a pickle (PyTorch's .pt or .pth), which runs code when it is read; carpus reads safetensors. \
         Convert it once: python assets/pt_to_safetensors.py IN.pt OUT.safetensors", path.display()
    )]
    Pickle {
        /// The file.
        path: PathBuf,
    },
    /// The model itself cannot be built.
    #[error(transparent)]
    Model(#[from] super::ModelError),
    /// An error of libtorch.
    #[error("{}: {source}", path.display())]
    Torch {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: TchError,
    },
}

/// The three lists as text, with the first names of each.
pub(super) fn listing(missing: &[String], unexpected: &[String], mismatched: &[String]) -> String {
    const SHOWN: usize = 10;
    let mut text = String::new();
    for (what, names) in [("missing", missing), ("unexpected", unexpected), ("with a wrong shape or type", mismatched)]
    {
        if names.is_empty() {
            continue;
        }
        text += &format!("\n  {} {what}: {}", names.len(), names[..names.len().min(SHOWN)].join(", "));
        if names.len() > SHOWN {
            text += ", …";
        }
    }
    text
}

/// How to fix a mismatch, if there is a known way.
pub(super) fn advice(fitting: &Option<String>) -> String {
    fitting.as_ref().map(|change| format!("\n  they fit a model with {change}")).unwrap_or_default()
}

/// Parts of a model that do not change its logits until they are trained: weights of a model without them can be loaded
/// into a model that has them.
const NEUTRAL: [&str; 4] = ["metadata.", "multi_scale_attention.", "auxiliary_head.", "aux_classifier."];

/// What was converted when a model loaded a file of weights.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    /// Number of batch norms in the file that are another norm in the model.
    pub norms_converted: usize,
    /// Parts of the model that are missing in the file; they keep their values.
    pub parts_kept: Vec<&'static str>,
}

/// Loads the `tensors` that were read from `path` into `parameters`, completely or not at all; see
/// [`super::Model::load`].
pub(super) fn load(
    parameters: &Parameters,
    path: &Path,
    mut tensors: BTreeMap<String, Tensor>,
) -> Result<Loaded, WeightsError> {
    let parts_kept = keep_absent(parameters, &mut tensors);
    let norms_converted = take(parameters, path, tensors)?;
    Ok(Loaded { norms_converted, parts_kept })
}

/// Whether [`load`] would succeed with `tensors`; nothing changes.
pub(super) fn fit(parameters: &Parameters, tensors: &BTreeMap<String, Tensor>) -> bool {
    let mut tensors = super::shared(tensors);
    keep_absent(parameters, &mut tensors);
    drop_statistics(parameters, "", &mut tensors);
    matched(parameters, "", Path::new(""), tensors).is_ok()
}

/// Adds the model's own tensors to `tensors` for each optional part that is missing there; returns the names of these
/// parts.
fn keep_absent(parameters: &Parameters, tensors: &mut BTreeMap<String, Tensor>) -> Vec<&'static str> {
    // This comes first, before the model's own counters are added to those of the file.
    add_counters(parameters, "", tensors);
    let mut parts_kept = Vec::new();
    for part in NEUTRAL {
        let own = parameters.entries().iter().filter(|entry| entry.name.starts_with(part));
        let own: Vec<_> = own.map(|entry| (entry.name.clone(), entry.tensor.shallow_clone())).collect();
        if !own.is_empty() && !tensors.keys().any(|name| name.starts_with(part)) {
            tensors.extend(own);
            parts_kept.push(part.trim_end_matches('.'));
        }
    }
    parts_kept
}

/// Copies the `tensors` that were read from `path` into `parameters`, completely or not at all; returns the number of
/// converted norms.
pub(super) fn take(
    parameters: &Parameters,
    path: &Path,
    mut tensors: BTreeMap<String, Tensor>,
) -> Result<usize, WeightsError> {
    add_counters(parameters, "", &mut tensors);
    let converted = drop_statistics(parameters, "", &mut tensors);
    assign(parameters, "", path, tensors)?;
    Ok(converted)
}

const COUNTER: &str = "num_batches_tracked";

/// Adds counters of zero if the file has none at all: old files were written before batch norms counted their batches.
/// PyTorch accepts them too.
fn add_counters(parameters: &Parameters, prefix: &str, tensors: &mut BTreeMap<String, Tensor>) {
    if !tensors.keys().any(|name| name.ends_with(COUNTER)) {
        let entries = parameters.entries().iter();
        let counters = entries.filter_map(|e| Some((e.name.strip_prefix(prefix)?, &e.tensor)));
        // A part that the file does not have gets no counters, so that it is still recognised as absent.
        let absent: Vec<&str> =
            NEUTRAL.into_iter().filter(|part| !tensors.keys().any(|name| name.starts_with(part))).collect();
        let wanted = |name: &str| name.ends_with(COUNTER) && !absent.iter().any(|part| name.starts_with(part));
        let counters = counters.filter(|(name, _)| wanted(name));
        tensors.extend(counters.map(|(name, tensor)| (name.to_owned(), tensor.zeros_like())));
    }
}

/// Copies `tensors` into those of `parameters` whose names start with `prefix` (which the file's names do not have).
fn assign(
    parameters: &Parameters,
    prefix: &str,
    path: &Path,
    tensors: BTreeMap<String, Tensor>,
) -> Result<(), WeightsError> {
    let mut pairs = matched(parameters, prefix, path, tensors)?;
    tch::no_grad(|| pairs.iter_mut().try_for_each(|(to, from)| to.f_copy_(from)))
        .map_err(|source| WeightsError::Torch { path: path.into(), source })
}

/// Each of `parameters` whose name starts with `prefix`, paired with its tensor in `tensors`.
fn matched(
    parameters: &Parameters,
    prefix: &str,
    path: &Path,
    mut tensors: BTreeMap<String, Tensor>,
) -> Result<Vec<(Tensor, Tensor)>, WeightsError> {
    let mut missing = Vec::new();
    let mut mismatched = Vec::new();
    let mut pairs = Vec::new();
    // A tensor may have any of its names; if it occurs under several names, the values must be equal.
    let mut found: Vec<Option<(&str, Tensor)>> = parameters.entries().iter().map(|_| None).collect();
    for (name, entry) in parameters.names() {
        let Some(name) = name.strip_prefix(prefix) else { continue };
        let Some(tensor) = tensors.remove(name) else { continue };
        match &found[*entry] {
            None => found[*entry] = Some((name, tensor)),
            Some((first, same)) if tensor.size() != same.size() || tensor != *same => {
                mismatched.push(format!("{name} (the same tensor as {first} in the model, but the values differ)"));
            }
            Some(_) => {}
        }
    }
    for (entry, found) in parameters.entries().iter().zip(found) {
        let Some(name) = entry.name.strip_prefix(prefix) else { continue };
        let Some((_, tensor)) = found else {
            missing.push(name.to_owned());
            continue;
        };
        let (has, wants) = (tensor.size(), entry.tensor.size());
        if has != wants || is_float(&tensor) != is_float(&entry.tensor) {
            mismatched.push(format!(
                "{name} ({:?} {has:?}, the model has {:?} {wants:?})",
                tensor.kind(),
                entry.tensor.kind()
            ));
            continue;
        }
        if is_float(&tensor)
            && !all_finite(&tensor).map_err(|source| WeightsError::Torch { path: path.into(), source })?
        {
            return Err(WeightsError::NotFinite { path: path.into(), name: name.to_owned() });
        }
        pairs.push((entry.tensor.shallow_clone(), tensor));
    }
    let unexpected: Vec<String> = tensors.into_keys().collect();
    if !(missing.is_empty() && unexpected.is_empty() && mismatched.is_empty()) {
        return Err(WeightsError::Mismatch { path: path.into(), missing, unexpected, mismatched, fitting: None });
    }
    Ok(pairs)
}

/// Whether no value is NaN or infinite.
pub(crate) fn all_finite(tensor: &Tensor) -> Result<bool, tch::TchError> {
    Ok(tensor.f_isfinite()?.f_all()?.f_int64_value(&[])? != 0)
}

/// Removes from `tensors` the statistics of the batch norms that are another norm in `parameters`: mean, variance and
/// the counter (which old files do not have). The affine weights of the norm must exist in `parameters`. Returns the
/// number of norms.
fn drop_statistics(parameters: &Parameters, prefix: &str, tensors: &mut BTreeMap<String, Tensor>) -> usize {
    const STATISTICS: [&str; 3] = ["running_mean", "running_var", COUNTER];
    let held = |layer: &str, what: &str| parameters.get(&format!("{prefix}{layer}{what}")).is_some();
    let layers: Vec<String> = tensors.keys().filter_map(|n| n.strip_suffix(STATISTICS[0]).map(str::to_owned)).collect();
    let replaced = |layer: &&String| {
        let whole = STATISTICS[..2].iter().all(|s| tensors.contains_key(&format!("{layer}{s}")));
        whole && held(layer, "weight") && held(layer, "bias") && !STATISTICS.iter().any(|s| held(layer, s))
    };
    let replaced: Vec<String> = layers.iter().filter(replaced).cloned().collect();
    for (layer, statistic) in replaced.iter().flat_map(|l| STATISTICS.map(|s| (l, s))) {
        tensors.remove(&format!("{layer}{statistic}"));
    }
    replaced.len()
}

fn is_float(tensor: &Tensor) -> bool {
    tensor.is_floating_point()
}

/// The prefix of the encoder's tensors in a whole model.
const ENCODER: &str = "encoder.";

/// Prefixes of classifiers and the layers before them, in the libraries that publish encoders.
pub(super) const CLASSIFIERS: [&str; 12] = [
    "fc.",
    "_fc.",
    "classifier.",
    "head.",
    "norm.",
    "last_linear.",
    "conv_head.",
    "bn2.",
    "norm_head.",
    "incre_modules.",
    "downsamp_modules.",
    "final_layer.",
];

/// Prefixes of stages of a published encoder that may be beyond the model's depth.
const DEEPER: [&str; 4] = ["stages_2.", "stages_3.", "layers_2.", "layers_3."];

/// Loads an encoder's weights into the tensors whose names start with `prefix`; see [`super::Model::load_encoder`].
pub(super) fn load_encoder(parameters: &Parameters, prefix: &str, path: &Path) -> Result<(), WeightsError> {
    let mut tensors = read_tensors(path)?;
    let names: Vec<&str> = parameters.entries().iter().filter_map(|e| e.name.strip_prefix(prefix)).collect();
    let held = |part: &str| names.iter().any(|name| name.starts_with(part));
    // The prefix in a whole model, in segmentation_models_pytorch's encoder alone, and in torchvision's classifiers.
    let wrappings = [prefix, prefix.strip_prefix(ENCODER).unwrap_or_default(), "features."];
    let wrapped = |w: &&str| !w.is_empty() && !held(w) && tensors.keys().any(|name| name.starts_with(w));
    if let Some(wrapping) = wrappings.into_iter().find(wrapped) {
        let inside = |(name, tensor): (String, Tensor)| name.strip_prefix(wrapping).map(|n| (n.to_owned(), tensor));
        tensors = tensors.into_iter().filter_map(inside).collect();
    }
    tensors = tensors.into_iter().map(|(name, tensor)| (flattened(name, held), tensor)).collect();
    for part in CLASSIFIERS.iter().chain(&DEEPER).filter(|part| !held(part)) {
        tensors.retain(|name, _| !name.starts_with(part));
    }
    let mut entries = parameters.entries().iter().filter_map(|e| Some((e.name.strip_prefix(prefix)?, &e.tensor)));
    add_counters(parameters, prefix, &mut tensors);
    // The first weight of an encoder is that of its first convolution.
    if let Some((name, first)) = entries.find(|(_, tensor)| tensor.dim() == 4)
        && let Some(tensor) = tensors.get_mut(name)
    {
        *tensor = adapt_first_layer(tensor, first.size()[1])
            .map_err(|source| WeightsError::Torch { path: path.into(), source })?;
    }
    // Published encoders have batch norms.
    drop_statistics(parameters, prefix, &mut tensors);
    assign(parameters, prefix, path, tensors)
}

/// Converts the name of a tensor in a whole timm network to its name in timm's feature extractor, which flattens
/// sequences at the top level: `stages.0.blocks…` becomes `stages_0.blocks…`. The name is unchanged if the model does
/// not have the flat name.
fn flattened(name: String, has: impl Fn(&str) -> bool) -> String {
    let mut parts = name.splitn(3, '.');
    let (Some(first), Some(index), Some(rest)) = (parts.next(), parts.next(), parts.next()) else { return name };
    let flat = |index: &str| format!("{first}_{index}.");
    let is_sequence = index.bytes().all(|b| b.is_ascii_digit()) && has(&flat("0"));
    if is_sequence { format!("{}{rest}", flat(index)) } else { name }
}

/// Converts the weight `[C, 3, h, w]` of a first layer to one input channel as in timm: the sum over the three
/// channels, which gives the same result on a grey image. Any other weight is unchanged.
pub(super) fn adapt_first_layer(weight: &Tensor, channels: i64) -> Result<Tensor, TchError> {
    match (&weight.size()[..], channels) {
        ([_, 3, _, _], 1) => weight.f_sum_dim_intlist([1i64].as_slice(), true, weight.kind()),
        _ => Ok(weight.shallow_clone()),
    }
}
