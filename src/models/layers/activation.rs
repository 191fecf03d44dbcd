use tch::{TchError, Tensor};

use super::operations::counting;

/// SiLU of a map that nothing else holds: in place where nothing is recorded for gradients.
pub fn silu(mut x: Tensor) -> Result<Tensor, TchError> {
    if counting() {
        return Ok(x);
    }
    if x.requires_grad() { x.f_silu() } else { x.f_silu_() }
}

/// GELU by the error function, in place likewise.
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
