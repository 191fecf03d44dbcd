//! The one integration binary: one module a kind of test.

mod audit;
mod browser;
mod chain;
mod clean;
mod cli;
mod fault;
#[cfg(feature = "torch")]
mod losses;
mod mask;
#[cfg(feature = "torch")]
mod models;
#[cfg(feature = "torch")]
mod models_exchange;
#[cfg(feature = "torch")]
mod models_initial;
#[cfg(feature = "torch")]
mod models_matrix;
mod phantom;
mod python;
mod reading;
mod report;
mod scan;
mod splits;
mod stats;
mod synthetic;
#[cfg(feature = "torch")]
mod train;
#[cfg(feature = "torch")]
mod train_cli;
#[cfg(feature = "torch")]
mod train_parity;
