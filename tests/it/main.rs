//! The one integration binary: one module a kind of test.

mod cli;
mod fault;
#[cfg(feature = "torch")]
mod losses;
mod mask;
#[cfg(feature = "torch")]
mod models;
mod python;
mod reading;
mod scan;
mod splits;
mod stats;
