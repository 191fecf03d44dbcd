//! Encoders: images in, features at strides 1, 2, 4, … out. A decoder uses only the features and their channels.

mod convnext;
mod efficientnet;
mod efficientnet_v2;
mod hrnet;
mod mix_transformer;
mod mobile_trunk;
mod mobilenet_v2;
pub mod mobilenet_v3;
mod residual;
mod resnet;
mod swin;

use tch::Tensor;

use super::{EncoderKind, Family, ModelConfig, ModelError, Path, Segments};
use crate::violation::Violation;

pub use efficientnet::repeats as efficientnet_repeats;
pub use mobilenet_v2::REPEATS as MOBILENET_V2_REPEATS;

/// A backbone.
pub trait Encoder: Send {
    /// Channels of each feature; index i is the feature at stride `2^i`, index 0 the input itself.
    fn channels(&self) -> &[i64];
    /// Height and width must be multiples of this: the stride of the deepest feature.
    fn stride(&self) -> i64;
    /// The features of `x`, `[B, C, H, W]`: `[B, channels[i], H / 2^i, W / 2^i]` for each i.
    fn forward(&self, x: &Tensor, train: bool) -> Result<Vec<Tensor>, ModelError> {
        self.forward_in(x, train, &mut Segments::kept())
    }
    /// As [`Encoder::forward`], with each block as a segment.
    fn forward_in<'a>(
        &'a self,
        x: &Tensor,
        train: bool,
        segments: &mut Segments<'a>,
    ) -> Result<Vec<Tensor>, ModelError>;
}

/// Prefixes of the names of the weights of each stage, after [`EncoderKind::weights_prefix`], up to `config.depth`.
/// Index i has the weights between the feature before and the feature at stride `2^i` (of the undilated network); it is
/// empty if there is no such feature. Each weight of the encoder is in exactly one stage: weights after the last
/// feature in use are in the last stage.
pub fn stages(kind: EncoderKind, config: &ModelConfig) -> Vec<Vec<String>> {
    let all = match kind.family() {
        Family::ConvNeXt | Family::ConvNeXtV2 => convnext::stages(config),
        Family::EfficientNet => efficientnet::stages(kind, config),
        Family::EfficientNetV2 => efficientnet_v2::stages(kind),
        Family::HrNet => hrnet::stages(config),
        Family::MixTransformer => mix_transformer::stages(),
        Family::MobileNetV2 => mobilenet_v2::stages(),
        Family::MobileNetV3 => mobilenet_v3::stages(),
        Family::ResNet => resnet::stages(),
        Family::Swin => swin::stages(config),
    };
    let depth = config.depth() as usize;
    let mut stages = vec![Vec::new(); depth + 1];
    for (index, names) in all.into_iter().enumerate() {
        stages[index.min(depth)].extend(names);
    }
    stages
}

/// A stage with these prefixes.
fn stage<const N: usize>(names: [&str; N]) -> Vec<String> {
    names.map(String::from).to_vec()
}

/// `NAME.0.`, `NAME.1.`, …, divided into stages that end with the indices `ends`.
fn numbered(name: &str, ends: impl IntoIterator<Item = usize>) -> Vec<Vec<String>> {
    let mut first = 0;
    let up_to = |end: usize| {
        let stage = (first..=end).map(|index| format!("{name}.{index}.")).collect::<Vec<_>>();
        first = end + 1;
        stage
    };
    ends.into_iter().map(up_to).collect()
}

