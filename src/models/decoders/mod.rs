//! Decoders: features at strides 1 to 32 in, one feature map out. A decoder depends on the encoder only through the
//! channels of its features.

mod deeplab;
mod fpn;
mod linknet;
mod manet;
mod ocr;
mod pan;
mod pspnet;
mod segformer;
mod unet;
mod unet3plus;
mod unet_block;
mod unetplusplus;
mod upernet;

pub use deeplab::{CHANNELS as PYRAMID_CHANNELS, DilatedKind, Pyramid};

use tch::Tensor;

use super::heads::HeadShape;
use super::layers::Corners;
use super::{DecoderKind, EncoderKind, ModelConfig, ModelError, Path};

/// The part of a model between the encoder and the head.
pub trait Decoder: Send {
    /// Channels of its output.
    fn channels(&self) -> i64;
    /// One feature map from the encoder's features (index = log2 of the stride), with the stride that the
    /// architecture's head expects.
    fn forward(&self, features: &[Tensor], train: bool) -> Result<Tensor, ModelError>;
    /// As [`Decoder::forward`], with the logits of auxiliary heads, `[B, classes, h, w]` each, finest first. Most
    /// decoders have no auxiliary heads.
    fn forward_supervised(&self, features: &[Tensor], train: bool) -> Result<(Tensor, Vec<Tensor>), ModelError> {
        Ok((self.forward(features, train)?, Vec::new()))
    }
}

/// Builds the decoder `kind` of `config` for features with these channels.
pub fn build(
    path: &Path,
    kind: DecoderKind,
    config: &ModelConfig,
    channels: &[i64],
) -> Result<Box<dyn Decoder>, ModelError> {
    Ok(match kind {
        DecoderKind::Unet => Box::new(unet::Unet::new(path, config, channels)?),
        DecoderKind::UnetPlusPlus => Box::new(unetplusplus::UnetPlusPlus::new(path, config, channels)?),
        DecoderKind::Fpn => Box::new(fpn::Fpn::new(path, config, channels)?),
        DecoderKind::Pan => Box::new(pan::Pan::new(path, channels)?),
        DecoderKind::DeepLabV3 => Box::new(deeplab::DeepLabV3::new(path, config, channels)?),
        DecoderKind::DeepLabV3Plus => Box::new(deeplab::DeepLabV3Plus::new(path, config, channels)?),
        DecoderKind::Linknet => Box::new(linknet::Linknet::new(path, channels)?),
        DecoderKind::PspNet => Box::new(pspnet::PspNet::new(path, config, channels)?),
        DecoderKind::MaNet => Box::new(manet::MaNet::new(path, channels)?),
        DecoderKind::UperNet | DecoderKind::UperNetTransformers => {
            Box::new(upernet::UperNet::new(path, config, channels)?)
        }
        DecoderKind::Segformer | DecoderKind::SegformerTransformers | DecoderKind::SegformerMmseg => {
            Box::new(segformer::Segformer::new(path, config, channels)?)
        }
        DecoderKind::HrNetOcr | DecoderKind::HrNetOcrMmseg => Box::new(ocr::Ocr::new(path, config, channels)?),
        DecoderKind::Unet3Plus => Box::new(unet3plus::Unet3Plus::new(path, config, channels)?),
    })
}

/// The shape of the head after the decoder `kind`.
pub fn head(kind: DecoderKind, config: &ModelConfig) -> HeadShape {
    let (kernel, upsampling) = match kind {
        DecoderKind::Unet | DecoderKind::UnetPlusPlus | DecoderKind::MaNet => (3, 1),
        DecoderKind::Linknet => (1, 1),
        // The finest of the four deepest features has this stride.
        DecoderKind::Fpn => (1, 1 << (config.depth() - 3)),
        DecoderKind::DeepLabV3Plus
        | DecoderKind::UperNet
        | DecoderKind::Segformer
        | DecoderKind::HrNetOcr
        | DecoderKind::UperNetTransformers
        | DecoderKind::SegformerTransformers
        | DecoderKind::SegformerMmseg
        | DecoderKind::HrNetOcrMmseg => (1, 4),
        DecoderKind::Pan => (3, 4),
        DecoderKind::DeepLabV3 => (1, std::cmp::min(config.output_stride(), 1 << config.depth())),
        DecoderKind::PspNet => (3, 1 << config.depth()),
        DecoderKind::Unet3Plus => {
            (3, if config.backbone().is_some_and(EncoderKind::starts_at_stride_4) { 4 } else { 2 })
        }
    };
    let at_edges = config.architecture.follows_transformers() || config.architecture.follows_mmseg();
    HeadShape { kernel, upsampling, corners: if at_edges { Corners::AtEdges } else { Corners::Aligned } }
}
