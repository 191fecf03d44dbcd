//! The residual block of ResNet; HRNet is built from it too.
//! K. He, X. Zhang, S. Ren, J. Sun, Deep residual learning for image recognition, CVPR 2016.

use tch::Tensor;

use crate::models::layers::{Conv2d, ConvOptions, Norm2d, conv_norm};
use crate::models::{ModelError, Path};

/// Shape of a [`ResidualBlock`].
pub struct ResidualShape {
    /// Input channels.
    pub input: i64,
    /// Channels between its convolutions.
    pub inner: i64,
    /// Output channels.
    pub output: i64,
    /// Stride of the first (of two) or the middle (of three) convolution.
    pub stride: i64,
    /// Replaces the stride beyond the output stride.
    pub dilation: Option<i64>,
    /// Groups of a bottleneck's middle convolution.
    pub groups: i64,
}

/// The convolutions of a [`ResidualBlock`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResidualKind {
    /// Two of 3x3.
    Basic,
    /// One of 3x3 between two of 1x1.
    Bottleneck,
}

/// Convolutions with norms, added to the input or, if the shape changes, to its projection.
pub struct ResidualBlock {
    layers: Vec<(Conv2d, Norm2d)>,
    projection: Option<(Conv2d, Norm2d)>,
}

impl ResidualBlock {
    /// Builds a block.
    pub fn new(path: &Path, kind: ResidualKind, shape: &ResidualShape) -> Result<Self, ModelError> {
        let &ResidualShape { input, inner, output, stride, dilation, groups } = shape;
        let plain = ConvOptions::without_bias();
        let step = if dilation.is_some() { 1 } else { stride };
        let rate = dilation.unwrap_or(1);
        let wide = |step| plain.stride(step).padding(rate).dilation(rate);
        let kernels = match kind {
            ResidualKind::Bottleneck => {
                vec![(input, inner, 1, plain), (inner, inner, 3, wide(step).groups(groups)), (inner, output, 1, plain)]
            }
            ResidualKind::Basic => vec![(input, inner, 3, wide(step)), (inner, output, 3, wide(1))],
        };
        let mut layers = Vec::new();
        for (index, (from, to, kernel, options)) in kernels.into_iter().enumerate() {
            let convolution = Conv2d::new(&(path / format!("conv{}", index + 1)), from, to, kernel, options)?;
            layers.push((convolution, Norm2d::new(&(path / format!("bn{}", index + 1)), to)?));
        }
        let projection = if stride != 1 || input != output {
            let place = path / "downsample";
            let convolution = Conv2d::new(&(&place / 0), input, output, 1, plain.stride(step))?;
            Some((convolution, Norm2d::new(&(&place / 1), output)?))
        } else {
            None
        };
        Ok(ResidualBlock { layers, projection })
    }

    /// `[B, input, H, W]` to `[B, output, H / stride, W / stride]`.
    pub fn forward(&self, input: &Tensor, train: bool) -> Result<Tensor, ModelError> {
        let mut x = input.shallow_clone();
        for (index, (convolution, norm)) in self.layers.iter().enumerate() {
            x = conv_norm(convolution, norm, &x, train)?;
            if index + 1 < self.layers.len() {
                x = x.f_relu_()?;
            }
        }
        let shortcut = match &self.projection {
            Some((convolution, norm)) => conv_norm(convolution, norm, input, train)?,
            None => input.shallow_clone(),
        };
        Ok(x.f_add_(&shortcut)?.f_relu_()?)
    }
}