impl ModelConfig {
    /// Prefixes of the names of the weights of the encoder's first `count` stages, which compute the feature at stride
    /// `2^count`. In an HRNet, whose features depend on all branches, they compute the branch at that stride. `depth`
    /// stages are the whole encoder.
    ///
    /// # Errors
    /// A [`Violation`] of `encoder-stages`: there is no such feature, or the model is a whole network.
    pub fn encoder_stages(&self, count: usize) -> Result<Vec<String>, Violation> {
        let refusal = |expected| Violation { key: "encoder-stages".into(), found: count.to_string(), expected };
        let Some(kind) = self.backbone() else {
            let architecture = self.architecture;
            return Err(refusal(format!(
                "no value: {architecture} is a whole network, and encoder-stages needs an encoder of `carpus models \
                 list`; use prefixes of names instead, which `carpus models show {architecture}` prints"
            )));
        };
        let (first, why) = if kind.starts_at_stride_4() { (2, " (its first feature is at stride 4)") } else { (1, "") };
        if !(first..=self.depth()).contains(&(count as i64)) {
            let depth = self.depth();
            return Err(refusal(format!("from {first}{why} to {depth}, the model's depth, for {kind}")));
        }
        let prefix = kind.weights_prefix();
        let names = stages(kind, self).into_iter().take(count + 1).flatten();
        Ok(names.map(|name| format!("{prefix}{name}")).collect())
    }
}

