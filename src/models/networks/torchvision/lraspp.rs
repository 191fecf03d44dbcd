//! torchvision's lite reduced atrous spatial pyramid pooling (`lraspp_mobilenet_v3_large`): the deepest feature of
//! MobileNetV3-large is gated by its own average, and the logits of the deepest and the fine feature are added.
//! A. Howard et al., Searching for MobileNetV3, ICCV 2019, section 6.4.

use super::STRIDE;
use super::backbone::{self, DEEP_CHANNELS, FINE_CHANNELS, MobileNetV3};
use crate::models::assembly::Network;
use crate::models::layers::{Conv2d, ConvNormRelu, ConvOptions, Corners, bilinear_to};
use crate::models::{Input, ModelConfig, ModelError, Output, Path};

const CHANNELS: i64 = 128;

/// The backbone and a head of four 1x1 convolutions.
pub struct Lraspp {
    channels: Vec<i64>,
    backbone: MobileNetV3,
    narrow: ConvNormRelu,
    gate: Conv2d,
    fine: Conv2d,
    deep: Conv2d,
}

impl Lraspp {
    /// Builds the network of `config`.
    pub fn new(root: &Path, config: &ModelConfig) -> Result<Self, ModelError> {
        let backbone = MobileNetV3::new(root, config)?;
        let path = root / "classifier";
        let gate = ConvOptions::without_bias();
        Ok(Lraspp {
            channels: backbone::channels(config),
            backbone,
            narrow: ConvNormRelu::new(&(&path / "cbr"), DEEP_CHANNELS, CHANNELS, 1)?,
            gate: Conv2d::new(&(&path / "scale" / 1), DEEP_CHANNELS, CHANNELS, 1, gate)?,
            fine: Conv2d::new(&(&path / "low_classifier"), FINE_CHANNELS, config.classes, 1, ConvOptions::default())?,
            deep: Conv2d::new(&(&path / "high_classifier"), CHANNELS, config.classes, 1, ConvOptions::default())?,
        })
    }
}

impl Network for Lraspp {
    fn channels(&self) -> &[i64] {
        &self.channels
    }

    fn stride(&self) -> i64 {
        STRIDE
    }

    fn forward(&self, input: &Input, train: bool) -> Result<Output, ModelError> {
        let features = self.backbone.forward(input.images, train)?;
        let pooled = features.deep.f_adaptive_avg_pool2d([1, 1])?; // [B, 960, 1, 1]
        let gate = self.gate.forward(&pooled)?.f_sigmoid_()?; // [B, 128, 1, 1]
        let x = self.narrow.forward(&features.deep, train)?.f_mul(&gate)?; // [B, 128, H/16, W/16]
        let x = bilinear_to(&x, &features.fine, Corners::AtEdges)?; // [B, 128, H/8, W/8]
        let logits = self.fine.forward(&features.fine)?.f_add_(&self.deep.forward(&x)?)?; // [B, classes, H/8, W/8]
        Ok(Output::of(bilinear_to(&logits, input.images, Corners::AtEdges)?))
    }
}
