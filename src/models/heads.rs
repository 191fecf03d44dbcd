use tch::Tensor;

use super::layers::{
    Conv2d, ConvNormRelu, ConvOptions, Corners, bicubic_by, bilinear_by, bilinear_to, channel_dropout, nearest_by,
};
use super::{ModelConfig, ModelError, Path, Upsampling};

/// Shape of a segmentation head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadShape {
    /// Side of the convolution's kernel, in pixels.
    pub kernel: i64,
    /// Stride of the decoder's output: the factor by which the head enlarges the logits.
    pub upsampling: i64,
    /// Corners of the interpolation.
    pub corners: Corners,
}

/// SMP's segmentation head: dropout of whole channels, a convolution to the classes, interpolation to the input's size.
#[derive(Debug)]
pub struct SegmentationHead {
    convolution: Conv2d,
    upsampling: i64,
    mode: Upsampling,
    corners: Corners,
    dropout: f64,
}

impl SegmentationHead {
    /// A head on `channels` channels of the decoder, as in segmentation_models_pytorch and transformers: bilinear,
    /// without dropout.
    pub fn new(path: &Path, channels: i64, classes: i64, shape: HeadShape) -> Result<Self, ModelError> {
        let options = ConvOptions::default().padding(shape.kernel / 2);
        Ok(SegmentationHead {
            convolution: Conv2d::new(&(path / 0), channels, classes, shape.kernel, options)?,
            upsampling: shape.upsampling,
            mode: Upsampling::Bilinear,
            corners: shape.corners,
            dropout: 0.0,
        })
    }

    /// The same head with the interpolation and dropout of `config`. With PointRend, corners are not aligned: a coarse
    /// logit must belong to the same place in training, at the sampled points and in subdivision.
    pub fn configured(self, config: &ModelConfig) -> Self {
        SegmentationHead {
            mode: config.upsampling_mode,
            corners: if config.point_rend.is_none() { self.corners } else { Corners::AtEdges },
            dropout: config.head_dropout.unwrap_or(0.0),
            ..self
        }
    }

    /// `[B, channels, H/s, W/s]` to `[B, classes, H/s, W/s]`.
    pub fn coarse(&self, x: Tensor, train: bool) -> Result<Tensor, ModelError> {
        Ok(self.convolution.forward(&channel_dropout(x, self.dropout, train)?)?)
    }

    /// `[B, classes, H/s, W/s]` to `[B, classes, H, W]`.
    pub fn enlarge(&self, coarse: Tensor) -> Result<Tensor, ModelError> {
        let factor = self.upsampling;
        Ok(match self.mode {
            _ if factor == 1 => coarse,
            Upsampling::Bilinear => bilinear_by(&coarse, factor, self.corners)?,
            Upsampling::Nearest => nearest_by(&coarse, factor)?,
            Upsampling::Bicubic => bicubic_by(&coarse, factor, self.corners)?,
        })
    }
}

/// A fully convolutional auxiliary head on one feature, used only in training.
/// J. Long, E. Shelhamer, T. Darrell, Fully convolutional networks for semantic segmentation, CVPR 2015.
#[derive(Debug)]
pub struct AuxiliaryHead {
    mix: ConvNormRelu,
    classify: Conv2d,
}

impl AuxiliaryHead {
    const CHANNELS: i64 = 256;

    /// A head on a feature with this many channels.
    pub fn new(path: &Path, channels: i64, classes: i64) -> Result<Self, ModelError> {
        Ok(AuxiliaryHead {
            mix: ConvNormRelu::new(&(path / "convs" / 0), channels, Self::CHANNELS, 3)?,
            classify: Conv2d::new(&(path / "classifier"), Self::CHANNELS, classes, 1, ConvOptions::default())?,
        })
    }

    /// `[B, channels, h, w]` to `[B, classes, H, W]`, the size of `images`.
    pub fn forward(&self, x: &Tensor, images: &Tensor, train: bool) -> Result<Tensor, ModelError> {
        let x = self.mix.forward(x, train)?; // [B, 256, h, w]
        let logits = self.classify.forward(&x)?; // [B, classes, h, w]
        Ok(bilinear_to(&logits, images, Corners::AtEdges)?)
    }
}
