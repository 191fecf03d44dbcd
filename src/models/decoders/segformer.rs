//! SegFormer's decoder (SMP's `SegformerDecoder`, transformers' `SegformerDecodeHead`, mmsegmentation's `SegformerHead`):
//! linear layers only; mmsegmentation's have a norm and ReLU.
//! E. Xie et al., SegFormer: simple and efficient design for semantic segmentation with transformers, NeurIPS 2021.

use tch::Tensor;

use super::Decoder;
use crate::models::layers::{
    Conv2d, ConvNormRelu, ConvOptions, Corners, Linear, Norm2d, bilinear, channel_dropout, dropout,
};
use crate::models::{Architecture, DecoderKind, EncoderKind, ModelConfig, ModelError, Path};

/// Width and dropout rate. SMP and mmsegmentation have the same for all encoders; transformers has those of the paper.
fn shape(config: &ModelConfig) -> (i64, f64) {
    match (config.architecture, config.backbone()) {
        (Architecture::Decoder(DecoderKind::SegformerTransformers), Some(EncoderKind::MitB0 | EncoderKind::MitB1)) => {
            (256, 0.1)
        }
        (Architecture::Decoder(DecoderKind::SegformerTransformers), _) => (768, 0.1),
        (Architecture::Decoder(DecoderKind::SegformerMmseg), _) => (256, 0.1),
        _ => (256, 0.0),
    }
}

/// The layer that gives a feature the decoder's width.
enum Projection {
    Linear(Linear),
    /// A 1x1 convolution, a norm and ReLU, as in mmsegmentation.
    Convolution(ConvNormRelu),
}

impl Projection {
    fn forward(&self, feature: &Tensor, train: bool) -> Result<Tensor, ModelError> {
        match self {
            Projection::Linear(linear) => Ok(linear.forward_map(feature)?),
            Projection::Convolution(layer) => layer.forward(feature, train),
        }
    }
}

/// Every feature is projected to one width and enlarged to stride 4; a 1x1 convolution mixes their concatenation.
pub struct Segformer {
    /// Deepest first.
    projections: Vec<Projection>,
    fusion: Conv2d,
    norm: Norm2d,
    channels: i64,
    dropout: f64,
    /// Whether dropout drops whole channels, as in mmsegmentation.
    drops_channels: bool,
}

impl Segformer {
    /// Builds the decoder for features with these `channels` at strides 1, 2, 4, …; a missing feature at stride 2 has 0
    /// channels.
    pub fn new(path: &Path, config: &ModelConfig, channels: &[i64]) -> Result<Self, ModelError> {
        let (width, dropout) = shape(config);
        let deepest_first = channels[1..].iter().rev().filter(|c| **c > 0);
        let is_mmseg = config.architecture.follows_mmseg();
        let projection = |(index, channels): (usize, &i64)| -> Result<Projection, ModelError> {
            let place = path / "mlp_stage" / index;
            Ok(match is_mmseg {
                true => Projection::Convolution(ConvNormRelu::new(&place, *channels, width, 1)?),
                false => Projection::Linear(Linear::new(&(&place / "linear"), *channels, width)?),
            })
        };
        let projections = deepest_first.enumerate().map(projection).collect::<Result<Vec<_>, _>>()?;
        let place = path / "fuse_stage";
        let joined = projections.len() as i64 * width;
        let fusion = Conv2d::new(&(&place / 0), joined, width, 1, ConvOptions::without_bias())?;
        let norm = Norm2d::new(&(&place / 1), width)?;
        let dropout = config.dropout.unwrap_or(dropout);
        Ok(Segformer { projections, fusion, norm, channels: width, dropout, drops_channels: is_mmseg })
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
        // A 1x1 convolution of concatenated maps is the sum of one convolution per map, and it can be applied before
        // the interpolation. So each level is mixed at its own size, and the concatenation with four times the channels
        // is never built.
        let mut sum: Option<Tensor> = None;
        for (index, (projection, feature)) in self.projections.iter().zip(deepest_first).enumerate() {
            let level = projection.forward(feature, train)?; // [B, C, h, w]
            let mixed = self.fusion.forward_part(&level, index as i64 * self.channels)?;
            let fits = mixed.size()[2..] == [height, width];
            let mixed = if fits { mixed } else { bilinear(&mixed, height, width, Corners::AtEdges)? };
            sum = Some(match sum {
                Some(mut sum) => sum.f_add_(&mixed)?, // [B, C, H/4, W/4]
                None => mixed,
            });
        }
        let sum = sum.expect("an encoder gives features");
        let mixed = self.norm.forward(&sum, train)?.f_relu_()?;
        let drop = if self.drops_channels { channel_dropout } else { dropout };
        Ok(drop(mixed, self.dropout, train)?)
    }
}
