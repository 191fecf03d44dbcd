use std::cell::Cell;

use tch::{Kind, Tensor};

use super::operations::counting;
use super::{Conv2d, Norm2d};
use crate::models::ModelError;

thread_local! {
    static FOLDING: Cell<bool> = const { Cell::new(false) };
}

/// Runs `work` with batch norms in evaluation mode folded into the convolutions before them, on this thread. `work`
/// must not record gradients.
pub fn folded<T>(work: impl FnOnce() -> T) -> T {
    let outer = FOLDING.replace(true);
    let done = work();
    FOLDING.set(outer);
    done
}

/// A convolution without bias and the norm after it. Inside [`folded`], a batch norm in evaluation mode becomes part of
/// the convolution's weight, which saves an operation on the map and the memory of a map.
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
