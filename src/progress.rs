//! Progress of long library functions, reported through a trait that a caller implements.

/// Receiver of the progress of a long task.
pub trait Progress: Sync {
    /// A task of `total` steps starts; `what` names the steps in the plural: `images`.
    fn start(&self, what: &str, total: u64);
    /// `n` more steps are done.
    fn advance(&self, n: u64);
    /// The task that was started last is finished.
    fn finish(&self);
}

/// Ignores progress.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Progress for Silent {
    fn start(&self, _what: &str, _total: u64) {}
    fn advance(&self, _n: u64) {}
    fn finish(&self) {}
}
