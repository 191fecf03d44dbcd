//! SegFormer's decoder: nothing but linear layers.
//! E. Xie et al., SegFormer: simple and efficient design for semantic segmentation with transformers, NeurIPS 2021.

use tch::Tensor;

use super::Decoder;
use crate::models::layers::{ConvNormRelu, Linear, bilinear, dropout};
use crate::models::{Architecture, EncoderKind, ModelConfig, ModelError, Path};

/// Width and dropout: SMP's are the same for all encoders; transformers' are those of the paper.
fn shape(config: &ModelConfig) -> (i64, f64) {
    match (config.architecture, config.backbone()) {
        (Architecture::SegformerTransformers, Some(EncoderKind::MitB0 | EncoderKind::MitB1)) => (256, 0.1),
        (Architecture::SegformerTransformers, _) => (768, 0.1),
        _ => (256, 0.0),
    }
}

/// Every feature brought to one width and to stride 4, joined, mixed.
pub struct Segformer {
    /// Deepest first.
    linear: Vec<Linear>,
    fusion: ConvNormRelu,
    channels: i64,
    dropout: f64,
}

impl Segformer {
    /// `channels` of the features at strides 1, 2, 4, ...; a missing one at stride 2 has 0.
    pub fn new(path: &Path, config: &ModelConfig, channels: &[i64]) -> Result<Self, ModelError> {
        let (width, dropout) = shape(config);
        let deepest_first = channels[1..].iter().rev().filter(|c| **c > 0);
        let linear = deepest_first.enumerate();
        let linear = linear.map(|(i, c)| Linear::new(&(path / "mlp_stage" / i / "linear"), *c, width, true));
        let linear = linear.collect::<Result<Vec<_>, _>>()?;
        let fusion = ConvNormRelu::new(&(path / "fuse_stage"), linear.len() as i64 * width, width, 1)?;
        Ok(Segformer { linear, fusion, channels: width, dropout: config.dropout.unwrap_or(dropout) })
    }
}

impl Decoder for Segformer {
    fn channels(&self) -> i64 {
        self.channels
    }

    fn forward(&self, features: &[Tensor], train: bool) -> Result<Tensor, ModelError> {
        let size = features[0].size();
        let (height, width) = (size[2] / 4, size[3] / 4);
        let deepest_first = features[1..].iter().rev().filter(|x| x.size()[1] > 0);
        let mut levels = Vec::new();
        for (linear, feature) in self.linear.iter().zip(deepest_first) {
            let level = linear.forward_map(feature)?; // [B, C, h, w]
            let fits = level.size()[2..] == [height, width];
            levels.push(if fits { level } else { bilinear(&level, height, width, false)? });
        }
        let fused = self.fusion.forward(&Tensor::f_cat(&levels, 1)?, train)?; // [B, C, H/4, W/4]
        Ok(dropout(fused, self.dropout, train)?)
    }
}
