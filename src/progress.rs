//! How long-running library functions tell of their progress without knowing who watches.

/// Someone who watches a long task.
pub trait Progress: Sync {
    /// A task of `total` steps begins; `what` names a step in the plural: `images`.
    fn start(&self, what: &str, total: u64);
    /// `n` more steps are done.
    fn advance(&self, n: u64);
    /// The task that was started last is over.
    fn finish(&self);
}

/// Watches nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Progress for Silent {
    fn start(&self, _what: &str, _total: u64) {}
    fn advance(&self, _n: u64) {}
    fn finish(&self) {}
}
