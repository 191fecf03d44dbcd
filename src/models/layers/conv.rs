use tch::{Kind, TchError, Tensor};

use super::Scheme;
use super::operations::counted;
use crate::models::parameters::Path;

/// Options of a convolution in addition to its channels and kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConvOptions {
    /// Stride in both directions.
    pub stride: i64,
    /// Number of zeros added on each side.
    pub padding: i64,
    /// Dilation: distance between neighbouring positions of the kernel, in pixels.
    pub dilation: i64,
    /// Number of groups of channels, which are convolved separately.
    pub groups: i64,
    /// Whether a bias is added.
    pub bias: bool,
}

impl Default for ConvOptions {
    fn default() -> Self {
        ConvOptions { stride: 1, padding: 0, dilation: 1, groups: 1, bias: true }
    }
}

impl ConvOptions {
    /// Options without bias: for a convolution that is followed by a norm.
    pub fn without_bias() -> Self {
        ConvOptions { bias: false, ..Self::default() }
    }

    /// With this stride.
    pub fn stride(self, stride: i64) -> Self {
        ConvOptions { stride, ..self }
    }

    /// With this padding.
    pub fn padding(self, padding: i64) -> Self {
        ConvOptions { padding, ..self }
    }

    /// With this dilation.
    pub fn dilation(self, dilation: i64) -> Self {
        ConvOptions { dilation, ..self }
    }

    /// With this many groups.
    pub fn groups(self, groups: i64) -> Self {
        ConvOptions { groups, ..self }
    }
}

/// PyTorch's `Conv2d`.
#[derive(Debug)]
pub struct Conv2d {
    weight: Tensor,
    bias: Option<Tensor>,
    options: ConvOptions,
}

impl Conv2d {
    /// A square kernel with `kernel` pixels per side, from `input` to `output` channels.
    pub fn new(path: &Path, input: i64, output: i64, kernel: i64, options: ConvOptions) -> Result<Self, TchError> {
        let shape = [output, input / options.groups, kernel, kernel];
        let weight = path.parameter("weight", &shape, path.scheme().convolution(&shape, options.groups))?;
        let bias = options.bias.then(|| path.parameter("bias", &[output], path.scheme().bias(&shape))).transpose()?;
        Ok(Conv2d { weight, bias, options })
    }

    /// `[B, input, H, W]` to `[B, output, H', W']`.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor, TchError> {
        let ConvOptions { stride, padding, dilation, groups, .. } = self.options;
        if let Some(y) = counted(x, || self.output_size(x), self.weight.size()[1..].iter().product())? {
            return Ok(y);
        }
        x.f_conv2d(&self.weight, self.bias.as_ref(), [stride; 2], [padding; 2], [dilation; 2], groups)
    }

    /// The contribution to the output of the input channels from `first` on, whose values are `x`, for a convolution
    /// without bias and groups.
    pub fn forward_part(&self, x: &Tensor, first: i64) -> Result<Tensor, TchError> {
        let weight = self.weight.f_narrow(1, first, x.size()[1])?;
        Conv2d { weight, bias: None, options: self.options }.forward(x)
    }

    /// The output times `scale` plus `shift`, `[C]` each (one value per output channel), computed by scaling the
    /// weight.
    pub(super) fn forward_scaled(&self, x: &Tensor, scale: &Tensor, shift: &Tensor) -> Result<Tensor, TchError> {
        let weight = self.weight.f_mul(&scale.f_view([-1, 1, 1, 1])?)?;
        let shift = match &self.bias {
            Some(bias) => bias.f_mul(scale)?.f_add(shift)?,
            None => shift.shallow_clone(),
        };
        Conv2d { weight, bias: Some(shift), options: self.options }.forward(x)
    }

    /// Number type of the weight.
    pub(super) fn kind(&self) -> Kind {
        self.weight.kind()
    }

    fn output_size(&self, x: &Tensor) -> Vec<i64> {
        let ConvOptions { stride, padding, dilation, .. } = self.options;
        let (weight, size) = (self.weight.size(), x.size());
        let side = |axis: usize| (size[axis] + 2 * padding - dilation * (weight[axis] - 1) - 1) / stride + 1;
        vec![size[0], weight[0], side(2), side(3)]
    }
}

/// PyTorch's `ConvTranspose2d`. All libraries except nnU-Net leave it at PyTorch's default initialisation.
#[derive(Debug)]
pub struct ConvTranspose2d {
    weight: Tensor,
    bias: Option<Tensor>,
    stride: i64,
    padding: i64,
}

impl ConvTranspose2d {
    /// A square kernel with `kernel` pixels per side, from `input` to `output` channels, with bias.
    pub fn new(path: &Path, input: i64, output: i64, kernel: i64, stride: i64, padding: i64) -> Result<Self, TchError> {
        let shape = [input, output, kernel, kernel];
        let scheme = if path.scheme() == Scheme::NnUnet { Scheme::NnUnet } else { Scheme::Torch };
        let weight = path.parameter("weight", &shape, scheme.convolution(&shape, 1))?;
        let bias = path.parameter("bias", &[output], scheme.bias(&shape))?;
        Ok(ConvTranspose2d { weight, bias: Some(bias), stride, padding })
    }

    /// A 2x2 kernel with stride 2, without bias: every output value depends on one input position.
    pub fn doubling(path: &Path, input: i64, output: i64) -> Result<Self, TchError> {
        let shape = [input, output, 2, 2];
        let weight = path.parameter("weight", &shape, Scheme::Torch.convolution(&shape, 1))?;
        Ok(ConvTranspose2d { weight, bias: None, stride: 2, padding: 0 })
    }

    /// `[B, input, H, W]` to `[B, output, stride * (H - 1) + kernel - 2 * padding, ..]`.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor, TchError> {
        let (stride, padding) = ([self.stride; 2], [self.padding; 2]);
        // Each input value contributes to one output value per kernel position, so an output value has 1 / stride² of
        // the kernel's positions as terms.
        let weight = self.weight.size();
        let terms = weight[0] * weight[2] * weight[3] / (self.stride * self.stride);
        if let Some(y) = counted(x, || self.output_size(x), terms)? {
            return Ok(y);
        }
        x.f_conv_transpose2d(&self.weight, self.bias.as_ref(), stride, padding, [0, 0], 1, [1, 1])
    }

    fn output_size(&self, x: &Tensor) -> Vec<i64> {
        let (weight, size) = (self.weight.size(), x.size());
        let side = |axis: usize| self.stride * (size[axis] - 1) + weight[axis] - 2 * self.padding;
        vec![size[0], weight[1], side(2), side(3)]
    }
}
