//! The decoder of the feature pyramid network for segmentation (SMP's `FPNDecoder`).
//! A. Kirillov, R. Girshick, K. He, P. Dollár, Panoptic feature pyramid networks, CVPR 2019.

use tch::Tensor;

use super::Decoder;
use crate::models::layers::{Conv2d, ConvOptions, Corners, GroupNorm, bilinear_by, channel_dropout, nearest_by};
use crate::models::{ModelConfig, ModelError, Path};

const PYRAMID: i64 = 256;
const SEGMENTATION: i64 = 128;
const GROUPS: i64 = 32;
const DROPOUT: f64 = 0.2;

/// The four deepest features are projected to one width and summed from the deepest to the finest. Each level is
/// enlarged to the size of the finest, and all levels are added.
pub struct Fpn {
    top: Conv2d,
    /// 1x1 convolutions of the next three features, deepest first.
    lateral: Vec<Conv2d>,
    /// One chain of blocks per level, deepest first: 3, 2, 1 and 0 doublings of the size.
    levels: Vec<Vec<Block>>,
    dropout: f64,
}

impl Fpn {
    /// Builds the decoder for features with these `channels` at strides 1, 2, 4, …
    pub fn new(path: &Path, config: &ModelConfig, channels: &[i64]) -> Result<Self, ModelError> {
        let deepest_first: Vec<i64> = channels.iter().rev().copied().collect();
        let top = Conv2d::new(&(path / "p5"), deepest_first[0], PYRAMID, 1, ConvOptions::default())?;
        let mut lateral = Vec::new();
        for (level, input) in [4, 3, 2].into_iter().zip(&deepest_first[1..]) {
            let place = path / format!("p{level}") / "skip_conv";
            lateral.push(Conv2d::new(&place, *input, PYRAMID, 1, ConvOptions::default())?);
        }
        let mut levels = Vec::new();
        for (level, doublings) in [3, 2, 1, 0].into_iter().enumerate() {
            let mut chain = Vec::new();
            for step in 0..std::cmp::max(doublings, 1) {
                let place = path / "seg_blocks" / level / "block" / step / "block";
                let input = if step == 0 { PYRAMID } else { SEGMENTATION };
                chain.push(Block::new(&place, input, doublings > 0)?);
            }
            levels.push(chain);
        }
        Ok(Fpn { top, lateral, levels, dropout: config.dropout.unwrap_or(DROPOUT) })
    }
}

impl Decoder for Fpn {
    fn channels(&self) -> i64 {
        SEGMENTATION
    }

    fn forward(&self, features: &[Tensor], train: bool) -> Result<Tensor, ModelError> {
        let mut features = features.iter().rev();
        let deepest = features.next().expect("an encoder gives at least four features");
        let mut pyramid = self.top.forward(deepest)?; // [B, 256, H/32, W/32]
        let mut merged = self.levels[0].iter().try_fold(pyramid.shallow_clone(), |x, b| b.forward(&x))?;
        for ((lateral, chain), feature) in self.lateral.iter().zip(&self.levels[1..]).zip(features) {
            pyramid = nearest_by(&pyramid, 2)?.f_add_(&lateral.forward(feature)?)?; // [B, 256, H/16 .. H/4, ..]
            let level = chain.iter().try_fold(pyramid.shallow_clone(), |x, b| b.forward(&x))?;
            // In place: neither the forward nor the backward pass needs the terms of the sum again.
            merged = merged.f_add_(&level)?; // [B, 128, H/4, W/4]
        }
        Ok(channel_dropout(merged, self.dropout, train)?)
    }
}

/// 3x3 convolution, group norm, ReLU and, if `doubles`, a doubling of the size.
struct Block {
    convolution: Conv2d,
    norm: GroupNorm,
    doubles: bool,
}

impl Block {
    fn new(path: &Path, input: i64, doubles: bool) -> Result<Self, ModelError> {
        let options = ConvOptions::without_bias().padding(1);
        Ok(Block {
            convolution: Conv2d::new(&(path / 0), input, SEGMENTATION, 3, options)?,
            norm: GroupNorm::new(&(path / 1), GROUPS, SEGMENTATION, 1e-5)?,
            doubles,
        })
    }

    /// `[B, input, h, w]` to `[B, 128, h, w]`, or `[B, 128, 2h, 2w]` if it doubles the size.
    fn forward(&self, x: &Tensor) -> Result<Tensor, ModelError> {
        let x = self.norm.forward(&self.convolution.forward(x)?)?.f_relu_()?;
        if self.doubles { Ok(bilinear_by(&x, 2, Corners::Aligned)?) } else { Ok(x) }
    }
}