/// Builds the encoder `kind` with the options of `config`.
pub fn build(path: &Path, kind: EncoderKind, config: &ModelConfig) -> Result<Box<dyn Encoder>, ModelError> {
    Ok(match kind.family() {
        Family::ConvNeXt | Family::ConvNeXtV2 => Box::new(convnext::ConvNeXt::new(path, kind, config)?),
        Family::EfficientNet => Box::new(efficientnet::EfficientNet::new(path, kind, config)?),
        Family::EfficientNetV2 => Box::new(efficientnet_v2::build(path, kind, config)?),
        Family::HrNet => Box::new(hrnet::HrNet::new(path, kind, config)?),
        Family::MixTransformer => Box::new(mix_transformer::MixTransformer::new(path, kind, config)?),
        Family::MobileNetV2 => Box::new(mobilenet_v2::MobileNetV2::new(path, config)?),
        Family::MobileNetV3 => Box::new(mobilenet_v3::build(path, config)?),
        Family::ResNet => Box::new(resnet::ResNet::new(path, kind, config)?),
        Family::Swin => Box::new(swin::Swin::new(path, kind, config)?),
    })
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use tch::{Device, Kind};

    use super::*;
    use crate::models::layers::Scheme;
    use crate::models::{Architecture, DecoderKind, EncoderScale, ModelOutline, NetworkKind, Parameters, Role};

    const REDUCED: EncoderScale = EncoderScale { width: 0.5, depth: 0.5 };

    fn on(decoder: DecoderKind, encoder: EncoderKind) -> ModelConfig {
        ModelConfig {
            architecture: Architecture::Decoder(decoder),
            encoder: Some(encoder),
            classes: 1,
            ..ModelConfig::default()
        }
    }

    fn assert_each_weight_once(config: &ModelConfig, kind: EncoderKind) {
        let place = format!("{} of depth {}", config.describe(), config.depth());
        let outline = ModelOutline::of(config).unwrap_or_else(|error| panic!("{place}: {error}"));
        let names: Vec<_> = outline.names().into_iter().filter(|name| name.starts_with("encoder.")).collect();
        let prefixes = config.encoder_stages(config.depth() as usize).unwrap();
        for name in &names {
            let stages = prefixes.iter().filter(|prefix| name.starts_with(prefix.as_str())).count();
            assert_eq!(stages, 1, "{place}: {name}");
        }
        for prefix in &prefixes {
            assert!(prefix.ends_with('.') && names.iter().any(|name| name.starts_with(prefix)), "{place}: {prefix}");
        }
        let empty: Vec<bool> = stages(kind, config).iter().map(Vec::is_empty).collect();
        assert!(empty[0] && empty[1] == kind.starts_at_stride_4() && !empty[2..].contains(&true), "{place}: {empty:?}");
    }

    #[test]
    fn stages_have_each_weight_once() {
        use DecoderKind::{
            DeepLabV3, HrNetOcr, HrNetOcrMmseg, SegformerMmseg, SegformerTransformers, Unet, UperNetTransformers,
        };
        for kind in EncoderKind::ALL.iter().copied() {
            for depth in 3..=5 {
                let config = ModelConfig { depth: Some(depth), ..on(Unet, kind) };
                assert_each_weight_once(&config, kind);
                if kind.family().scales() {
                    assert_each_weight_once(&ModelConfig { encoder_scale: Some(REDUCED), ..config }, kind);
                }
            }
            for architecture in
                [DeepLabV3, HrNetOcr, HrNetOcrMmseg, SegformerMmseg, SegformerTransformers, UperNetTransformers]
            {
                let config = on(architecture, kind);
                if config.validate().is_ok() {
                    assert_each_weight_once(&config, kind);
                }
            }
        }
    }

    /// Gradients of a feature reach the weights of its stage and of those before it, and no others. (HRNet's reach all,
    /// so it is not tested here.)
    #[test]
    fn a_feature_comes_from_its_stage_and_those_before() {
        use EncoderKind::*;
        const NEVER_RUN: [&str; 2] = ["encoder._conv_head.", "encoder._bn1."];
        let whole = [
            EfficientNetB0,
            EfficientNetB3,
            EfficientNetV2S,
            MobileNetV2,
            MobileNetV3Large,
            ResNet18,
            MitB0,
            SwinTiny,
            ConvNeXtTiny,
            ConvNeXtV2Tiny,
        ];
        let whole = whole.into_iter().map(|kind| on(DecoderKind::Unet, kind));
        let reduced = [EfficientNetB0, EfficientNetB3, ResNet18, MitB0]
            .into_iter()
            .map(|kind| ModelConfig { encoder_scale: Some(REDUCED), ..on(DecoderKind::Unet, kind) });
        let dilated = [EfficientNetB0, MobileNetV2, EfficientNetV2S, ResNet18, ConvNeXtTiny]
            .into_iter()
            .map(|kind| on(DecoderKind::DeepLabV3, kind));
        for config in whole.chain(reduced).chain(dilated) {
            let kind = config.backbone().unwrap();
            let registry = RefCell::new(Parameters::unfilled(Device::Cpu));
            let root = Path::root(&registry, config.norm, Scheme::Torch);
            let encoder = build(&(&root / "encoder"), kind, &config).unwrap();
            let x = Tensor::zeros([1, 3, 64, 64], (Kind::Float, Device::Cpu));
            for count in (1..=5).filter(|count| *count > 1 || !kind.starts_at_stride_4()) {
                // Gradients accumulate from one feature to the next.
                encoder.forward(&x, false).unwrap()[count].sum(Kind::Float).backward();
                let prefixes = config.encoder_stages(count).unwrap();
                for entry in registry.borrow().entries().iter().filter(|entry| entry.role == Role::Parameter) {
                    let held = prefixes.iter().any(|prefix| entry.name.starts_with(prefix));
                    let runs = !NEVER_RUN.iter().any(|prefix| entry.name.starts_with(prefix));
                    let place = format!("{}, stage {count}: {}", config.describe(), entry.name);
                    assert_eq!(entry.tensor.grad().defined(), held && runs, "{place}");
                }
            }
        }
    }

    #[test]
    fn invalid_stages_are_refused() {
        let config = ModelConfig { depth: Some(4), ..on(DecoderKind::Unet, EncoderKind::ResNet18) };
        assert_eq!(config.encoder_stages(1).unwrap(), ["encoder.conv1.", "encoder.bn1."]);
        // Weights beyond the depth belong to the last stage in use.
        assert_eq!(config.encoder_stages(4).unwrap()[4..], ["encoder.layer3.", "encoder.layer4."]);
        for count in [0, 5] {
            let error = config.encoder_stages(count).unwrap_err().to_string();
            assert!(error.contains("from 1 to 4, the model's depth, for resnet18"), "{error}");
        }
        let error = on(DecoderKind::Unet, EncoderKind::MitB0).encoder_stages(1).unwrap_err().to_string();
        assert!(error.contains("from 2 (its first feature is at stride 4) to 5"), "{error}");
        let whole = ModelConfig { architecture: Architecture::Network(NetworkKind::NnUnet), ..ModelConfig::default() };
        let error = whole.encoder_stages(1).unwrap_err().to_string();
        assert!(error.contains("carpus models show nnunet"), "{error}");
    }
}
