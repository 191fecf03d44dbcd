//! Configuration files: TOML with unknown keys refused, turned into what is run.

pub mod chain;
#[cfg(feature = "torch")]
mod commented;
#[cfg(feature = "torch")]
mod keys;
#[cfg(feature = "torch")]
pub mod layered;
#[cfg(feature = "torch")]
pub mod train;
