use serde::{Deserialize, Serialize};
use tch::{Device, Kind, TchError};

use crate::aten::Autocast;
use crate::closed_enum::closed_enum;

closed_enum! {
    /// Precision of a model's matrix products and convolutions. Weights, losses, gradients of weights and moments are
    /// always in single precision.
    pub enum Amp ("precision") {
        /// Single precision everywhere.
        Off = "off",
        /// BFloat16 in the operations that libtorch's autocast considers safe.
        Bf16 = "bf16",
        /// Half precision in the operations that libtorch's autocast considers safe, with a scaled loss (see
        /// [`Scaler`]).
        Fp16 = "fp16",
    }
}

impl Amp {
    /// Operations on `device` compute in this precision until the returned value is dropped.
    ///
    /// # Errors
    /// libtorch reports an error.
    pub fn enter(self, device: Device) -> Result<Option<Autocast>, TchError> {
        let kind = match self {
            Amp::Off => return Ok(None),
            Amp::Bf16 => Kind::BFloat16,
            Amp::Fp16 => Kind::Half,
        };
        Autocast::enter(device, kind).map(Some)
    }
}

/// The loss scale: a factor on the loss that prevents half-precision gradients from vanishing, adjusted like that of
/// `torch.amp.GradScaler`: halved after a step with an infinite gradient, which is skipped, and doubled after 2,000
/// steps without one (Micikevicius et al. 2018).
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

/// Whether the gradients of a step can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GradientRange {
    /// All are finite.
    Finite,
    /// One is infinite or NaN.
    Overflowed,
}

impl Scaler {
    /// The factor on the loss.
    pub fn scale(&self) -> f64 {
        self.scale
    }

    /// Adjusts the factor after a step.
    pub fn update(&mut self, gradients: GradientRange) {
        match gradients {
            GradientRange::Overflowed => {
                self.scale *= BACKOFF;
                self.good = 0;
            }
            GradientRange::Finite => {
                self.good += 1;
                if self.good == INTERVAL {
                    self.scale *= GROWTH;
                    self.good = 0;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Tensor;

    #[test]
    fn products_have_the_chosen_precision_inside_and_single_outside() {
        let a = Tensor::rand([8, 8], (Kind::Float, Device::Cpu));
        let inside = |amp: Amp| {
            let _autocast = amp.enter(Device::Cpu).unwrap();
            a.matmul(&a).kind()
        };
        for (amp, kind) in [(Amp::Off, Kind::Float), (Amp::Bf16, Kind::BFloat16), (Amp::Fp16, Kind::Half)] {
            assert_eq!((inside(amp), a.matmul(&a).kind()), (kind, Kind::Float), "{amp}");
        }
        let panicked = std::panic::catch_unwind(|| {
            let _autocast = Amp::Bf16.enter(Device::Cpu).unwrap();
            panic!("inside")
        });
        assert!(panicked.is_err() && a.matmul(&a).kind() == Kind::Float);
    }
}
