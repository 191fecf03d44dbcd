mod bench;
mod compare;

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Context;
use polars::prelude::PolarsResult;

use crate::artefact::{kind, write_atomically};
use crate::audit::truth::{self, Benchmark};
use crate::audit::{self, AuditSettings, CHECKS, Check, FindingRow, Pictures, Severity};
use crate::cli::data::{corrected_tables, read_corrections, tables_read};
use crate::cli::values::jobs;
use crate::cli::{Status, Ui};
use crate::dataset::Dataset;
use crate::dataset::phantom::Truth;
use crate::scores::DiceTable;
use crate::tables::{TableRow, count, is};
use crate::threads;
use crate::wording::counted;

/// Find suspicious images and annotations, ranked and with pictures
#[derive(clap::Args, Debug)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_help = "Example:
  carpus audit work/tables --data data --out work/audit
  carpus audit work/tables --data data --out work/audit \\
      --scores work/scores/per_image_dice.csv
  carpus audit work/tables --out work/audit \\
      --truth data/truth.json   # recall and precision on a phantom
  carpus audit compare data predictions.csv --out errors

Severity: high = almost certainly wrong, medium = should be looked at, low = for information. \
A score of 1 is the threshold of the check."
)]
pub struct AuditArgs {
    #[command(subcommand)]
    command: Option<AuditCommand>,
    #[command(flatten)]
    checks: Option<CheckArgs>,
}

#[derive(clap::Subcommand, Debug)]
enum AuditCommand {
    Bench(bench::BenchArgs),
    Compare(compare::CompareMasksArgs),
}

// Without a doc comment, which would replace the help of `AuditArgs`.
#[derive(clap::Args, Debug)]
struct CheckArgs {
    /// Folder of tables that `carpus scan` wrote
    tables: PathBuf,
    /// Folder to write: findings.csv, findings.parquet and evidence/
    #[arg(short, long, value_name = "DIR")]
    out: PathBuf,
    /// Data folder that was scanned; needed for the pictures
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Corrections file; findings that it handles (action exclude or keep) are left out
    #[arg(long, value_name = "FILE")]
    corrections: Option<PathBuf>,
    /// CSV of Dice per image and class: image_id, then one column per bone
    #[arg(long, value_name = "FILE")]
    scores: Option<PathBuf>,
    /// Number of findings to draw, worst first, or `all` [default: the worst 200 of each check]
    #[arg(long, value_name = "N|all", value_parser = pictures)]
    evidence: Option<Pictures>,
    /// Planted faults (truth.json of a phantom): also measure recall and precision, in benchmark.json
    #[arg(long, value_name = "FILE")]
    truth: Option<PathBuf>,
    /// Number of threads; 0 for one per core
    #[arg(short, long, value_name = "N", default_value_t = 0, value_parser = jobs())]
    jobs: usize,
}

fn pictures(text: &str) -> Result<Pictures, String> {
    match text {
        "all" => Ok(Pictures::All),
        n => n.parse().map(Pictures::First).map_err(|_| "expected a number or `all`".to_owned()),
    }
}

/// Runs the checks, or the subcommand.
pub fn run(args: AuditArgs, ui: &Ui) -> anyhow::Result<Status> {
    match (args.command, args.checks) {
        (Some(AuditCommand::Bench(args)), _) => bench::run(args, ui),
        (Some(AuditCommand::Compare(args)), _) => compare::run(args, ui),
        (None, Some(args)) => check(args, ui),
        (None, None) => anyhow::bail!("give a folder of tables, or a subcommand (`carpus audit --help`)"),
    }
}

