use tch::Tensor;

use super::{Activation, Conv2d, ConvOptions, Norm2d, conv_norm};
use crate::models::{ModelError, Path};

/// Properties that all layers of a family of mobile networks share.
#[derive(Clone, Copy, Debug)]
pub struct MobileStyle {
    /// Epsilon of the batch norms.
    pub eps: f64,
    /// Momentum of the batch norms: the weight of a new batch in the running statistics.
    pub momentum: f64,
    /// Whether a strided convolution is padded by TensorFlow's rule (see [`ConvNormAct`]).
    pub same: bool,
    /// Activation between the two layers of squeeze and excitation.
    pub squeeze: Activation,
    /// Activation that gives the gate of squeeze and excitation.
    pub gate: Activation,
}

/// Shape of a convolution without bias.
#[derive(Clone, Copy, Debug)]
pub struct ConvShape {
    /// Input channels.
    pub input: i64,
    /// Output channels.
    pub output: i64,
    /// Side of the square kernel in pixels, an odd number.
    pub kernel: i64,
    /// Stride in both directions.
    pub stride: i64,
    /// Dilation: distance between neighbouring positions of the kernel, in pixels.
    pub dilation: i64,
    /// Number of groups of channels, which are convolved separately.
    pub groups: i64,
}

impl ConvShape {
    /// A 1x1 convolution.
    pub fn point(input: i64, output: i64) -> Self {
        ConvShape { input, output, kernel: 1, stride: 1, dilation: 1, groups: 1 }
    }
}

/// A convolution without bias, a norm, an activation. The padding makes the output's size the input's size divided by
/// the stride: half the kernel on all sides, or by TensorFlow's rule (`same`), which depends on the image's size and
/// pads more at the bottom and right if the total is odd.
pub struct ConvNormAct {
    convolution: Conv2d,
    norm: Norm2d,
    activation: Activation,
    /// The kernel's extent and the stride, if the padding depends on the image's size.
    same: Option<(i64, i64)>,
}

impl ConvNormAct {
    /// A layer with these names of the convolution and the norm under `path`.
    pub fn new(
        path: &Path,
        [convolution, norm]: [&str; 2],
        shape: ConvShape,
        activation: Activation,
        style: &MobileStyle,
    ) -> Result<Self, ModelError> {
        let ConvShape { input, output, kernel, stride, dilation, groups } = shape;
        let extent = (kernel - 1) * dilation + 1;
        let same = (style.same && stride > 1).then_some((extent, stride));
        let padding = if same.is_some() { 0 } else { extent / 2 };
        let options = ConvOptions { stride, padding, dilation, groups, bias: false };
        Ok(ConvNormAct {
            convolution: Conv2d::new(&(path / convolution), input, output, kernel, options)?,
            norm: Norm2d::with(&(path / norm), output, style.eps, style.momentum)?,
            activation,
            same,
        })
    }

    /// `[B, input, H, W]` to `[B, output, H / stride, W / stride]`, rounded up.
    pub fn forward(&self, x: &Tensor, train: bool) -> Result<Tensor, ModelError> {
        let x = match self.same {
            None => x.shallow_clone(),
            Some((extent, stride)) => {
                let size = x.size();
                let [top, bottom] = same_padding(size[2], extent, stride);
                let [left, right] = same_padding(size[3], extent, stride);
                x.f_constant_pad_nd([left, right, top, bottom])?
            }
        };
        Ok(self.activation.forward(conv_norm(&self.convolution, &self.norm, &x, train)?)?)
    }
}

/// Number of zeros before and after `size` pixels with which a kernel of this extent gives `size / stride` values,
/// rounded up.
fn same_padding(size: i64, extent: i64, stride: i64) -> [i64; 2] {
    let steps = (size + stride - 1) / stride;
    let padding = std::cmp::max((steps - 1) * stride + extent - size, 0);
    [padding / 2, padding - padding / 2]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tensorflow_pads_more_at_the_end() {
        assert_eq!(same_padding(64, 3, 2), [0, 1]);
        assert_eq!(same_padding(65, 3, 2), [1, 1]);
        assert_eq!(same_padding(64, 5, 2), [1, 2]);
        assert_eq!(same_padding(64, 1, 2), [0, 0]);
    }
}
