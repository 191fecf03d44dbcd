//! The one integration binary: one module a kind of test.

mod clean;
mod browser;
mod python;
mod report;
mod audit;
#[cfg(feature = "torch")]
mod losses;
#[cfg(feature = "torch")]
mod models;
mod cli;
mod fault;
mod mask;
mod phantom;
mod cli;
mod fault;
mod mask;
#[cfg(feature = "torch")]
mod models;
mod python;
mod reading;
mod scan;
mod splits;
#[cfg(feature = "torch")]
mod train;
#[cfg(feature = "torch")]
mod train_cli;
#[cfg(feature = "torch")]
mod train_parity;
mod stats;
mod synthetic;
