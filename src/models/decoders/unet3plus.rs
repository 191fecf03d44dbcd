//! The decoder of UNet 3+: every level reads the features of all scales.
//! H. Huang et al., UNet 3+: a full-scale connected UNet for medical image segmentation, ICASSP 2020.
//!
//! There is one level per feature of the encoder, from stride 2 (or 4 if there is no feature at stride 2) to the
//! deepest. The paper's classification-guided module is left out: it predicts whether the only organ is present in the
//! image, and a hand has all its bones.

use tch::Tensor;

use super::Decoder;
use crate::models::layers::{Conv2d, ConvNormRelu, ConvOptions, Corners, Scheme, bilinear_by};
use crate::models::{ModelConfig, ModelError, Path};

/// Channels that each scale contributes to a level.
const CHANNELS: i64 = 64;

/// The levels finer than the deepest, each computed from all scales.
pub struct Unet3Plus {
    /// Deepest first.
    levels: Vec<Level>,
    /// Heads of deep supervision on every level except the finest, finest first; the last reads the deepest feature.
    /// Empty without deep supervision.
    heads: Vec<Conv2d>,
    channels: i64,
}

impl Unet3Plus {
    /// Builds the decoder for features with these `channels` at strides 1, 2, 4, …; a missing feature at stride 2 has 0
    /// channels.
    pub fn new(path: &Path, config: &ModelConfig, channels: &[i64]) -> Result<Self, ModelError> {
        let scales: Vec<i64> = channels[1..].iter().copied().filter(|c| *c > 0).collect();
        let count = scales.len();
        let joined = count as i64 * CHANNELS;
        let mut levels = Vec::new();
        for level in (0..count - 1).rev() {
            let place = path / "levels" / level;
            let mut inputs = Vec::new();
            for (scale, width) in scales.iter().copied().enumerate() {
                // Finer and equal scales are the encoder's features; coarser ones are levels of the decoder, which
                // starts with the deepest feature.
                let width = if scale <= level || scale + 1 == count { width } else { joined };
                inputs.push(ConvNormRelu::new(&(&place / "inputs" / scale), width, CHANNELS, 3)?);
            }
            levels.push(Level { inputs, fusion: ConvNormRelu::new(&(&place / "fusion"), joined, joined, 3)? });
        }
        let mut heads = Vec::new();
        if config.deep_supervision() {
            let supervised = (1..count).map(|level| if level + 1 == count { scales[level] } else { joined });
            for (index, width) in supervised.enumerate() {
                let place = (path / "auxiliary" / index).with_scheme(Scheme::Head);
                heads.push(Conv2d::new(&place, width, config.classes, 3, ConvOptions::default().padding(1))?);
            }
        }
        Ok(Unet3Plus { levels, heads, channels: joined })
    }

    /// The outputs of the n levels, finest first: `[B, 64 n, H/2, W/2]` and so on; the last is the deepest feature.
    fn decode(&self, features: &[Tensor], train: bool) -> Result<Vec<Tensor>, ModelError> {
        let scales: Vec<&Tensor> = features[1..].iter().filter(|x| x.size()[1] > 0).collect();
        let mut maps: Vec<Tensor> = scales.iter().map(|x| x.shallow_clone()).collect();
        for (index, level) in self.levels.iter().enumerate() {
            let target = scales.len() - 2 - index;
            // Maps up to `target` are still the encoder's features; later ones are already levels of the decoder.
            maps[target] = level.forward(&maps, target, train)?;
        }
        Ok(maps)
    }
}

impl Decoder for Unet3Plus {
    fn channels(&self) -> i64 {
        self.channels
    }

    fn forward(&self, features: &[Tensor], train: bool) -> Result<Tensor, ModelError> {
        Ok(self.decode(features, train)?.swap_remove(0))
    }

    /// The auxiliary logits keep their own sizes.
    fn forward_supervised(&self, features: &[Tensor], train: bool) -> Result<(Tensor, Vec<Tensor>), ModelError> {
        let mut maps = self.decode(features, train)?;
        let outputs = self.heads.iter().zip(&maps[1..]).map(|(head, map)| head.forward(map));
        let outputs = outputs.collect::<Result<_, _>>()?;
        Ok((maps.swap_remove(0), outputs))
    }
}

/// One convolution per scale, and one over their concatenation.
struct Level {
    inputs: Vec<ConvNormRelu>,
    fusion: ConvNormRelu,
}

impl Level {
    /// `maps` of all scales, finest first, to one map with the size of the map at `target`.
    fn forward(&self, maps: &[Tensor], target: usize, train: bool) -> Result<Tensor, ModelError> {
        let mut parts = Vec::new();
        for (scale, (map, layer)) in maps.iter().zip(&self.inputs).enumerate() {
            let map = if scale < target {
                let factor = 1 << (target - scale);
                map.f_max_pool2d([factor; 2], [factor; 2], [0, 0], [1, 1], false)?
            } else if scale > target {
                bilinear_by(map, 1 << (scale - target), Corners::AtEdges)?
            } else {
                map.shallow_clone()
            };
            parts.push(layer.forward(&map, train)?); // [B, 64, h, w]
        }
        self.fusion.forward(&Tensor::f_cat(&parts, 1)?, train) // [B, 64 n, h, w]
    }
}
