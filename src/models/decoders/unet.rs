//! The decoder of U-Net (SMP's `UnetDecoder`). O. Ronneberger, P. Fischer, T. Brox, U-Net: convolutional networks for
//! biomedical image segmentation, MICCAI 2015.

use tch::Tensor;

use super::Decoder;
use super::unet_block::{CHANNELS, UnetBlock};
use crate::models::{ModelConfig, ModelError, Path};

/// One block per stage, each of which doubles the size and concatenates the encoder's feature of that size.
pub struct Unet {
    /// Deepest first.
    blocks: Vec<UnetBlock>,
    channels: i64,
}

impl Unet {
    /// Builds the decoder for features with these `channels` at strides 1, 2, 4, …
    pub fn new(path: &Path, config: &ModelConfig, channels: &[i64]) -> Result<Self, ModelError> {
        let deepest_first: Vec<i64> = channels[1..].iter().rev().copied().collect();
        let mut blocks = Vec::new();
        let mut input = deepest_first[0];
        for (index, output) in CHANNELS.into_iter().take(deepest_first.len()).enumerate() {
            let skip = deepest_first.get(index + 1).copied().unwrap_or(0);
            blocks.push(UnetBlock::new(&(path / "blocks" / index), config, input, skip, output)?);
            input = output;
        }
        Ok(Unet { blocks, channels: input })
    }
}

impl Decoder for Unet {
    fn channels(&self) -> i64 {
        self.channels
    }

    fn forward(&self, features: &[Tensor], train: bool) -> Result<Tensor, ModelError> {
        let mut deepest_first = features[1..].iter().rev();
        let mut x = deepest_first.next().expect("an encoder gives features").shallow_clone();
        for block in &self.blocks {
            let skip = deepest_first.next();
            x = block.forward(&x, skip.as_slice(), train)?; // [B, 256 .. 16, H/16 .. H, ..]
        }
        Ok(x)
    }
}
