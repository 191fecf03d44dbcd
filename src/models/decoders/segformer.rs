//! SegFormer's decoder: nothing but linear layers.
//! E. Xie et al., SegFormer: simple and efficient design for semantic segmentation with transformers, NeurIPS 2021.

use tch::Tensor;

use super::Decoder;
use crate::models::layers::{ConvNormRelu, Linear, bilinear};
use crate::models::{ModelError, Path};

const CHANNELS: i64 = 256;

/// Every feature brought to one width and to stride 4, joined, mixed.
pub struct Segformer {
    /// Deepest first.
    linear: Vec<Linear>,
    fusion: ConvNormRelu,
}

impl Segformer {
    /// `channels` of the features at strides 1, 2, 4, ...; a missing one at stride 2 has 0.
    pub fn new(path: &Path, channels: &[i64]) -> Result<Self, ModelError> {
        let deepest_first = channels[1..].iter().rev().filter(|c| **c > 0);
        let linear = deepest_first.enumerate();
        let linear = linear.map(|(i, c)| Linear::new(&(path / "mlp_stage" / i / "linear"), *c, CHANNELS, true));
        let linear = linear.collect::<Result<Vec<_>, _>>()?;
        let fusion = ConvNormRelu::new(&(path / "fuse_stage"), linear.len() as i64 * CHANNELS, CHANNELS, 1)?;
        Ok(Segformer { linear, fusion })
    }
}

impl Decoder for Segformer {
    fn channels(&self) -> i64 {
        CHANNELS
    }

    fn forward(&self, features: &[Tensor], train: bool) -> Result<Tensor, ModelError> {
        let size = features[0].size();
        let (height, width) = (size[2] / 4, size[3] / 4);
        let deepest_first = features[1..].iter().rev().filter(|x| x.size()[1] > 0);
        let mut levels = Vec::new();
        for (linear, feature) in self.linear.iter().zip(deepest_first) {
            let level = linear.forward_map(feature)?; // [B, 256, h, w]
            let fits = level.size()[2..] == [height, width];
            levels.push(if fits { level } else { bilinear(&level, height, width, false)? });
        }
        self.fusion.forward(&Tensor::f_cat(&levels, 1)?, train) // [B, 256, H/4, W/4]
    }
}
