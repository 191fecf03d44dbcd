use tch::{TchError, Tensor};

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
    /// Of each value of `x`, in its place where no gradient needs it again.
    pub fn forward(self, mut x: Tensor) -> Result<Tensor, TchError> {
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
