use tch::Tensor;

use super::{Conv2d, ConvOptions, Norm2d, conv_norm};
use crate::models::{ModelError, Path};

/// A convolution (`0`) without bias, a norm (`1`), ReLU: the basic layer of SMP's decoders.
#[derive(Debug)]
pub struct ConvNormRelu {
    convolution: Conv2d,
    norm: Norm2d,
}

impl ConvNormRelu {
    /// A layer with a square kernel that keeps the size of the map.
    pub fn new(path: &Path, input: i64, output: i64, kernel: i64) -> Result<Self, ModelError> {
        Self::with(path, input, output, kernel, ConvOptions::without_bias().padding(kernel / 2))
    }

    /// A layer with these options of the convolution.
    pub fn with(path: &Path, input: i64, output: i64, kernel: i64, options: ConvOptions) -> Result<Self, ModelError> {
        Self::named(path, ["0", "1"], input, output, kernel, options)
    }

    /// A layer with other names of the convolution and the norm.
    pub fn named(
        path: &Path,
        [convolution, norm]: [&str; 2],
        input: i64,
        output: i64,
        kernel: i64,
        options: ConvOptions,
    ) -> Result<Self, ModelError> {
        Ok(ConvNormRelu {
            convolution: Conv2d::new(&(path / convolution), input, output, kernel, options)?,
            norm: Norm2d::new(&(path / norm), output)?,
        })
    }

    /// `[B, input, H, W]` to `[B, output, H', W']`.
    pub fn forward(&self, x: &Tensor, train: bool) -> Result<Tensor, ModelError> {
        Ok(self.forward_linear(x, train)?.f_relu_()?)
    }

    /// As [`ConvNormRelu::forward`], without the ReLU.
    pub fn forward_linear(&self, x: &Tensor, train: bool) -> Result<Tensor, ModelError> {
        conv_norm(&self.convolution, &self.norm, x, train)
    }
}
