//! `carpus start`: from a data folder to the report, with default options.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::run::{ChainStage, ChainStageEnd, StageOptions, StageReport, run_stage};
use super::{Status, Ui};

/// Look at new data: scan, audit, folds and report in one command, with defaults
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Example:
  carpus start data
  carpus start data --out work --predictions submission.csv

It runs scan, audit, split and eda, prints each command, so that you can repeat
it alone, and ends with the path of the report. Unchanged stages are skipped
when it runs again. The report begins with what needs action, each point with
its command. If the patients cannot be assigned to folds, the report is made
without folds. For the whole pipeline with training, see `carpus run`.")]
pub struct StartArgs {
    /// Data folder: train/DCM, train/outputs_json, test/DCM and meta_data.xlsx, or a flat folder
    data: PathBuf,
    /// Folder to write: tables, audit, folds.csv and report
    #[arg(short, long, value_name = "DIR", default_value = "work")]
    out: PathBuf,
    /// Corrections file to apply in every stage
    #[arg(long, value_name = "FILE")]
    corrections: Option<PathBuf>,
    /// Submission CSV: measure these masks for images without an annotation
    #[arg(long, value_name = "FILE")]
    predictions: Option<PathBuf>,
    /// Title of the report [default: the name of the data folder]
    #[arg(long)]
    title: Option<String>,
    /// Run all stages again, even if nothing changed
    #[arg(long)]
    again: bool,
}

/// Runs the stages and prints the path of the report.
pub fn run(args: StartArgs, ui: &Ui) -> anyhow::Result<Status> {
    let at = |name: &str| args.out.join(name);
    let options = StageOptions { forced: args.again, dry_run: false };
    let mut reports: Vec<StageReport> = Vec::new();
    let (scan, audit, split) = (scan(&args), audit(&args), split(&args));
    let mut has_folds = false;
    for stage in [&scan, &audit] {
        match run_stage(stage, &args.out, options, ui)? {
            ChainStageEnd::Done(report) | ChainStageEnd::WouldRun(report) => reports.push(report),
            ChainStageEnd::Interrupted => return Ok(Status::Interrupted),
        }
    }
    match run_stage(&split, &args.out, options, ui) {
        Ok(ChainStageEnd::Done(report) | ChainStageEnd::WouldRun(report)) => {
            has_folds = true;
            reports.push(report);
        }
        Ok(ChainStageEnd::Interrupted) => return Ok(Status::Interrupted),
        Err(error) => ui.warn(format_args!("{error:#}; the report is made without folds")),
    }
    match run_stage(&eda(&args, has_folds.then(|| at("folds.csv"))), &args.out, options, ui)? {
        ChainStageEnd::Done(report) | ChainStageEnd::WouldRun(report) => reports.push(report),
        ChainStageEnd::Interrupted => return Ok(Status::Interrupted),
    }
    let report = at("report/index.html");
    let report = report.canonicalize().unwrap_or(report);
    ui.line(format_args!("open the report in a browser: {}", report.display()));
    ui.json(&json!({"stages": reports, "report": report, "folds": has_folds}))?;
    let with_problems = !has_folds || reports.iter().any(|stage| stage.with_problems);
    Ok(if with_problems { Status::DoneWithProblems } else { Status::Done })
}

fn scan(args: &StartArgs) -> ChainStage {
    let tables = args.out.join("tables");
    ChainStage::new("scan", "scan")
        .reads("", &args.data)
        .reads_optional("--predictions", args.predictions.as_deref())
        .reads_optional("--corrections", args.corrections.as_deref())
        .flag("--out", &tables)
        .writes(&tables)
}

fn audit(args: &StartArgs) -> ChainStage {
    let findings = args.out.join("audit");
    ChainStage::new("audit", "audit")
        .reads("", &args.out.join("tables"))
        .reads("--data", &args.data)
        .reads_optional("--corrections", args.corrections.as_deref())
        .flag("--out", &findings)
        .writes(&findings)
}

fn split(args: &StartArgs) -> ChainStage {
    let folds = args.out.join("folds.csv");
    ChainStage::new("split", "split")
        .reads("", &args.out.join("tables"))
        .reads_optional("--corrections", args.corrections.as_deref())
        .flag("--out", &folds)
        .writes(&folds)
}

fn eda(args: &StartArgs, folds: Option<PathBuf>) -> ChainStage {
    let report = args.out.join("report");
    let named = || args.data.canonicalize().ok()?.file_name().map(|name| name.to_string_lossy().into_owned());
    let title = args.title.clone().or_else(named).unwrap_or_else(|| "Hand radiographs".to_owned());
    ChainStage::new("eda", "eda")
        .reads("", &args.out.join("tables"))
        .reads("--data", &args.data)
        .reads("--findings", &args.out.join("audit"))
        .reads_optional("--corrections", args.corrections.as_deref())
        .reads_optional("--folds", folds.as_deref().map(Path::new))
        .word("--title", title)
        .flag("--out", &report)
        .writes(&report)
}
