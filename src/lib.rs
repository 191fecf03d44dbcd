//! carpus: bone segmentation on hand radiographs, from a folder of data to a report, folds, findings,
//! crops, trained models and a submission. See ARCHITECTURE.md for the map and the invariants.
#![warn(missing_docs)]

pub mod artefact;
#[cfg(feature = "torch")]
pub mod aten;
pub mod audit;
#[cfg(feature = "torch")]
pub mod augment;
pub mod bones;
mod bounded;
pub mod clean;
pub mod cli;
mod closed_enum;
pub mod config;
pub mod dataset;
#[cfg(feature = "torch")]
pub mod device;
pub mod digest;
pub mod draw;
#[cfg(feature = "torch")]
pub mod experiment;
pub mod features;
pub mod figures;
pub mod geometry;
#[cfg(feature = "torch")]
pub mod infer;
#[cfg(feature = "torch")]
pub mod losses;
pub mod mask;
#[cfg(feature = "torch")]
pub mod metrics;
#[cfg(feature = "torch")]
pub mod models;
pub mod names;
pub mod progress;
pub mod report;
pub mod runs;
pub mod scan;
pub mod scores;
pub mod splits;
pub mod stats;
pub mod tables;
pub mod threads;
#[cfg(feature = "torch")]
pub mod train;
pub mod typeface;
#[cfg(feature = "torch")]
pub mod violation;
mod wording;
