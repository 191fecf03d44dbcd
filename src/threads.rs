//! Thread pools of a given size.

use rayon::{ThreadPool, ThreadPoolBuildError, ThreadPoolBuilder};

/// Error: the threads cannot be started.
#[derive(Debug, thiserror::Error)]
#[error("cannot start {jobs} threads: {source}")]
pub struct ThreadsError {
    jobs: usize,
    source: ThreadPoolBuildError,
}

/// A pool of `jobs` threads; 0 for one per core.
///
/// # Errors
/// The threads cannot be started.
pub fn pool(jobs: usize) -> Result<ThreadPool, ThreadsError> {
    ThreadPoolBuilder::new().num_threads(jobs).build().map_err(|source| ThreadsError { jobs, source })
}
