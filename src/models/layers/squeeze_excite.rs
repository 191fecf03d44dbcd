//! Squeeze and excitation.
//! J. Hu, L. Shen, G. Sun, Squeeze-and-excitation networks, CVPR 2018.

use tch::Tensor;

use super::{Activation, Conv2d, ConvOptions, MobileStyle};
use crate::models::{ModelError, Path};

/// Multiplies the channels of a map by weights that are computed from the means of all channels.
#[derive(Debug)]
pub struct SqueezeExcite {
    reduce: Conv2d,
    expand: Conv2d,
    activation: Activation,
    gate: Activation,
}

impl SqueezeExcite {
    /// From `channels` to `squeezed` channels and back, with these names of the two layers under `path`.
    pub fn new(
        path: &Path,
        [reduce, expand]: [&str; 2],
        channels: i64,
        squeezed: i64,
        style: &MobileStyle,
    ) -> Result<Self, ModelError> {
        Ok(SqueezeExcite {
            reduce: Conv2d::new(&(path / reduce), channels, squeezed, 1, ConvOptions::default())?,
            expand: Conv2d::new(&(path / expand), squeezed, channels, 1, ConvOptions::default())?,
            activation: style.squeeze,
            gate: style.gate,
        })
    }

    /// `[B, C, H, W]` to the same.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor, ModelError> {
        let pooled = x.f_adaptive_avg_pool2d([1, 1])?; // [B, C, 1, 1]
        let squeezed = self.activation.forward(self.reduce.forward(&pooled)?)?; // [B, squeezed, 1, 1]
        let gate = self.gate.forward(self.expand.forward(&squeezed)?)?; // [B, C, 1, 1]
        Ok(x.f_mul(&gate)?)
    }
}
