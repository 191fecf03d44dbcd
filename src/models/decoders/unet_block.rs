//! The block of `unet` and `unetplusplus`: a step of the decoder with a skip connection.
//! O. Ronneberger, P. Fischer, T. Brox, U-Net: convolutional networks for biomedical image segmentation, MICCAI 2015.

use tch::Tensor;

use crate::models::layers::{ConvNormRelu, SpatialChannelGate, nearest_by};
use crate::models::{Attention, ModelConfig, ModelError, Path};

/// Output channels of the blocks of a U-Net's decoder, deepest first.
pub const CHANNELS: [i64; 5] = [256, 128, 64, 32, 16];

/// Doubles the size, concatenates the skip connections, applies two convolutions; with `attention`, a gate before and
/// after them.
pub struct UnetBlock {
    convolutions: [ConvNormRelu; 2],
    gates: Option<[SpatialChannelGate; 2]>,
}

impl UnetBlock {
    /// A block for `input` channels and skip connections with `skip` channels in total (0: none).
    pub fn new(path: &Path, config: &ModelConfig, input: i64, skip: i64, output: i64) -> Result<Self, ModelError> {
        let joined = input + skip;
        let convolution = |name: &str, from| ConvNormRelu::new(&(path / name), from, output, 3);
        let gate = |name: &str, channels| match config.attention {
            Some(Attention::Scse) => SpatialChannelGate::new(&(path / name), channels).map(Some),
            None => Ok(None),
        };
        let first = convolution("conv1", joined)?;
        let before = gate("attention1", joined)?;
        let second = convolution("conv2", output)?;
        let after = gate("attention2", output)?;
        Ok(UnetBlock { convolutions: [first, second], gates: before.zip(after).map(<[_; 2]>::from) })
    }

    /// `[B, input, h, w]` and skips `[B, .., 2h, 2w]` to `[B, output, 2h, 2w]`.
    pub fn forward(&self, x: &Tensor, skips: &[&Tensor], train: bool) -> Result<Tensor, ModelError> {
        let mut x = nearest_by(x, 2)?;
        let [first, second] = &self.convolutions;
        if !skips.is_empty() {
            let parts: Vec<&Tensor> = std::iter::once(&x).chain(skips.iter().copied()).collect();
            x = Tensor::f_cat(&parts, 1)?; // [B, input + skip, 2h, 2w]
            if let Some([before, _]) = &self.gates {
                x = before.forward(&x)?;
            }
        }
        x = second.forward(&first.forward(&x, train)?, train)?;
        match &self.gates {
            Some([_, after]) => after.forward(&x),
            None => Ok(x),
        }
    }
}
