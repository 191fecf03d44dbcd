use std::collections::BTreeMap;

use tch::{Device, Tensor};

use super::{
    Architecture, Attention, EncoderKind, MetadataOptions, Model, ModelConfig, MultiScaleAttentionOptions, Parameters,
    PointRendOptions, classes_of, weights,
};

/// What must be another in `config` for a model to take `tensors`, as a configuration says it: `depth = 3`. Looked for are
/// the number of classes, one other key, and the architecture with its encoder; `None` where none of these does.
pub(super) fn fitting(config: &ModelConfig, tensors: &BTreeMap<String, Tensor>) -> Option<String> {
    let variants = one_key_apart(config).into_iter().chain(other_models(config));
    variants.filter_map(|(change, variant)| with_classes(config, change, variant, tensors)).find_map(
        |(change, variant)| {
            let model = Model::with(&variant, Parameters::unfilled(Device::Cpu)).ok()?;
            weights::fit(model.parameters(), tensors).then_some(change)
        },
    )
}

/// `config` with one key another, and the key with its value; first as it is, with nothing to say.
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
    let depths = [3, 4, 5].map(|depth| (format!("depth = {depth}"), ModelConfig { depth, ..own() }));
    let channels = [1, 3].map(|n| (format!("in-channels = {n}"), ModelConfig { in_channels: n, ..own() }));
    let sizes =
        [24, 36, 48].map(|size| (format!("feature-size = {size}"), ModelConfig { feature_size: Some(size), ..own() }));
    variants.extend(depths.into_iter().chain(channels).chain(sizes));
    variants
}

/// Every architecture on every encoder, as they are without options.
fn other_models(config: &ModelConfig) -> impl Iterator<Item = (String, ModelConfig)> {
    let plain = ModelConfig { in_channels: config.in_channels, norm: config.norm, ..ModelConfig::default() };
    Architecture::ALL.iter().flat_map(move |&architecture| {
        let plain = ModelConfig { architecture, ..plain.clone() };
        let encoders: Vec<_> = match architecture.default_encoder() {
            Some(_) => EncoderKind::ALL.iter().copied().map(Some).collect(),
            None => vec![None],
        };
        encoders.into_iter().map(move |encoder| {
            let on = encoder.map(|encoder| format!(", encoder = \"{encoder}\"")).unwrap_or_default();
            (format!("architecture = \"{architecture}\"{on}"), ModelConfig { encoder, ..plain.clone() })
        })
    })
}

/// `variant` with the number of classes that `tensors` are for, and all that is another than in `config`; `None` where
/// that is nothing, or where `tensors` have no head of `variant`.
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
