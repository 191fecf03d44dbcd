use std::path::PathBuf;

use super::data::warn;
use super::values::{angle, jobs};
use super::{Status, Ui};
use crate::dataset::ProblemSeverity;
use crate::dataset::{Corrections, Dataset, Problem};
use crate::scan::{self, ScanSettings};
use crate::wording::counted;

/// Measure images and masks, and write the tables that later commands read
#[derive(clap::Args, Debug)]
#[command(after_help = "Example:
  carpus scan data --out work/tables --csv
  carpus scan data --out work/tables-test --predictions submission.csv")]
pub struct ScanArgs {
    /// Data folder: train/DCM, train/outputs_json, test/DCM and meta_data.xlsx, or a flat folder
    data: PathBuf,
    /// Folder to write: tables of patients, images, bones, overlaps, shapes and problems (.parquet)
    #[arg(short, long, value_name = "DIR")]
    out: PathBuf,
    /// Also write each table as CSV
    #[arg(long)]
    csv: bool,
    /// Submission CSV: measure its masks for images without annotation
    #[arg(long, value_name = "FILE")]
    predictions: Option<PathBuf>,
    /// Corrections file to apply to annotations, sides and metadata; excluded images stay in the tables
    #[arg(long, value_name = "FILE")]
    corrections: Option<PathBuf>,
    /// A hand at this angle or more from vertical counts as rotated
    #[arg(long, default_value_t = 33.0, value_name = "DEGREES", allow_negative_numbers = true, value_parser = angle)]
    rotated_at: f64,
    /// A pixel of this grey level or more counts as bright
    #[arg(long, default_value_t = 240, value_name = "0-255")]
    bright_at: u8,
    /// Number of threads; 0 for one per core
    #[arg(short, long, value_name = "N", default_value_t = 0, value_parser = jobs())]
    jobs: usize,
}

/// Scans and prints counts and problems.
pub fn run(args: ScanArgs, ui: &Ui) -> anyhow::Result<Status> {
    let settings = ScanSettings {
        rotated_deg: args.rotated_at,
        bright: args.bright_at,
        predictions: args.predictions.clone(),
        jobs: args.jobs,
        csv: args.csv,
    };
    let corrections = args.corrections.as_deref().map(Corrections::read).transpose()?.unwrap_or_default();
    let dataset = Dataset::open(&args.data)?.with_corrections(corrections);
    let outputs = ui.outputs().inputs(args.predictions.iter().chain(&args.corrections)).data(dataset.folders());
    scan::check_outputs(&outputs, &args.out, &settings)?;
    let scan::Scan { tables, summary } = scan::scan(&dataset, &args.out, &settings, ui)?;
    let count = |severity| summary.problems.get(&severity).copied().unwrap_or(0);
    ui.line(format_args!(
        "{} ({} reused from cache), {}, {} -> {}",
        counted(summary.images, "image", "images"),
        summary.reused,
        counted(summary.patients, "patient", "patients"),
        counted(summary.bones, "bone", "bones"),
        args.out.display()
    ));
    ui.line(format_args!(
        "problems: {}, {}, {} -> {}",
        counted(count(ProblemSeverity::Error), "error", "errors"),
        counted(count(ProblemSeverity::Warning), "warning", "warnings"),
        counted(count(ProblemSeverity::Info), "repair without loss", "repairs without loss"),
        args.out.join("problems.parquet").display()
    ));
    let problems: Vec<Problem> = tables.problems.iter().map(Problem::from).collect();
    let status = warn(&problems, ui);
    ui.json(&summary)?;
    Ok(status)
}
