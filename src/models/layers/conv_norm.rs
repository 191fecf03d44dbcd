use std::cell::Cell;

use tch::{Kind, Tensor};

use super::operations::counting;
use super::{Conv2d, Norm2d};
use crate::models::ModelError;

thread_local! {
    static FOLDING: Cell<bool> = const { Cell::new(false) };
}

/// Runs `work`, which must record nothing for gradients, with batch norms in evaluation folded into the convolutions
/// before them on this thread.
pub fn folded<T>(work: impl FnOnce() -> T) -> T {
    let outer = FOLDING.replace(true);
    let done = work();
    FOLDING.set(outer);
    done
}

/// A convolution without bias and the norm after it. Under [`folded`] a batch norm in evaluation becomes part of the
/// convolution's weight: one pass over the map less, and one map less in memory.
pub fn conv_norm(convolution: &Conv2d, norm: &Norm2d, x: &Tensor, train: bool) -> Result<Tensor, ModelError> {
    if !train
        && FOLDING.get()
        && !counting()
        && matches!(convolution.kind(), Kind::Float | Kind::Double)
        && let Some((scale, shift)) = norm.stored()?
    {
        return Ok(convolution.forward_scaled(x, &scale, &shift)?);
    }
    norm.forward(&convolution.forward(x)?, train)
}
