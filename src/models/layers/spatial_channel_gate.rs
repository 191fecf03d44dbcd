//! Concurrent spatial and channel squeeze and excitation (SMP's `SCSEModule`).
//! A. G. Roy, N. Navab, C. Wachinger, Concurrent spatial and channel squeeze and excitation in fully convolutional
//! networks, MICCAI 2018.

use tch::Tensor;

use super::{Conv2d, ConvOptions};
use crate::models::{ModelError, Path};

const REDUCTION: i64 = 16;

/// Two gates on a feature map, one per channel and one per pixel; the two results are added.
#[derive(Debug)]
pub struct SpatialChannelGate {
    squeeze: Conv2d,
    excite: Conv2d,
    pixel: Conv2d,
}

impl SpatialChannelGate {
    /// A gate for maps with this many channels, which are squeezed to a sixteenth, at least 1.
    pub fn new(path: &Path, channels: i64) -> Result<Self, ModelError> {
        let path = path / "attention";
        let options = ConvOptions::default();
        let narrow = std::cmp::max(channels / REDUCTION, 1);
        Ok(SpatialChannelGate {
            squeeze: Conv2d::new(&(&path / "cSE" / 1), channels, narrow, 1, options)?,
            excite: Conv2d::new(&(&path / "cSE" / 3), narrow, channels, 1, options)?,
            pixel: Conv2d::new(&(&path / "sSE" / 0), channels, 1, 1, options)?,
        })
    }

    /// `[B, C, H, W]` to the same.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor, ModelError> {
        let pooled = x.f_adaptive_avg_pool2d([1, 1])?; // [B, C, 1, 1]
        let channel = self.excite.forward(&self.squeeze.forward(&pooled)?.f_relu_()?)?.f_sigmoid()?; // [B, C, 1, 1]
        let pixel = self.pixel.forward(x)?.f_sigmoid()?; // [B, 1, H, W]
        Ok(x.f_mul(&channel)?.f_add_(&x.f_mul(&pixel)?)?)
    }
}
