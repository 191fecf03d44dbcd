use std::cell::Cell;

use tch::Tensor;

thread_local! {
    static COUNT: Cell<Option<u64>> = const { Cell::new(None) };
}

/// Runs `work` and counts the multiply-adds of its convolutions and linear layers on this thread.
pub fn count_operations<T>(work: impl FnOnce() -> T) -> (T, u64) {
    let outer = COUNT.replace(Some(0));
    let done = work();
    let count = COUNT.replace(outer).unwrap_or(0);
    (done, count)
}

/// Notes a layer whose every output value is the sum of `terms` products.
pub(super) fn note(output: &Tensor, terms: i64) {
    if let Some(count) = COUNT.get() {
        COUNT.set(Some(count + output.numel() as u64 * terms as u64));
    }
}
