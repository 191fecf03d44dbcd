//! SegFormer's decoder: nothing but linear layers.
//! E. Xie et al., SegFormer: simple and efficient design for semantic segmentation with transformers, NeurIPS 2021.

use tch::Tensor;

use super::Decoder;
use crate::models::layers::{Conv2d, ConvOptions, Linear, Norm2d, bilinear};
use crate::models::{ModelError, Path};

const CHANNELS: i64 = 256;

/// Every feature brought to one width and to stride 4, joined, mixed.
pub struct Segformer {
    /// Deepest first.
    linear: Vec<Linear>,
    fusion: Conv2d,
    norm: Norm2d,
}

impl Segformer {
    /// `channels` of the features at strides 1, 2, 4, ...; a missing one at stride 2 has 0.
    pub fn new(path: &Path, channels: &[i64]) -> Result<Self, ModelError> {
        let deepest_first = channels[1..].iter().rev().filter(|c| **c > 0);
        let linear = deepest_first.enumerate();
        let linear = linear.map(|(i, c)| Linear::new(&(path / "mlp_stage" / i / "linear"), *c, CHANNELS, true));
        let linear = linear.collect::<Result<Vec<_>, _>>()?;
        let place = path / "fuse_stage";
        let joined = linear.len() as i64 * CHANNELS;
        let fusion = Conv2d::new(&(&place / 0), joined, CHANNELS, 1, ConvOptions::without_bias())?;
        Ok(Segformer { linear, fusion, norm: Norm2d::new(&(&place / 1), CHANNELS)? })
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
        // A 1x1 convolution of joined maps is the sum of one of each, and it may stand before the interpolation: each
        // level is mixed at its own size, and the joined map of 1024 channels is never made.
        let mut sum: Option<Tensor> = None;
        for (index, (linear, feature)) in self.linear.iter().zip(deepest_first).enumerate() {
            let level = linear.forward_map(feature)?; // [B, 256, h, w]
            let mixed = self.fusion.forward_part(&level, index as i64 * CHANNELS)?;
            let fits = mixed.size()[2..] == [height, width];
            let mixed = if fits { mixed } else { bilinear(&mixed, height, width, false)? };
            sum = Some(match sum {
                Some(mut sum) => sum.f_add_(&mixed)?, // [B, 256, H/4, W/4]
                None => mixed,
            });
        }
        let sum = sum.expect("an encoder gives features");
        Ok(self.norm.forward(&sum, train)?.f_relu_()?)
    }
}
