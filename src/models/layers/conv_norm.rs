use tch::{Kind, Tensor};

use super::operations::counting;
use super::{Conv2d, Norm2d};
use crate::models::ModelError;

/// A convolution without bias and the norm after it. In evaluation, where nothing is recorded for gradients, a batch norm
/// is folded into the convolution's weight: one pass over the map less, and one map less in memory.
pub fn conv_norm(convolution: &Conv2d, norm: &Norm2d, x: &Tensor, train: bool) -> Result<Tensor, ModelError> {
    if !train
        && !counting()
        && !records()
        && matches!(convolution.kind(), Kind::Float | Kind::Double)
        && let Some((scale, shift)) = norm.stored()?
    {
        return Ok(convolution.forward_scaled(x, &scale, &shift)?);
    }
    norm.forward(&convolution.forward(x)?, train)
}

/// Whether operations are recorded for gradients on this thread.
fn records() -> bool {
    // SAFETY: it changes this thread's state alone; the only way to read it is to set it.
    unsafe {
        let on = torch_sys::at_grad_set_enabled(0);
        torch_sys::at_grad_set_enabled(on);
        on != 0
    }
}
