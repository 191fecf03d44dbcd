use tch::Tensor;

use super::layers::{Conv2d, ConvNormRelu, ConvOptions, bilinear_by};
use super::{ModelError, Path};

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

/// One convolution to the classes, then bilinear interpolation to the input's size.
#[derive(Debug)]
pub struct SegmentationHead {
    convolution: Conv2d,
    shape: HeadShape,
}

impl SegmentationHead {
    /// From a decoder's `channels`.
    pub fn new(path: &Path, channels: i64, classes: i64, shape: HeadShape) -> Result<Self, ModelError> {
        let options = ConvOptions::default().padding(shape.kernel / 2);
        Ok(SegmentationHead { convolution: Conv2d::new(&(path / 0), channels, classes, shape.kernel, options)?, shape })
    }

    /// `[B, channels, H/s, W/s]` to `[B, classes, H, W]`.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor, ModelError> {
        let logits = self.convolution.forward(x)?;
        let HeadShape { upsampling, align_corners, .. } = self.shape;
        if upsampling > 1 { Ok(bilinear_by(&logits, upsampling, align_corners)?) } else { Ok(logits) }
    }
}

/// A fully convolutional head on one feature, for training alone.
/// J. Long, E. Shelhamer, T. Darrell, Fully convolutional networks for semantic segmentation, CVPR 2015.
#[derive(Debug)]
pub struct AuxiliaryHead {
    mix: ConvNormRelu,
    classify: Conv2d,
    stride: i64,
}

impl AuxiliaryHead {
    const CHANNELS: i64 = 256;

    /// On a feature of `channels` at `stride`.
    pub fn new(path: &Path, channels: i64, classes: i64, stride: i64) -> Result<Self, ModelError> {
        Ok(AuxiliaryHead {
            mix: ConvNormRelu::new(&(path / "convs" / 0), channels, Self::CHANNELS, 3)?,
            classify: Conv2d::new(&(path / "classifier"), Self::CHANNELS, classes, 1, ConvOptions::default())?,
            stride,
        })
    }

    /// `[B, channels, H/s, W/s]` to `[B, classes, H, W]`.
    pub fn forward(&self, x: &Tensor, train: bool) -> Result<Tensor, ModelError> {
        let logits = self.classify.forward(&self.mix.forward(x, train)?)?;
        Ok(bilinear_by(&logits, self.stride, false)?)
    }
}
