//! torchvision's MobileNetV3-large, dilated so that its deepest feature has stride 16.
//! A. Howard et al., Searching for MobileNetV3, ICCV 2019.

use tch::Tensor;

use crate::models::encoders::mobilenet_v3::{LAST, STEM, blocks};
use crate::models::layers::{
    Activation, ConvNormAct, ConvShape, InvertedResidual, InvertedResidualShape, MobileStyle, Naming, Scheme,
    note_features,
};
use crate::models::{ModelConfig, ModelError, Path};

const STYLE: MobileStyle =
    MobileStyle { eps: 1e-3, momentum: 0.01, same: false, squeeze: Activation::Relu, gate: Activation::HardSigmoid };
/// Blocks from this one on have dilation 2, and the first of them stride 1 instead of 2.
const DILATED_FROM: usize = 12;
/// The block whose output is the fine feature: the first at stride 8.
const FINE: usize = 3;

/// Channels of the fine feature.
pub const FINE_CHANNELS: i64 = 40;
/// Channels of the deepest feature.
pub const DEEP_CHANNELS: i64 = LAST;

/// The backbone without the classifier.
pub struct MobileNetV3 {
    stem: ConvNormAct,
    blocks: Vec<InvertedResidual>,
    last: ConvNormAct,
}

/// The features that the heads read.
pub struct Features {
    /// `[B, 40, H/8, W/8]`.
    pub fine: Tensor,
    /// `[B, 960, H/16, W/16]`.
    pub deep: Tensor,
}

impl MobileNetV3 {
    /// Builds the backbone under the name `backbone`.
    pub fn new(root: &Path, config: &ModelConfig) -> Result<Self, ModelError> {
        let path = (root / "backbone").with_scheme(Scheme::HeFanOut);
        let layer =
            |index: usize, shape| ConvNormAct::new(&(&path / index), ["0", "1"], shape, Activation::HardSwish, &STYLE);
        let stem = ConvShape { kernel: 3, stride: 2, ..ConvShape::point(config.in_channels, STEM) };
        let stem = layer(0, stem)?;
        let mut built = Vec::new();
        let mut input = STEM;
        for (index, block) in blocks().iter().enumerate() {
            let dilated = index >= DILATED_FROM;
            let shape = InvertedResidualShape {
                stride: if dilated { 1 } else { block.stride },
                dilation: if dilated { 2 } else { 1 },
                ..*block
            };
            built.push(InvertedResidual::new(&(&path / (index + 1)), Naming::Torchvision, &shape, &STYLE, 0.0)?);
            input = shape.output;
        }
        let last = layer(built.len() + 1, ConvShape::point(input, LAST))?;
        Ok(MobileNetV3 { stem, blocks: built, last })
    }

    /// The features of images `[B, C, H, W]`.
    pub fn forward(&self, x: &Tensor, train: bool) -> Result<Features, ModelError> {
        let mut x = self.stem.forward(x, train)?; // [B, 16, H/2, W/2]
        let (early, late) = self.blocks.split_at(FINE + 1);
        for block in early {
            x = block.forward(&x, train)?;
        }
        let fine = x.shallow_clone(); // [B, 40, H/8, W/8]
        for block in late {
            x = block.forward(&x, train)?;
        }
        let deep = self.last.forward(&x, train)?; // [B, 960, H/16, W/16]
        note_features(&[&fine, &deep]);
        Ok(Features { fine, deep })
    }
}

/// Channels of the stages at strides 1, 2, 4, 8, 16 and 16 (the last is dilated).
pub fn channels(config: &ModelConfig) -> Vec<i64> {
    vec![config.in_channels, 16, 24, FINE_CHANNELS, 112, DEEP_CHANNELS]
}
