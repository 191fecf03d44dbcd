//! The one integration binary: one module per kind of test.

// The allocator of the binary, for what the tests compute in their own process.
#[cfg(all(feature = "torch", target_os = "linux", target_env = "gnu"))]
#[path = "../../src/allocator.rs"]
mod allocator;
mod audit;
#[cfg(feature = "torch")]
mod augment_cli;
#[cfg(feature = "torch")]
mod augment_geometry;
#[cfg(feature = "torch")]
mod augment_mixing;
#[cfg(feature = "torch")]
mod augment_pixel;
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
#[cfg(feature = "torch")]
mod lr_finder;
mod mask;
mod metrics;
mod misaligned;
#[cfg(feature = "torch")]
mod mmseg;
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
mod models_segments;
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
mod runs_subgroups;
mod scan;
#[cfg(feature = "torch")]
mod schedule;
#[cfg(feature = "torch")]
mod second_reference;
mod silent;
#[cfg(feature = "torch")]
mod soft_targets;
mod splits;
mod stats;
#[cfg(feature = "torch")]
mod structures;
mod synthetic;
#[cfg(feature = "torch")]
mod train;
#[cfg(feature = "torch")]
mod train_average;
#[cfg(feature = "torch")]
mod train_cli;
#[cfg(feature = "torch")]
mod train_input;
#[cfg(feature = "torch")]
mod train_parity;
#[cfg(feature = "torch")]
mod train_side_by_side;
#[cfg(feature = "torch")]
mod train_teacher;
#[cfg(feature = "torch")]
mod train_wandb;
mod words;
