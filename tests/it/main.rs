//! The one integration binary: one module a kind of test.

#[cfg(feature = "torch")]
mod losses;
#[cfg(feature = "torch")]
mod models;
mod cli;
mod fault;
mod mask;
mod python;
mod reading;
mod scan;
mod splits;
mod stats;
