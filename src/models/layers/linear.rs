use tch::{TchError, Tensor};

use crate::models::parameters::Path;

/// PyTorch's `Linear`.
#[derive(Debug)]
pub struct Linear {
    weight: Tensor,
    bias: Option<Tensor>,
}

impl Linear {
    /// From `input` to `output` features.
    pub fn new(path: &Path, input: i64, output: i64, bias: bool) -> Result<Self, TchError> {
        let shape = [output, input];
        let weight = path.parameter("weight", &shape, path.scheme().linear(&shape))?;
        let bias = bias.then(|| path.parameter("bias", &[output], path.scheme().bias(&shape))).transpose()?;
        Ok(Linear { weight, bias })
    }

    /// `[.., input]` to `[.., output]`.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor, TchError> {
        x.f_linear(&self.weight, self.bias.as_ref())
    }
}
