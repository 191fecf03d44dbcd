//! torchvision's fully convolutional network with a dilated ResNet-50 (`fcn_resnet50`); its deepest features are at
//! stride 8.
//! J. Long, E. Shelhamer, T. Darrell, Fully convolutional networks for semantic segmentation, CVPR 2015.

use tch::Tensor;

use super::{STRIDE, auxiliary_head, output};
use crate::models::assembly::Network;
use crate::models::encoders::{self, Encoder};
use crate::models::layers::{Conv2d, ConvNormRelu, ConvOptions, dropout, note_features};
use crate::models::{EncoderKind, Input, ModelConfig, ModelError, Output, Path};

const DROPOUT: f64 = 0.1;

/// A 3x3 convolution to a quarter of the channels, then a 1x1 convolution to the classes.
pub struct FcnHead {
    narrow: ConvNormRelu,
    classes: Conv2d,
    dropout: f64,
}

impl FcnHead {
    /// A head on features with `input` channels.
    pub fn new(path: &Path, config: &ModelConfig, input: i64) -> Result<Self, ModelError> {
        Ok(FcnHead {
            narrow: ConvNormRelu::new(path, input, input / 4, 3)?,
            classes: Conv2d::new(&(path / 4), input / 4, config.classes, 1, ConvOptions::default())?,
            dropout: config.dropout.unwrap_or(DROPOUT),
        })
    }

    /// `[B, input, h, w]` to `[B, classes, h, w]`.
    pub fn forward(&self, x: &Tensor, train: bool) -> Result<Tensor, ModelError> {
        let x = dropout(self.narrow.forward(x, train)?, self.dropout, train)?; // [B, input / 4, h, w]
        Ok(self.classes.forward(&x)?)
    }
}

/// ResNet-50 and the head on its last stage. The auxiliary head reads the stage before.
pub struct Fcn {
    backbone: Box<dyn Encoder>,
    head: FcnHead,
    auxiliary: Option<FcnHead>,
}

impl Fcn {
    /// Builds the network of `config`.
    pub fn new(root: &Path, config: &ModelConfig) -> Result<Self, ModelError> {
        let backbone = encoders::build(&(root / "backbone"), EncoderKind::ResNet50, config)?;
        let channels = backbone.channels();
        let head = FcnHead::new(&(root / "classifier"), config, channels[5])?;
        let auxiliary = auxiliary_head(root, config, channels[4])?;
        Ok(Fcn { backbone, head, auxiliary })
    }
}

impl Network for Fcn {
    fn channels(&self) -> &[i64] {
        self.backbone.channels()
    }

    fn stride(&self) -> i64 {
        STRIDE
    }

    fn forward(&self, input: &Input, train: bool) -> Result<Output, ModelError> {
        let features = self.backbone.forward(input.images, train)?;
        note_features(&features);
        let logits = self.head.forward(&features[5], train)?; // [B, classes, H/8, W/8]
        output(input.images, &logits, self.auxiliary.as_ref(), &features[4], train)
    }
}
