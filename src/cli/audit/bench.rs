use std::path::PathBuf;

use anyhow::Context;

use crate::artefact::kind;
use crate::audit::bench::{BenchResult, FaultRates, bench, write};
use crate::cli::data::open;
use crate::cli::values::jobs;
use crate::cli::{Status, Ui};
use crate::scan::ScanSettings;
use crate::wording::counted;

/// Plant faults in a clean data set and measure how well the audit finds them
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Example:
  carpus audit bench data --faults swap=0.01,shift-finger=0.005 --seed 1
  carpus audit bench data --faults missing=0.02,move=0.02 --out bench.json

Kinds: swap, rotate, scramble, shift-finger, mirror (labels of the other hand), missing, duplicate, \
unknown, move. Each image gets at most one fault; only hands with one outline of each bone get one. The \
faults are planted in memory: the data is not changed.")]
pub struct BenchArgs {
    /// Data folder without faults
    data: PathBuf,
    /// Kinds of faults and the shares of images that get them, separated by commas
    #[arg(long, value_name = "KIND=RATE")]
    faults: FaultRates,
    /// Random seed: the same seed plants the same faults
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Corrections file to apply before faults are planted
    #[arg(long, value_name = "FILE")]
    corrections: Option<PathBuf>,
    /// JSON file to write, with the rank of each fault
    #[arg(short, long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Number of threads; 0 for one per core
    #[arg(short, long, value_name = "N", default_value_t = 0, value_parser = jobs())]
    jobs: usize,
}

/// Plants the faults, audits the data and prints how they were found.
pub fn run(args: BenchArgs, ui: &Ui) -> anyhow::Result<Status> {
    let (dataset, status) = open(&args.data, args.corrections.as_deref(), ui)?;
    let outputs = ui.outputs().inputs(&args.corrections).data(dataset.folders());
    args.out.iter().try_for_each(|path| outputs.file(path, &kind::AUDIT_BENCHMARK))?;
    let settings = ScanSettings { jobs: args.jobs, ..ScanSettings::default() };
    let result = bench(dataset, &args.faults, args.seed, &settings, ui)?;
    if let Some(path) = &args.out {
        write(&result, path).with_context(|| format!("cannot write {}", path.display()))?;
    }
    print(&result, ui);
    ui.json(&result)?;
    Ok(status)
}

fn print(result: &BenchResult, ui: &Ui) {
    ui.line(format_args!(
        "{:<14} {:>7} {:>6} {:>7} {:>10} {:>18} {:>12}",
        "fault", "planted", "found", "recall", "precision", "average precision", "right repair"
    ));
    for kind in &result.kinds {
        let precision = kind.precision.map_or("-".to_owned(), |p| format!("{p:.3}"));
        let repaired = kind.repaired.map_or("-".to_owned(), |n| n.to_string());
        ui.line(format_args!(
            "{:<14} {:>7} {:>6} {:>7.3} {precision:>10} {:>18.3} {repaired:>12}",
            kind.fault.name(),
            kind.planted,
            kind.found,
            kind.recall,
            kind.average_precision
        ));
    }
    ui.line(format_args!(
        "{}, {}; average precision of the ranking {:.3}; clean images with severity high: {:.1} %",
        counted(result.images, "annotated image", "annotated images"),
        counted(result.findings, "finding", "findings"),
        result.average_precision,
        100.0 * result.clean_share_high
    ));
    for fault in result.faults.iter().filter(|fault| fault.rank.is_none()).take(10) {
        ui.line(format_args!("not found: {} in {} ({})", fault.fault, fault.image_id, fault.labels.join(", ")));
    }
}
