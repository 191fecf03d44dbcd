//! The decoder of LinkNet (SMP's `LinknetDecoder`). A. Chaurasia, E. Culurciello, LinkNet: exploiting encoder
//! representations for efficient semantic segmentation, VCIP 2017.

use tch::Tensor;

use super::Decoder;
use crate::models::layers::{ConvNormRelu, ConvTranspose2d, Norm2d};
use crate::models::{ModelError, Path};

const CHANNELS: i64 = 32;

/// Each step doubles the size by a narrow transposed convolution and adds the encoder's feature of that size.
pub struct Linknet {
    /// Deepest first.
    blocks: Vec<Block>,
}

impl Linknet {
    /// Builds the decoder for features with these `channels` at strides 1, 2, 4, …
    pub fn new(path: &Path, channels: &[i64]) -> Result<Self, ModelError> {
        let mut chain: Vec<i64> = channels[1..].iter().rev().copied().collect();
        for index in 1..chain.len() {
            // There is no feature at this stride: the width stays and nothing is added.
            if chain[index] == 0 {
                chain[index] = chain[index - 1];
            }
        }
        chain.push(CHANNELS);
        let blocks = chain.windows(2).enumerate();
        let blocks = blocks.map(|(index, pair)| Block::new(&(path / "blocks" / index / "block"), pair[0], pair[1]));
        Ok(Linknet { blocks: blocks.collect::<Result<_, _>>()? })
    }
}

impl Decoder for Linknet {
    fn channels(&self) -> i64 {
        CHANNELS
    }

    fn forward(&self, features: &[Tensor], train: bool) -> Result<Tensor, ModelError> {
        let mut deepest_first = features[1..].iter().rev();
        let mut x = deepest_first.next().expect("an encoder gives features").shallow_clone();
        for block in &self.blocks {
            x = block.forward(&x, train)?; // [B, C, H/16 .. H, ..]
            if let Some(skip) = deepest_first.next().filter(|skip| skip.size()[1] > 0) {
                x = x.f_add(skip)?;
            }
        }
        Ok(x)
    }
}

/// A 1x1 convolution to a quarter of the channels, a transposed convolution to twice the size, a 1x1 convolution to the
/// output channels.
struct Block {
    narrow: ConvNormRelu,
    double: ConvTranspose2d,
    double_norm: Norm2d,
    widen: ConvNormRelu,
}

impl Block {
    fn new(path: &Path, input: i64, output: i64) -> Result<Self, ModelError> {
        let inner = input / 4;
        Ok(Block {
            narrow: ConvNormRelu::new(&(path / 0), input, inner, 1)?,
            double: ConvTranspose2d::new(&(path / 1 / 0), inner, inner, 4, 2, 1)?,
            double_norm: Norm2d::new(&(path / 1 / 1), inner)?,
            widen: ConvNormRelu::new(&(path / 2), inner, output, 1)?,
        })
    }

    /// `[B, input, h, w]` to `[B, output, 2h, 2w]`.
    fn forward(&self, x: &Tensor, train: bool) -> Result<Tensor, ModelError> {
        let x = self.double.forward(&self.narrow.forward(x, train)?)?; // [B, input / 4, 2h, 2w]
        let x = self.double_norm.forward(&x, train)?.f_relu_()?;
        self.widen.forward(&x, train)
    }
}
