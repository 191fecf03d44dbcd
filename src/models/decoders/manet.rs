//! The decoder of the multi-scale attention network (SMP's `MAnetDecoder`). T. Fan, G. Wang, Y. Li, H. Wang, MA-Net: a
//! multi-scale attention network for liver and tumor segmentation, IEEE Access 2020.

use tch::{Kind, Tensor};

use super::Decoder;
use super::unet_block::CHANNELS;
use crate::models::layers::{Conv2d, ConvNormRelu, ConvOptions, nearest_by};
use crate::models::{ModelError, Path};

const POSITION_CHANNELS: i64 = 64;
const REDUCTION: i64 = 16;

/// Attention between all positions of the deepest feature, then the steps of a U-Net, in which the skip connections
/// weight the channels.
pub struct MaNet {
    center: PositionAttention,
    /// Deepest first.
    blocks: Vec<Block>,
    channels: i64,
}

impl MaNet {
    /// Builds the decoder for features with these `channels` at strides 1, 2, 4, …
    pub fn new(path: &Path, channels: &[i64]) -> Result<Self, ModelError> {
        let deepest_first: Vec<i64> = channels[1..].iter().rev().copied().collect();
        let center = PositionAttention::new(&(path / "center"), deepest_first[0])?;
        let mut blocks = Vec::new();
        let mut input = deepest_first[0];
        for (index, output) in CHANNELS.into_iter().take(deepest_first.len()).enumerate() {
            let skip = deepest_first.get(index + 1).copied().unwrap_or(0);
            blocks.push(Block::new(&(path / "blocks" / index), input, skip, output)?);
            input = output;
        }
        Ok(MaNet { center, blocks, channels: input })
    }
}

impl Decoder for MaNet {
    fn channels(&self) -> i64 {
        self.channels
    }

    fn forward(&self, features: &[Tensor], train: bool) -> Result<Tensor, ModelError> {
        let mut deepest_first = features[1..].iter().rev();
        let mut x = self.center.forward(deepest_first.next().expect("an encoder gives features"))?;
        for block in &self.blocks {
            x = block.forward(&x, deepest_first.next(), train)?; // [B, 256 .. 16, H/16 .. H, ..]
        }
        Ok(x)
    }
}

/// Attention of each position to all positions.
struct PositionAttention {
    top: Conv2d,
    center: Conv2d,
    bottom: Conv2d,
    last: Conv2d,
}

impl PositionAttention {
    fn new(path: &Path, channels: i64) -> Result<Self, ModelError> {
        let wide = ConvOptions::default().padding(1);
        let narrow = |name: &str| Conv2d::new(&(path / name), channels, POSITION_CHANNELS, 1, ConvOptions::default());
        Ok(PositionAttention {
            top: narrow("top_conv")?,
            center: narrow("center_conv")?,
            bottom: Conv2d::new(&(path / "bottom_conv"), channels, channels, 3, wide)?,
            last: Conv2d::new(&(path / "out_conv"), channels, channels, 3, wide)?,
        })
    }

    /// `[B, C, h, w]` to the same shape.
    fn forward(&self, x: &Tensor) -> Result<Tensor, ModelError> {
        let size = x.size();
        let (batch, positions) = (size[0], size[2] * size[3]);
        let rows = |x: Tensor| x.f_flatten(2, -1)?.f_transpose(1, 2); // [B, h w, channels]
        let top = self.top.forward(x)?.f_flatten(2, -1)?; // [B, 64, h w]
        let center = rows(self.center.forward(x)?)?; // [B, h w, 64]
        let bottom = rows(self.bottom.forward(x)?)?; // [B, h w, C]
        // One softmax over all pairs of positions of an image, as in segmentation_models_pytorch.
        let weights = center.f_matmul(&top)?.f_view([batch, -1])?.f_softmax(1, None::<Kind>)?;
        let mixed = weights.f_view([batch, positions, positions])?.f_matmul(&bottom)?; // [B, h w, channels]
        // segmentation_models_pytorch reshapes `[h w, C]` to `[C, h, w]` without a transposition; its checkpoints are
        // trained with that.
        Ok(self.last.forward(&x.f_add(&mixed.f_reshape(&size)?)?)?)
    }
}

/// The weights of squeeze and excitation: one per channel.
struct ChannelWeights {
    squeeze: Conv2d,
    excite: Conv2d,
}

impl ChannelWeights {
    fn new(path: &Path, channels: i64) -> Result<Self, ModelError> {
        let reduced = std::cmp::max(1, channels / REDUCTION);
        Ok(ChannelWeights {
            squeeze: Conv2d::new(&(path / 1), channels, reduced, 1, ConvOptions::default())?,
            excite: Conv2d::new(&(path / 3), reduced, channels, 1, ConvOptions::default())?,
        })
    }

    /// `[B, C, h, w]` to `[B, C, 1, 1]`.
    fn forward(&self, x: &Tensor) -> Result<Tensor, ModelError> {
        let pooled = x.f_adaptive_avg_pool2d([1, 1])?;
        Ok(self.excite.forward(&self.squeeze.forward(&pooled)?.f_relu_()?)?.f_sigmoid()?)
    }
}

/// A step of the decoder, whose channels are weighted by its own content and that of the skip connection.
struct Block {
    fusion: Option<Fusion>,
    convolutions: [ConvNormRelu; 2],
}

struct Fusion {
    wide: ConvNormRelu,
    narrow: ConvNormRelu,
    of_skip: ChannelWeights,
    of_input: ChannelWeights,
}

impl Block {
    fn new(path: &Path, input: i64, skip: i64, output: i64) -> Result<Self, ModelError> {
        let fusion = if skip == 0 {
            None
        } else {
            Some(Fusion {
                wide: ConvNormRelu::new(&(path / "hl_conv" / 0), input, input, 3)?,
                narrow: ConvNormRelu::new(&(path / "hl_conv" / 1), input, skip, 1)?,
                of_skip: ChannelWeights::new(&(path / "SE_ll"), skip)?,
                of_input: ChannelWeights::new(&(path / "SE_hl"), skip)?,
            })
        };
        let joined = if skip == 0 { input } else { 2 * skip };
        Ok(Block {
            fusion,
            convolutions: [
                ConvNormRelu::new(&(path / "conv1"), joined, output, 3)?,
                ConvNormRelu::new(&(path / "conv2"), output, output, 3)?,
            ],
        })
    }

    /// `[B, input, h, w]` to `[B, output, 2h, 2w]`.
    fn forward(&self, x: &Tensor, skip: Option<&Tensor>, train: bool) -> Result<Tensor, ModelError> {
        let x = match (&self.fusion, skip) {
            (Some(fusion), Some(skip)) => {
                let x = fusion.narrow.forward(&fusion.wide.forward(x, train)?, train)?;
                let x = nearest_by(&x, 2)?; // [B, skip, 2h, 2w]
                let weights = fusion.of_input.forward(&x)?.f_add(&fusion.of_skip.forward(skip)?)?; // [B, skip, 1, 1]
                Tensor::f_cat(&[&x.f_mul(&weights)?, skip], 1)? // [B, 2 skip, 2h, 2w]
            }
            _ => nearest_by(x, 2)?,
        };
        let [first, second] = &self.convolutions;
        second.forward(&first.forward(&x, train)?, train)
    }
}
