//! carpus: bone segmentation on hand radiographs, from a folder of data to a report, folds, findings,
//! crops, trained models and a submission. See ARCHITECTURE.md for the map and the invariants.
#![warn(missing_docs)]

pub mod audit;
pub mod bones;
pub mod clean;
pub mod cli;
pub mod config;
pub mod corrections;
pub mod dataset;
pub mod draw;
pub mod features;
pub mod figures;
pub mod geometry;
pub mod mask;
pub mod progress;
pub mod report;
pub mod scan;
pub mod scores;
pub mod splits;
pub mod stats;
pub mod tables;
#[cfg(feature = "torch")]
mod closed_enum;
#[cfg(feature = "torch")]
pub mod augment;
#[cfg(feature = "torch")]
pub mod device;
#[cfg(feature = "torch")]
pub mod infer;
#[cfg(feature = "torch")]
pub mod losses;
#[cfg(feature = "torch")]
pub mod metrics;
#[cfg(feature = "torch")]
pub mod models;
#[cfg(feature = "torch")]
pub mod train;
