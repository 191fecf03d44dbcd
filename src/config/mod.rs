//! Configuration files in TOML. Unknown keys are refused.

pub mod chain;
#[cfg(feature = "torch")]
mod commented;
#[cfg(feature = "torch")]
mod keys;
#[cfg(feature = "torch")]
pub mod layered;
#[cfg(feature = "torch")]
pub mod operations;
#[cfg(feature = "torch")]
pub mod train;
