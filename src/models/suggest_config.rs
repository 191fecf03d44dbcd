use std::collections::BTreeMap;

use tch::{Device, Tensor};

use super::{
    Architecture, Attention, DecoderKind, EncoderFamilies, EncoderKind, MetadataOptions, Model, ModelConfig,
    ModelOutline, MultiScaleAttentionOptions, Parameters, PointRendOptions, Role, WeightsError, classes_of, weights,
};

/// A change of `config` with which the model fits `tensors`, in the form of the configuration: `depth = 3`. Tries the
/// number of classes, one other key, and the architecture with its encoder and depth; `None` if nothing fits.
pub(super) fn fitting(config: &ModelConfig, tensors: &BTreeMap<String, Tensor>) -> Option<String> {
    let variants = one_key_apart(config).into_iter().chain(other_models(config, tensors));
    variants.filter_map(|(change, variant)| with_classes(config, change, variant, tensors)).find_map(
        |(change, variant)| {
            let model = Model::with(&variant, Parameters::unfilled(Device::Cpu)).ok()?;
            weights::fit(model.parameters(), tensors).then_some(change)
        },
    )
}

impl WeightsError {
    /// Adds to a mismatch of `tensors` with a model of `config` the configuration that they would fit; other errors are
    /// unchanged.
    pub(super) fn with_fitting(self, config: &ModelConfig, tensors: &BTreeMap<String, Tensor>) -> Self {
        match self {
            WeightsError::Mismatch { path, missing, unexpected, mismatched, .. } => {
                WeightsError::Mismatch { path, missing, unexpected, mismatched, fitting: fitting(config, tensors) }
            }
            other => other,
        }
    }
}

/// Variants of `config` with one key changed, and the key with its value; the first variant is `config` itself with an
/// empty text.
fn one_key_apart(config: &ModelConfig) -> Vec<(String, ModelConfig)> {
    let own = || config.clone();
    let mut variants = vec![
        (String::new(), own()),
        (format!("auxiliary = {}", !config.auxiliary), ModelConfig { auxiliary: !config.auxiliary, ..own() }),
        ("attention = \"scse\"".into(), ModelConfig { attention: Some(Attention::Scse), ..own() }),
        ("no attention".into(), ModelConfig { attention: None, ..own() }),
        ("deep-supervision = true".into(), ModelConfig { deep_supervision: Some(true), ..own() }),
        ("deep-supervision = false".into(), ModelConfig { deep_supervision: Some(false), ..own() }),
        ("metadata = true".into(), ModelConfig { metadata: Some(MetadataOptions::default()), ..own() }),
        ("metadata = false".into(), ModelConfig { metadata: None, ..own() }),
        (
            "multi-scale-attention = true".into(),
            ModelConfig { multi_scale_attention: Some(MultiScaleAttentionOptions::default()), ..own() },
        ),
        ("multi-scale-attention = false".into(), ModelConfig { multi_scale_attention: None, ..own() }),
        ("point-rend = true".into(), ModelConfig { point_rend: Some(PointRendOptions::default()), ..own() }),
        ("point-rend = false".into(), ModelConfig { point_rend: None, ..own() }),
    ];
    let depths = [3, 4, 5].map(|depth| (format!("depth = {depth}"), ModelConfig { depth: Some(depth), ..own() }));
    let channels = [1, 3].map(|n| (format!("in-channels = {n}"), ModelConfig { in_channels: n, ..own() }));
    let sizes =
        [24, 36, 48].map(|size| (format!("feature-size = {size}"), ModelConfig { feature_size: Some(size), ..own() }));
    variants.extend(depths.into_iter().chain(channels).chain(sizes));
    variants
}

/// Every architecture with each encoder whose weights are in `tensors`, without options.
fn other_models(config: &ModelConfig, tensors: &BTreeMap<String, Tensor>) -> Vec<(String, ModelConfig)> {
    let plain = ModelConfig { in_channels: config.in_channels, norm: config.norm, ..ModelConfig::default() };
    let all = EncoderKind::ALL.iter().flat_map(|encoder| [5, 4, 3].map(|depth| (*encoder, depth)));
    let held: Vec<(EncoderKind, i64)> =
        all.filter(|(encoder, depth)| has_encoder(&plain, *encoder, *depth, tensors)).collect();
    let mut models = Vec::new();
    for architecture in Architecture::all() {
        let plain = ModelConfig { architecture, ..plain.clone() };
        if architecture.default_encoder().is_none() {
            models.push((format!("architecture = \"{architecture}\""), plain));
            continue;
        }
        // Its encoders may have other tensors than encoders of the same name in other architectures.
        let own = architecture.own_encoders().map(|EncoderFamilies { families, .. }| {
            let own = EncoderKind::ALL.iter().filter(|encoder| families.contains(&encoder.family()));
            own.map(|encoder| (*encoder, 5)).collect()
        });
        for (encoder, depth) in own.as_ref().unwrap_or(&held).iter().copied() {
            let mut change = format!("architecture = \"{architecture}\", encoder = \"{encoder}\"");
            if depth != config.depth.unwrap_or(architecture.default_depth()) {
                change += &format!(", depth = {depth}");
            }
            models.push((change, ModelConfig { encoder: Some(encoder), depth: Some(depth), ..plain.clone() }));
        }
    }
    models
}

/// Whether every weight of `encoder` is in `tensors`, tested with a U-Net, which accepts any encoder.
fn has_encoder(plain: &ModelConfig, encoder: EncoderKind, depth: i64, tensors: &BTreeMap<String, Tensor>) -> bool {
    let unet = ModelConfig {
        architecture: Architecture::Decoder(DecoderKind::Unet),
        encoder: Some(encoder),
        depth: Some(depth),
        ..plain.clone()
    };
    let Ok(outline) = ModelOutline::of(&unet) else { return false };
    let mut weights = outline
        .entries
        .iter()
        .filter(|(name, _, role)| *role == Role::Parameter && name.starts_with(encoder.weights_prefix()));
    weights.all(|(name, shape, _)| tensors.get(name).is_some_and(|tensor| tensor.size() == *shape))
}

/// `variant` with the number of classes of `tensors`, and all its changes from `config`; `None` if there are no
/// changes, or if `tensors` have no head of `variant`.
fn with_classes(
    config: &ModelConfig,
    change: String,
    variant: ModelConfig,
    tensors: &BTreeMap<String, Tensor>,
) -> Option<(String, ModelConfig)> {
    let classes = classes_of(&variant, tensors).ok()??;
    let number = (classes != config.classes).then(|| format!("classes = {classes}"));
    let changes: Vec<String> = number.into_iter().chain((!change.is_empty()).then_some(change)).collect();
    (!changes.is_empty()).then(|| (changes.join(", "), ModelConfig { classes, ..variant }))
}
