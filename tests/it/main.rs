//! The one integration binary: one module per kind of test.

// The allocator of the binary, for what the tests compute in their own process.
#[cfg(all(feature = "torch", target_os = "linux", target_env = "gnu"))]
#[path = "../../src/allocator.rs"]
mod allocator;
mod audit;
mod browser;
mod chain;
mod clean;
mod cli;
mod corrections;
mod decisions;
#[cfg(feature = "torch")]
mod encoders;
mod ensembles;
mod errors;
mod examples;
mod fault;
mod fuzz;
#[cfg(feature = "torch")]
mod losses;
mod mask;
mod misaligned;
#[cfg(feature = "torch")]
mod models;
#[cfg(feature = "torch")]
mod models_contract;
#[cfg(feature = "torch")]
mod models_exchange;
#[cfg(feature = "torch")]
mod models_initial;
#[cfg(feature = "torch")]
mod models_matrix;
#[cfg(feature = "torch")]
mod models_weights;
mod outputs;
mod phantom;
mod python;
mod query;
#[cfg(feature = "torch")]
mod ranks;
mod reading;
#[cfg(feature = "torch")]
mod readme;
#[cfg(feature = "torch")]
mod reference;
mod report;
#[cfg(feature = "torch")]
mod report_configs;
mod runs;
mod scan;
#[cfg(feature = "torch")]
mod schedule;
#[cfg(feature = "torch")]
mod second_reference;
mod silent;
mod splits;
mod stats;
#[cfg(feature = "torch")]
mod structures;
mod synthetic;
#[cfg(feature = "torch")]
mod train;
#[cfg(feature = "torch")]
mod train_cli;
#[cfg(feature = "torch")]
mod train_parity;
#[cfg(feature = "torch")]
mod train_side_by_side;
mod words;
