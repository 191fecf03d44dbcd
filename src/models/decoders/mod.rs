//! Decoders: features at strides 1 to 32 in, one feature map out. Each reads only the encoder's channels.

mod fpn;

use tch::Tensor;

use super::heads::HeadShape;
use super::{Architecture, ModelConfig, ModelError, Path};

/// What follows an encoder.
pub trait Decoder: Send {
    /// Channels of what it gives.
    fn channels(&self) -> i64;
    /// One map from the encoder's features (index = log2 of the stride), at the stride of the architecture's head.
    fn forward(&self, features: &[Tensor], train: bool) -> Result<Tensor, ModelError>;
}

/// The decoder of `config` for features of these channels.
pub fn build(path: &Path, config: &ModelConfig, channels: &[i64]) -> Result<Box<dyn Decoder>, ModelError> {
    Ok(match config.architecture {
        Architecture::Fpn => Box::new(fpn::Fpn::new(path, config, channels)?),
    })
}

/// The head that follows the decoder.
pub fn head(architecture: Architecture) -> HeadShape {
    match architecture {
        Architecture::Fpn => HeadShape { kernel: 1, upsampling: 4 },
    }
}
