//! The one integration binary: one module a kind of test.

mod cli;
mod fault;
mod mask;
#[cfg(feature = "torch")]
mod models;
mod python;
mod reading;
mod scan;
mod splits;
mod stats;
#[cfg(feature = "torch")]
mod train;
#[cfg(feature = "torch")]
mod train_cli;
#[cfg(feature = "torch")]
mod train_parity;