/// Runs all checks, writes the findings and prints the worst.
fn check(args: CheckArgs, ui: &Ui) -> anyhow::Result<Status> {
    let (corrections, status) = read_corrections(args.corrections.as_deref(), ui)?;
    let (tables, fit) = corrected_tables(&args.tables, &corrections, ui)?;
    let scores = args.scores.as_deref().map(DiceTable::read).transpose()?;
    if let (Some(path), Some(scores)) = (&args.scores, &scores)
        && let Some(reason) = audit::unused_scores(scores, &tables.images)
    {
        ui.warn(format_args!("{}: {reason}", path.display()));
    }
    let truth = args.truth.as_deref().map(Truth::read).transpose()?;
    let pool = threads::pool(args.jobs)?;
    let data = match &args.data {
        Some(root) => Some(Dataset::open(root)?.with_corrections(corrections.clone())),
        None => None,
    };
    let inputs = args.scores.iter().chain(&args.truth).chain(&args.corrections);
    let folders = data.iter().flat_map(Dataset::folders);
    let outputs = ui.outputs().inputs(&tables_read(&args.tables)).inputs(inputs).data(folders);
    outputs.folder(&args.out, &kind::FINDINGS)?;
    let mut handled = 0;
    let audit::WrittenFindings { rows, failed, left_out } = pool.install(|| {
        let mut findings = audit::audit(&tables, scores.as_ref(), &AuditSettings::default())?;
        let all = findings.len();
        findings.retain(|finding| !finding.is_handled(&tables, &corrections));
        handled = all - findings.len();
        let pictures = args.evidence.unwrap_or_default();
        anyhow::Ok(audit::write(&args.out, &findings, &tables, data.as_ref(), pictures, ui)?)
    })?;
    let found = FindingRow::to_frame(&rows)?;
    let counts = audit::counts(&found)?;
    for f in failed.iter().take(5) {
        ui.warn(format_args!("no pictures of {}: {}", f.image_id, f.reason));
    }
    if failed.len() > 5 {
        ui.warn(format_args!("no pictures of {}", counted(failed.len() - 5, "more image", "more images")));
    }
    if left_out > 0 {
        let limit = match args.evidence.unwrap_or_default() {
            Pictures::PerCheck(most) => format!("at most {most} per check are drawn; --evidence all draws all"),
            _ => "--evidence sets how many are drawn".to_owned(),
        };
        ui.note(format_args!("{} without a picture: {limit}", counted(left_out, "finding", "findings")));
    }
    if args.data.is_none() {
        ui.note("no pictures were drawn: give --data DATA, the folder that was scanned");
    }
    print_findings(&rows, counts, &args, ui);
    if handled > 0 {
        ui.line(format_args!(
            "{} handled by {}",
            counted(handled, "more finding is", "more findings are"),
            corrections.file()
        ));
    }
    let benchmark = truth.map(|t| truth::benchmark(&rows, &tables.images, &t.defects)).transpose()?;
    if let Some(benchmark) = &benchmark {
        let path = args.out.join("benchmark.json");
        let text = serde_json::to_string_pretty(benchmark)?;
        write_atomically(&path, |out| std::io::Write::write_all(out, text.as_bytes()))
            .with_context(|| format!("cannot write {}", path.display()))?;
        print_benchmark(benchmark, ui);
    }
    let of_check = |check: &'static Check| Ok((check.name, count(&found, is("check", check))?));
    let by_check = CHECKS.iter().map(of_check).collect::<PolarsResult<BTreeMap<_, _>>>()?;
    let severities: serde_json::Map<String, serde_json::Value> =
        counts.into_iter().map(|(s, n)| (s.name().to_owned(), n.into())).collect();
    ui.json(&serde_json::json!({
        "findings": rows.len(),
        "handled": handled,
        "by_severity": severities,
        "by_check": by_check,
        "without_picture": failed.iter().map(|f| f.image_id.as_str()).collect::<Vec<_>>(),
        "pictures_left_out": left_out,
        "out": args.out,
        "benchmark": benchmark,
    }))?;
    Ok(if failed.is_empty() { status.worse(fit) } else { Status::DoneWithProblems })
}

fn print_findings(rows: &[FindingRow], counts: [(Severity, usize); 3], args: &CheckArgs, ui: &Ui) {
    let [(_, low), (_, medium), (_, high)] = counts;
    ui.line(format_args!("{}: {high} high, {medium} medium, {low} low", counted(rows.len(), "finding", "findings")));
    for row in rows.iter().filter(|r| r.severity == Severity::High).take(10) {
        ui.line(format_args!("  {:<24} {:<16} {}", row.image_id, row.check, row.message));
    }
    if high > 10 {
        ui.line(format_args!("  and {} more of severity high", high - 10));
    }
    ui.line(format_args!("-> {}", args.out.join("findings.csv").display()));
}

fn print_benchmark(benchmark: &Benchmark, ui: &Ui) {
    ui.line(format_args!(
        "\n{:<32} {:>8} {:>6} {:>20} {:>7}",
        "planted fault", "planted", "found", "found, severity high", "recall"
    ));
    for r in &benchmark.recall {
        ui.line(format_args!("{:<32} {:>8} {:>6} {:>20} {:>7.3}", r.kind, r.planted, r.found, r.found_high, r.recall));
    }
    ui.line(format_args!(
        "\n{:<32} {:>8} {:>7} {:>11} {:>9}",
        "check", "findings", "correct", "other error", "precision"
    ));
    for p in benchmark.precision.iter().filter(|p| p.findings > 0) {
        ui.line(format_args!(
            "{:<32} {:>8} {:>7} {:>11} {:>9.3}",
            p.check,
            p.findings,
            p.right,
            p.other_fault,
            p.precision.unwrap_or(0.0)
        ));
    }
    ui.line(format_args!(
        "\nclean images: {}; with a finding of severity high: {} ({:.1} %), medium or high: {}",
        benchmark.clean_images,
        benchmark.clean_flagged_high,
        100.0 * benchmark.clean_share_high,
        benchmark.clean_flagged_medium
    ));
}
