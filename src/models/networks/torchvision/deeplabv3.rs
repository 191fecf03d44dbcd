//! torchvision's DeepLabV3 with MobileNetV3-large (`deeplabv3_mobilenet_v3_large`): a pyramid of dilated convolutions
//! on the feature at stride 16.
//! L.-C. Chen, G. Papandreou, F. Schroff, H. Adam, Rethinking atrous convolution for semantic image segmentation, 2017.

use super::backbone::{self, DEEP_CHANNELS, FINE_CHANNELS, MobileNetV3};
use super::fcn::FcnHead;
use super::{STRIDE, auxiliary_head, output};
use crate::models::assembly::Network;
use crate::models::decoders::{DilatedKind, PYRAMID_CHANNELS, Pyramid};
use crate::models::layers::{Conv2d, ConvNormRelu, ConvOptions};
use crate::models::{Input, ModelConfig, ModelError, Output, Path};

/// The backbone, the pyramid (`classifier.0`), a 3x3 convolution, a 1x1 convolution to the classes. The auxiliary head
/// reads the fine feature.
pub struct TorchvisionDeepLabV3 {
    channels: Vec<i64>,
    backbone: MobileNetV3,
    pyramid: Pyramid,
    last: ConvNormRelu,
    classes: Conv2d,
    auxiliary: Option<FcnHead>,
}

impl TorchvisionDeepLabV3 {
    /// Builds the network of `config`.
    pub fn new(root: &Path, config: &ModelConfig) -> Result<Self, ModelError> {
        let backbone = MobileNetV3::new(root, config)?;
        let path = root / "classifier";
        let options = ConvOptions::without_bias().padding(1);
        Ok(TorchvisionDeepLabV3 {
            channels: backbone::channels(config),
            backbone,
            pyramid: Pyramid::new(&(&path / 0), config, DEEP_CHANNELS, DilatedKind::Full)?,
            last: ConvNormRelu::named(&path, ["1", "2"], PYRAMID_CHANNELS, PYRAMID_CHANNELS, 3, options)?,
            classes: Conv2d::new(&(&path / 4), PYRAMID_CHANNELS, config.classes, 1, ConvOptions::default())?,
            auxiliary: auxiliary_head(root, config, FINE_CHANNELS)?,
        })
    }
}

impl Network for TorchvisionDeepLabV3 {
    fn channels(&self) -> &[i64] {
        &self.channels
    }

    fn stride(&self) -> i64 {
        STRIDE
    }

    fn forward(&self, input: &Input, train: bool) -> Result<Output, ModelError> {
        let features = self.backbone.forward(input.images, train)?;
        let x = self.last.forward(&self.pyramid.forward(&features.deep, train)?, train)?; // [B, 256, H/16, W/16]
        let logits = self.classes.forward(&x)?; // [B, classes, H/16, W/16]
        output(input.images, &logits, self.auxiliary.as_ref(), &features.fine, train)
    }
}
