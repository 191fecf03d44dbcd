use std::borrow::Borrow;
use std::cell::RefCell;

use tch::{TchError, Tensor};

/// What a pass through a model would cost and pass on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Multiply-adds of convolutions, linear layers and attention.
    pub operations: u64,
    /// Shapes of the encoder's features, `[B, C, H, W]`, the input first.
    pub features: Vec<Vec<i64>>,
}

thread_local! {
    static TALLY: RefCell<Option<Tally>> = const { RefCell::new(None) };
}

/// Runs `work` while the products on this thread are counted instead of made: they give tensors of the right shape with
/// anything in them, so that a model without values tells its cost in milliseconds.
pub fn tally<T>(work: impl FnOnce() -> T) -> (T, Tally) {
    let outer = TALLY.replace(Some(Tally::default()));
    let done = work();
    (done, TALLY.replace(outer).unwrap_or_default())
}

/// The output of `shape` of a product of `x` whose every value is the sum of `terms` multiplications; `None` where
/// nothing is counted and the product is to be made.
pub(super) fn counted(x: &Tensor, shape: impl FnOnce() -> Vec<i64>, terms: i64) -> Result<Option<Tensor>, TchError> {
    TALLY.with_borrow_mut(|tally| {
        let Some(tally) = tally else { return Ok(None) };
        let shape = shape();
        tally.operations += (shape.iter().product::<i64>() * terms) as u64;
        Tensor::f_empty(shape, (x.kind(), x.device())).map(Some)
    })
}

/// Whether products are counted instead of made on this thread: then values do not matter, and what costs time for
/// them alone may be left out.
pub(super) fn counting() -> bool {
    TALLY.with_borrow(Option::is_some)
}

/// Notes the features of an encoder where they are asked for.
pub fn note_features<T: Borrow<Tensor>>(features: &[T]) {
    TALLY.with_borrow_mut(|tally| {
        if let Some(tally) = tally {
            tally.features = features.iter().map(|feature| feature.borrow().size()).collect();
        }
    });
}
