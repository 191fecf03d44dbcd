use tch::Tensor;

use super::layers::{
    Conv2d, ConvNormRelu, ConvOptions, bicubic_by, bilinear_by, bilinear_to, channel_dropout, nearest_by,
};
use super::{ModelConfig, ModelError, Path, Upsampling};

/// Shape of a head: its kernel and how many times it enlarges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadShape {
    /// Pixels of the convolution's kernel.
    pub kernel: i64,
    /// Stride of the decoder's output.
    pub upsampling: i64,
    /// Whether interpolation puts corner pixels on corner pixels instead of keeping pixel centres.
    pub align_corners: bool,
}

/// Dropout of whole channels, one convolution to the classes, then interpolation to the input's size.
#[derive(Debug)]
pub struct SegmentationHead {
    convolution: Conv2d,
    upsampling: i64,
    mode: Upsampling,
    /// Whether interpolation puts corner pixels on corner pixels, as the reference, instead of keeping pixel centres.
    corners: bool,
    dropout: f64,
}

impl SegmentationHead {
    /// From a decoder's `channels`, as the reference has it: bilinear, no dropout.
    pub fn new(path: &Path, channels: i64, classes: i64, shape: HeadShape) -> Result<Self, ModelError> {
        let options = ConvOptions::default().padding(shape.kernel / 2);
        Ok(SegmentationHead {
            convolution: Conv2d::new(&(path / 0), channels, classes, shape.kernel, options)?,
            upsampling: shape.upsampling,
            mode: Upsampling::Bilinear,
            corners: shape.align_corners,
            dropout: 0.0,
        })
    }

    /// With the interpolation and dropout of `config`. Under PointRend interpolation keeps pixel centres: a coarse
    /// logit must stand for the same place in training, at its points and in subdivision.
    pub fn configured(self, config: &ModelConfig) -> Self {
        SegmentationHead {
            mode: config.upsampling_mode,
            corners: self.corners && config.point_rend.is_none(),
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

/// A fully convolutional head on one feature, for training alone.
/// J. Long, E. Shelhamer, T. Darrell, Fully convolutional networks for semantic segmentation, CVPR 2015.
#[derive(Debug)]
pub struct AuxiliaryHead {
    mix: ConvNormRelu,
    classify: Conv2d,
}

impl AuxiliaryHead {
    const CHANNELS: i64 = 256;

    /// On a feature of `channels`.
    pub fn new(path: &Path, channels: i64, classes: i64) -> Result<Self, ModelError> {
        Ok(AuxiliaryHead {
            mix: ConvNormRelu::new(&(path / "convs" / 0), channels, Self::CHANNELS, 3)?,
            classify: Conv2d::new(&(path / "classifier"), Self::CHANNELS, classes, 1, ConvOptions::default())?,
        })
    }

    /// `[B, channels, h, w]` to `[B, classes, H, W]`, the size of `images`.
    pub fn forward(&self, x: &Tensor, images: &Tensor, train: bool) -> Result<Tensor, ModelError> {
        let logits = self.classify.forward(&self.mix.forward(x, train)?)?; // [B, classes, h, w]
        Ok(bilinear_to(&logits, images, false)?)
    }
}
