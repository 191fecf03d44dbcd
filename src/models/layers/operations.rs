use std::borrow::Borrow;
use std::cell::RefCell;

use tch::{TchError, Tensor};

/// Cost and feature shapes of one forward pass of a model.
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

/// Runs `work` while the products on this thread are counted instead of computed: they return uninitialised tensors of
/// the right shape, so the cost of a model without values is found in milliseconds.
pub fn tally<T>(work: impl FnOnce() -> T) -> (T, Tally) {
    let outer = TALLY.replace(Some(Tally::default()));
    let done = work();
    (done, TALLY.replace(outer).unwrap_or_default())
}

/// Counts a product of `x` whose output has this `shape` and each value of which is the sum of `terms` multiplications.
/// Returns an uninitialised output, or `None` if products are not counted and the caller must compute it.
pub(super) fn counted(x: &Tensor, shape: impl FnOnce() -> Vec<i64>, terms: i64) -> Result<Option<Tensor>, TchError> {
    TALLY.with_borrow_mut(|tally| {
        let Some(tally) = tally else { return Ok(None) };
        let shape = shape();
        tally.operations += (shape.iter().product::<i64>() * terms) as u64;
        Tensor::f_empty(shape, (x.kind(), x.device())).map(Some)
    })
}

/// Whether products are counted instead of computed on this thread: then values do not matter, and operations that only
/// change values can be skipped.
pub(super) fn counting() -> bool {
    TALLY.with_borrow(Option::is_some)
}

/// Records the shapes of an encoder's features inside [`tally`]; does nothing otherwise.
pub fn note_features<T: Borrow<Tensor>>(features: &[T]) {
    TALLY.with_borrow_mut(|tally| {
        if let Some(tally) = tally {
            tally.features = features.iter().map(|feature| feature.borrow().size()).collect();
        }
    });
}
