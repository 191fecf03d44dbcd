use tch::Tensor;

use super::layers::{Conv2d, ConvOptions, bilinear_by};
use super::{ModelError, Path};

/// Shape of a head: its kernel and how many times it enlarges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadShape {
    /// Pixels of the convolution's kernel.
    pub kernel: i64,
    /// Stride of the decoder's output.
    pub upsampling: i64,
}

/// One convolution to the classes, then bilinear interpolation to the input's size.
#[derive(Debug)]
pub struct SegmentationHead {
    convolution: Conv2d,
    upsampling: i64,
}

impl SegmentationHead {
    /// From a decoder's `channels`.
    pub fn new(path: &Path, channels: i64, classes: i64, shape: HeadShape) -> Result<Self, ModelError> {
        let options = ConvOptions::default().padding(shape.kernel / 2);
        Ok(SegmentationHead {
            convolution: Conv2d::new(&(path / 0), channels, classes, shape.kernel, options)?,
            upsampling: shape.upsampling,
        })
    }

    /// `[B, channels, H/s, W/s]` to `[B, classes, H, W]`.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor, ModelError> {
        let logits = self.convolution.forward(x)?;
        if self.upsampling > 1 { Ok(bilinear_by(&logits, self.upsampling, true)?) } else { Ok(logits) }
    }
}
