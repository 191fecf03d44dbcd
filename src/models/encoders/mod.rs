//! Encoders: an image in, features at strides 1, 2, 4, … out. Decoders read only that and the channels.

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

use super::{EncoderKind, ModelConfig, ModelError, Path};

pub use efficientnet::repeats as efficientnet_repeats;
pub use mobilenet_v2::REPEATS as MOBILENET_V2_REPEATS;

/// A backbone.
pub trait Encoder: Send {
    /// Channels of each feature; index i is the feature at stride `2^i`, index 0 the input itself.
    fn channels(&self) -> &[i64];
    /// What height and width must be multiples of: the stride of the deepest feature.
    fn stride(&self) -> i64;
    /// The features of `x`, `[B, C, H, W]`: `[B, channels[i], H / 2^i, W / 2^i]` for each i.
    fn forward(&self, x: &Tensor, train: bool) -> Result<Vec<Tensor>, ModelError>;
}

/// The encoder `kind` as `config` wants it.
pub fn build(path: &Path, kind: EncoderKind, config: &ModelConfig) -> Result<Box<dyn Encoder>, ModelError> {
    use EncoderKind::*;
    Ok(match kind {
        ConvNeXtTiny | ConvNeXtSmall | ConvNeXtBase | ConvNeXtV2Tiny | ConvNeXtV2Base | ConvNeXtV2Large => {
            Box::new(convnext::ConvNeXt::new(path, kind, config)?)
        }
        EfficientNetB0 | EfficientNetB1 | EfficientNetB2 | EfficientNetB3 | EfficientNetB4 | EfficientNetB5
        | EfficientNetB6 | EfficientNetB7 => Box::new(efficientnet::EfficientNet::new(path, kind, config)?),
        HrNetW18 | HrNetW32 | HrNetW48 => Box::new(hrnet::HrNet::new(path, kind, config)?),
        EfficientNetV2S | EfficientNetV2M | EfficientNetV2L => Box::new(efficientnet_v2::build(path, kind, config)?),
        MobileNetV2 => Box::new(mobilenet_v2::MobileNetV2::new(path, config)?),
        MobileNetV3Large => Box::new(mobilenet_v3::build(path, config)?),
        MitB0 | MitB1 | MitB2 | MitB3 | MitB4 | MitB5 => {
            Box::new(mix_transformer::MixTransformer::new(path, kind, config)?)
        }
        SwinTiny | SwinSmall | SwinBase => Box::new(swin::Swin::new(path, kind, config)?),
        ResNet18 | ResNet34 | ResNet50 | ResNet101 | ResNeXt101x32x8d => {
            Box::new(resnet::ResNet::new(path, kind, config)?)
        }
    })
}
