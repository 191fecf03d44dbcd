use tch::{TchError, Tensor};

use super::operations::counting;

/// The activation function of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// `x`: the layer is linear.
    Identity,
    /// `max(x, 0)`.
    Relu,
    /// `min(max(x, 0), 6)`.
    Relu6,
    /// `x * sigmoid(x)`, also called swish.
    Silu,
    /// `x * hard_sigmoid(x)`.
    HardSwish,
    /// `1 / (1 + exp(-x))`.
    Sigmoid,
    /// `min(max(x + 3, 0), 6) / 6`.
    HardSigmoid,
}

impl Activation {
    /// Applies the function to each value of `x`, in place if no gradient needs `x` again. No other tensor may share
    /// the storage of `x`.
    pub fn forward(self, mut x: Tensor) -> Result<Tensor, TchError> {
        if counting() {
            return Ok(x);
        }
        // ReLU and sigmoid compute their gradients from their outputs, so they are always in place; the others would
        // copy their input first.
        let in_place = !x.requires_grad();
        match self {
            Activation::Identity => Ok(x),
            Activation::Relu => x.f_relu_(),
            Activation::Sigmoid => x.f_sigmoid_(),
            Activation::Relu6 if in_place => x.f_relu6_(),
            Activation::Relu6 => x.f_relu6(),
            Activation::Silu if in_place => x.f_silu_(),
            Activation::Silu => x.f_silu(),
            Activation::HardSwish if in_place => x.f_hardswish_(),
            Activation::HardSwish => x.f_hardswish(),
            Activation::HardSigmoid if in_place => x.f_hardsigmoid_(),
            Activation::HardSigmoid => x.f_hardsigmoid(),
        }
    }
}

/// GELU by the error function, in place if no gradients are recorded. No other tensor may share the storage of `x`.
pub fn gelu(mut x: Tensor) -> Result<Tensor, TchError> {
    if counting() {
        return Ok(x);
    }
    if x.requires_grad() { x.f_gelu("none") } else { x.f_gelu_("none") }
}

/// `x`, `[B, C, H, W]`, times the `gate`, `[B, C, 1, 1]`, in place if no gradients are recorded.
pub fn gated(mut x: Tensor, gate: &Tensor) -> Result<Tensor, TchError> {
    if counting() {
        return Ok(x);
    }
    if x.requires_grad() || gate.requires_grad() { x.f_mul(gate) } else { x.f_mul_(gate) }
}
