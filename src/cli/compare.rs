//! `carpus compare`: two folders of tables compared.

use std::path::PathBuf;

use serde_json::json;

use super::data::{scanned, tables_read};
use super::eda::read_findings;
use super::{Status, Ui};
use crate::artefact::kind;
use crate::report::{self, ComparedTables, ReportOptions};
use crate::tables::{ProblemRow, Tables};
use crate::wording::counted;

/// Compare two folders of tables: two data sets, or one before and after corrections
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Example:
  carpus compare tables-before tables-after --out comparison
  carpus compare tables-a tables-b --findings audit-a audit-b --out comparison

Set A is the reference. One value per patient is compared, and patients in both sets
also with themselves. problems.csv and findings.csv in the folder have the rows that
are new in B.")]
pub struct CompareArgs {
    /// Folder of tables that `carpus scan` wrote: set A
    a: PathBuf,
    /// Folder of tables: set B
    b: PathBuf,
    /// Folder to write; an older report in it is replaced when the new one is complete
    #[arg(short, long, value_name = "DIR")]
    out: PathBuf,
    /// Findings of A and of B that `carpus audit` wrote: lists those gone and new
    #[arg(long, num_args = 2, value_names = ["A", "B"])]
    findings: Option<Vec<PathBuf>>,
    /// Title of the page
    #[arg(long, default_value = "Comparison of A and B")]
    title: String,
}

/// Reads both sets and writes the comparison.
pub fn run(args: CompareArgs, ui: &Ui) -> anyhow::Result<Status> {
    let read: Vec<PathBuf> = [&args.a, &args.b].into_iter().flat_map(|folder| tables_read(folder)).collect();
    let outputs = ui.outputs().inputs(&read).inputs(args.findings.iter().flatten());
    outputs.folder(&args.out, &kind::REPORT)?;
    let (a, b) = (scanned(Tables::read(&args.a))?, scanned(Tables::read(&args.b))?);
    let findings = args.findings.iter().flatten().map(|path| Ok(read_findings(path)?.0));
    let findings: Vec<_> = findings.collect::<anyhow::Result<_>>()?;
    let origins = [&args.a, &args.b].map(|path| path.display().to_string());
    let of = |at: usize, name, tables| ComparedTables {
        name,
        origin: &origins[at],
        tables,
        findings: findings.get(at).map(Vec::as_slice),
    };
    let (base, other) = (of(0, "A", &a), of(1, "B", &b));
    let sections = report::comparison(base, other)?;
    let settings = ReportOptions { title: args.title, ..ReportOptions::default() };
    let new = Tables { problems: new_problems(&a, &b), ..Tables::default() };
    let new_findings = report::new_findings(base, other);
    let written = report::write(&args.out, &sections, &settings, &new, new_findings.as_deref())?;
    ui.line(format_args!(
        "A: {}, B: {}; {}",
        counted(a.images.len(), "image", "images"),
        counted(b.images.len(), "image", "images"),
        counted(written.figures.len(), "figure", "figures")
    ));
    ui.line(format_args!("comparison: {}", written.index.display()));
    ui.json(&json!({
        "index": written.index, "numbers": written.numbers, "figures": written.figures, "page_bytes": written.page_bytes,
        "new_problems": new.problems.len(), "new_findings": new_findings.map(|rows| rows.len()),
    }))?;
    Ok(ui.status())
}

/// Problems of the second set that the first does not have.
fn new_problems(a: &Tables, b: &Tables) -> Vec<ProblemRow> {
    let known: std::collections::HashSet<String> = a.problems.iter().map(problem_key).collect();
    b.problems.iter().filter(|row| !known.contains(&problem_key(row))).cloned().collect()
}

fn problem_key(row: &ProblemRow) -> String {
    [&row.file, &row.place, &row.raw, &row.reason].map(String::as_str).join("\0")
}
