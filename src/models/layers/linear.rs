use tch::{TchError, Tensor};

use super::operations::counted;
use crate::models::parameters::Path;

/// PyTorch's `Linear`.
#[derive(Debug)]
pub struct Linear {
    weight: Tensor,
    bias: Option<Tensor>,
}

impl Linear {
    /// A layer from `input` to `output` features.
    pub fn new(path: &Path, input: i64, output: i64) -> Result<Self, TchError> {
        let layer = Linear::without_bias(path, input, output)?;
        let bias = path.parameter("bias", &[output], path.scheme().bias(&[output, input]))?;
        Ok(Linear { bias: Some(bias), ..layer })
    }

    /// The same without a bias.
    pub fn without_bias(path: &Path, input: i64, output: i64) -> Result<Self, TchError> {
        let shape = [output, input];
        Ok(Linear { weight: path.parameter("weight", &shape, path.scheme().linear(&shape))?, bias: None })
    }

    /// `[.., input]` to `[.., output]`.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor, TchError> {
        let shape = || [&x.size()[..x.dim() - 1], &self.weight.size()[..1]].concat();
        if let Some(y) = counted(x, shape, self.weight.size()[1])? {
            return Ok(y);
        }
        x.f_linear(&self.weight, self.bias.as_ref())
    }

    /// Applies the layer at each pixel of a map: `[B, input, H, W]` to `[B, output, H, W]`.
    pub fn forward_map(&self, x: &Tensor) -> Result<Tensor, TchError> {
        let weight = self.weight.f_unsqueeze(2)?.f_unsqueeze(3)?;
        let shape = || [&x.size()[..1], &self.weight.size()[..1], &x.size()[2..]].concat();
        if let Some(y) = counted(x, shape, self.weight.size()[1])? {
            return Ok(y);
        }
        x.f_conv2d(&weight, self.bias.as_ref(), [1, 1], [0, 0], [1, 1], 1)
    }
}
