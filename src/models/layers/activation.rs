use tch::{TchError, Tensor};

use super::operations::counting;

/// What bends the output of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// Nothing: the layer is linear.
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
    /// Of each value of `x`, a map that nothing else holds: in its place where no gradient needs it again.
    pub fn forward(self, mut x: Tensor) -> Result<Tensor, TchError> {
        if counting() {
            return Ok(x);
        }
        // The gradients of these two are those of their outputs; the others would copy their input first.
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

/// GELU by the error function, of a map that nothing else holds: in place where nothing is recorded for gradients.
pub fn gelu(mut x: Tensor) -> Result<Tensor, TchError> {
    if counting() {
        return Ok(x);
    }
    if x.requires_grad() { x.f_gelu("none") } else { x.f_gelu_("none") }
}

/// `x` times the `gate` of each of its channels, in place likewise.
pub fn gated(mut x: Tensor, gate: &Tensor) -> Result<Tensor, TchError> {
    if counting() {
        return Ok(x);
    }
    if x.requires_grad() || gate.requires_grad() { x.f_mul(gate) } else { x.f_mul_(gate) }
}
