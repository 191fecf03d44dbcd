use tch::Tensor;

use super::{Conv2d, ConvOptions, Norm2d, conv_norm};
use crate::models::{ModelError, Path};

/// A depthwise separable convolution: a 3x3 convolution of each channel alone (`0.0`), a 1x1 convolution across the
/// channels (`0.1`), a norm (`1`), ReLU.
#[derive(Debug)]
pub struct SeparableConvNormRelu {
    depthwise: Conv2d,
    pointwise: Conv2d,
    norm: Norm2d,
}

impl SeparableConvNormRelu {
    /// A layer that keeps the size of the map. `first` is the index of the convolutions in the sequence at `path`; the
    /// norm has the next index.
    pub fn new(path: &Path, first: usize, input: i64, output: i64, dilation: i64) -> Result<Self, ModelError> {
        let options = ConvOptions::without_bias().groups(input).padding(dilation).dilation(dilation);
        let place = path / first;
        Ok(SeparableConvNormRelu {
            depthwise: Conv2d::new(&(&place / 0), input, input, 3, options)?,
            pointwise: Conv2d::new(&(&place / 1), input, output, 1, ConvOptions::without_bias())?,
            norm: Norm2d::new(&(path / (first + 1)), output)?,
        })
    }

    /// `[B, input, H, W]` to `[B, output, H, W]`.
    pub fn forward(&self, x: &Tensor, train: bool) -> Result<Tensor, ModelError> {
        Ok(conv_norm(&self.pointwise, &self.norm, &self.depthwise.forward(x)?, train)?.f_relu_()?)
    }
}
