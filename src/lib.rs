//! carpus: bone segmentation on hand radiographs, from a folder of data to a report, folds, findings,
//! crops, trained models and a submission. See ARCHITECTURE.md for the map and the invariants.
#![allow(missing_docs, unused)]

pub mod bones;
pub mod clean;
pub mod cli;
pub mod corrections;
pub mod dataset;
pub mod geometry;
pub mod mask;
pub mod progress;
pub mod splits;
pub mod tables;
