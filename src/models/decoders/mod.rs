//! Decoders: features at strides 1 to 32 in, one feature map out. Each reads only the encoder's channels.

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

pub use deeplab::{CHANNELS as PYRAMID_CHANNELS, Pyramid};

use tch::Tensor;

use super::heads::HeadShape;
use super::{Architecture, EncoderKind, ModelConfig, ModelError, Path};

/// What follows an encoder.
pub trait Decoder: Send {
    /// Channels of what it gives.
    fn channels(&self) -> i64;
    /// One map from the encoder's features (index = log2 of the stride), at the stride of the architecture's head.
    fn forward(&self, features: &[Tensor], train: bool) -> Result<Tensor, ModelError>;
    /// As [`Decoder::forward`], with what auxiliary heads say, `[B, classes, h, w]` each, finest first. Most decoders have
    /// none.
    fn forward_supervised(&self, features: &[Tensor], train: bool) -> Result<(Tensor, Vec<Tensor>), ModelError> {
        Ok((self.forward(features, train)?, Vec::new()))
    }
}

/// The decoder of `config` for features of these channels.
pub fn build(path: &Path, config: &ModelConfig, channels: &[i64]) -> Result<Box<dyn Decoder>, ModelError> {
    Ok(match config.architecture {
        Architecture::Unet => Box::new(unet::Unet::new(path, config, channels)?),
        Architecture::UnetPlusPlus => Box::new(unetplusplus::UnetPlusPlus::new(path, config, channels)?),
        Architecture::Fpn => Box::new(fpn::Fpn::new(path, config, channels)?),
        Architecture::Pan => Box::new(pan::Pan::new(path, channels)?),
        Architecture::DeepLabV3 => Box::new(deeplab::DeepLabV3::new(path, config, channels)?),
        Architecture::DeepLabV3Plus => Box::new(deeplab::DeepLabV3Plus::new(path, config, channels)?),
        Architecture::Linknet => Box::new(linknet::Linknet::new(path, channels)?),
        Architecture::PspNet => Box::new(pspnet::PspNet::new(path, config, channels)?),
        Architecture::MaNet => Box::new(manet::MaNet::new(path, channels)?),
        Architecture::UperNet | Architecture::UperNetTransformers => {
            Box::new(upernet::UperNet::new(path, config, channels)?)
        }
        Architecture::Segformer | Architecture::SegformerTransformers => {
            Box::new(segformer::Segformer::new(path, config, channels)?)
        }
        Architecture::HrNetOcr => Box::new(ocr::Ocr::new(path, config, channels)?),
        Architecture::Unet3Plus => Box::new(unet3plus::Unet3Plus::new(path, config, channels)?),
        Architecture::SwinUnetr
        | Architecture::TorchvisionDeepLabV3
        | Architecture::TorchvisionLraspp
        | Architecture::TorchvisionFcn
        | Architecture::NnUnet
        | Architecture::NnUnetResEnc => return Err(whole(config)),
    })
}

fn whole(config: &ModelConfig) -> ModelError {
    ModelError::Config(format!("{} is a whole network, without a decoder of the list", config.architecture))
}

/// The head that follows the decoder.
pub fn head(config: &ModelConfig) -> Result<HeadShape, ModelError> {
    let (kernel, upsampling) = match config.architecture {
        Architecture::Unet | Architecture::UnetPlusPlus | Architecture::MaNet => (3, 1),
        Architecture::Linknet => (1, 1),
        // From the finest of the four deepest features.
        Architecture::Fpn => (1, 1 << (config.depth - 3)),
        Architecture::DeepLabV3Plus
        | Architecture::UperNet
        | Architecture::Segformer
        | Architecture::HrNetOcr
        | Architecture::UperNetTransformers
        | Architecture::SegformerTransformers => (1, 4),
        Architecture::Pan => (3, 4),
        Architecture::DeepLabV3 => (1, std::cmp::min(config.output_stride(), 1 << config.depth)),
        Architecture::PspNet => (3, 1 << config.depth),
        Architecture::Unet3Plus => {
            (3, if config.backbone().is_some_and(EncoderKind::starts_at_stride_4) { 4 } else { 2 })
        }
        Architecture::SwinUnetr
        | Architecture::TorchvisionDeepLabV3
        | Architecture::TorchvisionLraspp
        | Architecture::TorchvisionFcn
        | Architecture::NnUnet
        | Architecture::NnUnetResEnc => return Err(whole(config)),
    };
    Ok(HeadShape { kernel, upsampling, align_corners: !config.architecture.follows_transformers() })
}
