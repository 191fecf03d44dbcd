use serde::{Deserialize, Serialize};
use tch::{Device, Kind, TchError};

use crate::aten::Autocast;
use crate::closed_enum::closed_enum;

closed_enum! {
    /// What a model's products are computed in. Weights, losses, gradients of weights and moments stay in single
    /// precision.
    pub enum Amp ("precision") {
        /// Single precision throughout.
        Off = "off",
        /// BFloat16 where libtorch's autocast holds it safe.
        Bf16 = "bf16",
        /// Half where libtorch's autocast holds it safe, with a scaled loss (see [`Scaler`]).
        Fp16 = "fp16",
    }
}

impl Amp {
    /// While what it gives lives, operations on `device` compute in this precision.
    pub fn enter(self, device: Device) -> Result<Option<Autocast>, TchError> {
        let kind = match self {
            Amp::Off => return Ok(None),
            Amp::Bf16 => Kind::BFloat16,
            Amp::Fp16 => Kind::Half,
        };
        Autocast::enter(device, kind).map(Some)
    }
}

/// The factor on the loss that keeps half-precision gradients from vanishing, as `torch.amp.GradScaler` moves it:
/// halved at a step with an infinite gradient, which is left out, doubled after 2,000 steps without
/// (Micikevicius et al. 2018).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scaler {
    scale: f64,
    /// Steps since the factor last changed.
    good: u32,
}

/// PyTorch's defaults.
const START: f64 = 65536.0;
const GROWTH: f64 = 2.0;
const BACKOFF: f64 = 0.5;
const INTERVAL: u32 = 2000;

impl Default for Scaler {
    fn default() -> Self {
        Scaler { scale: START, good: 0 }
    }
}

impl Scaler {
    /// The factor.
    pub fn scale(&self) -> f64 {
        self.scale
    }

    /// Follows a step; `overflowed` where a gradient was infinite or no number.
    pub fn update(&mut self, overflowed: bool) {
        if overflowed {
            self.scale *= BACKOFF;
            self.good = 0;
        } else {
            self.good += 1;
            if self.good == INTERVAL {
                self.scale *= GROWTH;
                self.good = 0;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Tensor;

    #[test]
    fn products_are_short_inside_and_single_outside() {
        let a = Tensor::rand([8, 8], (Kind::Float, Device::Cpu));
        let inside = |amp: Amp| {
            let _short = amp.enter(Device::Cpu).unwrap();
            a.matmul(&a).kind()
        };
        for (amp, kind) in [(Amp::Off, Kind::Float), (Amp::Bf16, Kind::BFloat16), (Amp::Fp16, Kind::Half)] {
            assert_eq!((inside(amp), a.matmul(&a).kind()), (kind, Kind::Float), "{amp}");
        }
        let panicked = std::panic::catch_unwind(|| {
            let _short = Amp::Bf16.enter(Device::Cpu).unwrap();
            panic!("inside")
        });
        assert!(panicked.is_err() && a.matmul(&a).kind() == Kind::Float);
    }
}
