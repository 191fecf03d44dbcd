//! Settings of a model that change its logits without a trace in its weights.

use crate::models::names::NamesError;
use crate::models::{EncoderKind, Family, ModelConfig};

/// Key and values in the models of carpus.
const SETTINGS: [(&str, &[&str]); 3] = [
    ("align_corners", &["False"]),
    ("interpolate_mode", &["'bilinear'"]),
    ("pool_scales", &["(1,2,3,6)", "[1,2,3,6]"]),
];

/// PyTorch's epsilon of norms, if the configuration gives none.
const DEFAULT_EPSILON: &str = "1e-05";

/// Checks the text of an mmsegmentation configuration (`meta.cfg` of a checkpoint) for settings that change the logits
/// and that the weights do not show.
///
/// # Errors
/// [`NamesError::Setting`]: a setting has another value than in the model `config`.
pub fn check_settings(config: &ModelConfig, text: &str) -> Result<(), NamesError> {
    let heads: &[&str] = &["[1,2,5,8]", "(1,2,5,8)"];
    let is_mix_transformer = config.backbone().map(EncoderKind::family) == Some(Family::MixTransformer);
    let heads = is_mix_transformer.then_some(("num_heads", heads));
    let text = compact(text);
    for (key, values) in SETTINGS.into_iter().chain(heads) {
        let mark = format!("{key}=");
        if let Some(value) = values_of(&text, &mark).find(|value| !values.contains(value)) {
            return Err(differs(config, key, value, values[0]));
        }
    }
    for norm in values_of(&text, "norm_cfg=") {
        let expected = epsilon(config, norm);
        let found = values_of(norm, "eps=").next().unwrap_or(DEFAULT_EPSILON);
        if found.parse::<f64>().ok() != expected.parse().ok() {
            return Err(differs(config, "norm_cfg", norm, &format!("eps={expected}")));
        }
    }
    let is_known = |activation: &&str| ["'ReLU'", "'GELU'"].iter().any(|name| activation.contains(name));
    if let Some(activation) = values_of(&text, "act_cfg=").find(|activation| !is_known(activation)) {
        return Err(differs(config, "act_cfg", activation, "ReLU in heads and HRNet, GELU in other backbones"));
    }
    Ok(())
}

fn differs(config: &ModelConfig, key: &'static str, found: &str, expected: &str) -> NamesError {
    NamesError::Setting { key, found: found.to_owned(), expected: expected.to_owned(), model: config.describe() }
}

/// The text without spaces and line breaks, without the commas that the formatter of configurations puts before closing
/// brackets, and with a comma between statements.
fn compact(text: &str) -> String {
    let mut compact = String::new();
    for line in text.lines() {
        if line.starts_with(char::is_alphabetic) {
            compact.push(',');
        }
        compact.extend(line.chars().filter(|c| !c.is_whitespace()));
    }
    compact.replace(",)", ")").replace(",]", "]")
}

/// Epsilon of the norms in the model `config` that the setting `norm` is about.
fn epsilon(config: &ModelConfig, norm: &str) -> &'static str {
    let is_layer_norm = norm.contains("'LN'") || norm.contains("'LN2d'");
    match config.backbone().map(EncoderKind::family) {
        Some(Family::MixTransformer | Family::ConvNeXt | Family::ConvNeXtV2) if is_layer_norm => "1e-06",
        _ => DEFAULT_EPSILON,
    }
}

/// The values after each `mark` (`key=`) in `text`.
fn values_of<'a>(text: &'a str, mark: &'a str) -> impl Iterator<Item = &'a str> {
    text.match_indices(mark).filter_map(move |(start, _)| {
        let is_end_of_a_key = text[..start].ends_with(|c: char| c.is_alphanumeric() || c == '_');
        (!is_end_of_a_key).then(|| first_value(&text[start + mark.len()..]))
    })
}

/// The value at the beginning of `text`, up to the comma or bracket that ends it.
fn first_value(text: &str) -> &str {
    let mut depth = 0;
    let end = text.find(|c| {
        depth += i32::from("([{".contains(c)) - i32::from(")]}".contains(c));
        depth < 0 || (depth == 0 && c == ',')
    });
    &text[..end.unwrap_or(text.len())]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::{Architecture, DecoderKind};

    #[test]
    fn settings_that_no_weight_shows_are_checked() {
        let config = ModelConfig {
            architecture: Architecture::Decoder(DecoderKind::SegformerMmseg),
            encoder: Some(EncoderKind::MitB0),
            ..ModelConfig::default()
        };
        let text = "model = dict(\n    decode_head=dict(align_corners=False, pool_scales=(\n        1,\n        2,\n        \
                    3,\n        6,\n    ), num_heads=[1, 2, 5, 8]),\n    not_align_corners=True)";
        check_settings(&config, text).unwrap();
        for (old, new) in [("corners=False", "corners=True"), ("6,", "8,"), ("[1, 2, 5, 8]", "[1, 2, 4, 8]")] {
            let error = check_settings(&config, &text.replace(old, new)).unwrap_err().to_string();
            assert!(error.contains("segformer-mmseg"), "{error}");
        }
        let swin = ModelConfig {
            architecture: Architecture::Decoder(DecoderKind::UperNetTransformers),
            encoder: Some(EncoderKind::SwinTiny),
            ..ModelConfig::default()
        };
        check_settings(&swin, "num_heads=[3, 6, 12, 24]").unwrap();
        let norm = |eps: &str| format!("norm_cfg=dict({eps}requires_grad=True, type='LN'), act_cfg=dict(type='GELU')");
        for (eps, right) in [("eps=1e-06, ", &config), ("eps=1e-5, ", &swin), ("", &swin)] {
            for model in [&config, &swin] {
                assert_eq!(check_settings(model, &norm(eps)).is_ok(), std::ptr::eq(model, right), "{eps}");
            }
        }
        // The setting of a norm ends where the next statement begins.
        let statements = "norm_cfg = dict(\n    type='SyncBN',\n)\noptimizer = dict(eps=1e-08)\n";
        check_settings(&config, statements).unwrap();
        let error = check_settings(&swin, "act_cfg=dict(type='Swish')").unwrap_err().to_string();
        assert!(error.contains("dict(type='Swish')"), "{error}");
    }
}
