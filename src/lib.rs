//! carpus segments bones on hand radiographs: from a folder of images, polygon annotations and a spreadsheet of patients to
//! an analysis report, ranked annotation errors, stratified folds, cleaned crops, trained models and a submission.
//!
//! The command `carpus` is a thin layer over this library. Stages communicate through files (Parquet tables, CSV, safetensors),
//! so a program can start and stop anywhere in the chain.
//!
//! # Quick start
//!
//! Scan a folder, print what the audit finds, and compute the Dice of a submission:
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let (data, tables_folder) = (folder.path().join("data"), folder.path().join("tables"));
//! # let phantom = carpus::dataset::phantom::PhantomSettings {
//! #     patients: 2, test_patients: 0, size: 128, seed: 1, defects: false, jobs: 0, force: false,
//! # };
//! # carpus::dataset::phantom::generate(&phantom, &data, &carpus::progress::Silent)?;
//! use carpus::audit::{AuditSettings, audit};
//! use carpus::dataset::Dataset;
//! use carpus::progress::Silent;
//! use carpus::scan::{ScanSettings, scan};
//! use carpus::scores::{Region, score};
//!
//! // `data` is the path of a folder: train/DCM, train/outputs_json and meta_data.xlsx, or a flat folder.
//! let dataset = Dataset::open(&data)?;
//! let scanned = scan(&dataset, &tables_folder, &ScanSettings::default(), &Silent)?;
//! println!("{} images, {} bones", scanned.summary.images, scanned.summary.bones);
//! for finding in audit(&scanned.tables, None, &AuditSettings::default())? {
//!     println!("{}", finding.message);
//! }
//!
//! // The masks of one image: 29 run-length masks, indexed by bone. Here a mask is compared with itself.
//! let image = &dataset.images()[0];
//! let (width, height) = dataset.dimensions(image)?;
//! let annotation = dataset.annotation(image)?.ok_or("no annotation")?.annotation;
//! let masks = annotation.masks(width, height);
//! let dice = score(&image.image_id, &masks, &masks, Region::Image)?;
//! assert_eq!(dice.mean(), 1.0);
//! # Ok(())
//! # }
//! ```
//!
//! The programs in `examples/` scan, query, audit, compare two submissions and predict with trained weights.
//!
//! # Modules
//!
//! | to | use |
//! |---|---|
//! | open a folder of data; read images, annotations, the spreadsheet and corrections | [`dataset`] |
//! | work with masks: fill polygons, unite, intersect, measure, read and write submissions | [`mask`], [`geometry`], [`bones`] |
//! | make, read and query tables | [`scan`], [`tables`], [`features`] |
//! | analyse: statistics, figures, the HTML report | [`stats`], [`figures`], [`report`] |
//! | find annotation errors, judge them in a browser | [`audit`], [`review`] |
//! | assign folds, make crops | [`splits`], [`clean`] |
//! | score predictions, combine submissions, compare runs | [`scores`], [`metrics`], [`runs`] |
//! | combine stored predictions, make masks of probabilities, choose thresholds | [`ensemble`], [`probability`], [`thresholds`] |
//! | train and predict (feature `torch`) | `experiment`, `train`, `models`, `losses`, `augment`, `infer` |
//! | draw outlines and masks | [`draw`] |
//!
//! ARCHITECTURE.md in the repository explains how the modules depend on each other, and the invariants.
//!
//! # Features
//!
//! `torch` (on by default) enables everything that needs libtorch. Without it neither libtorch nor Python is needed.
#![warn(missing_docs)]

pub mod artefact;
#[cfg(feature = "torch")]
pub mod aten;
pub mod audit;
#[cfg(feature = "torch")]
pub mod augment;
pub mod bones;
mod bounded;
pub mod by_bone;
pub mod clean;
pub mod cli;
mod closed_enum;
pub mod config;
pub mod convert;
pub mod dataset;
#[cfg(feature = "torch")]
pub mod device;
pub mod digest;
pub mod draw;
pub mod ensemble;
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
pub mod metrics;
#[cfg(feature = "torch")]
pub mod models;
pub mod names;
pub mod probability;
pub mod progress;
pub mod report;
pub mod review;
pub mod runs;
pub mod scan;
pub mod scores;
pub mod settings_file;
pub mod splits;
pub mod stats;
pub mod tables;
pub mod threads;
pub mod thresholds;
#[cfg(feature = "torch")]
pub mod train;
pub mod typeface;
pub mod violation;
mod wording;
