//! `carpus eda`: writes the report.

use std::path::{Path, PathBuf};

use anyhow::Context;
use serde_json::json;

use super::data::{corrected_tables, read_corrections, tables_read};
use super::{Status, Ui};
use crate::artefact::kind;
use crate::audit::{self, FindingRow};
use crate::dataset::Dataset;
use crate::report::{self, EvidencePictures, ReportOptions, Study};
use crate::scores::DiceTable;
use crate::tables;
use crate::wording::counted;

/// Exploratory data analysis: write a report as an HTML page, figures as PNG and SVG, and all numbers as JSON
#[derive(clap::Args, Debug)]
#[command(after_help = "Example:\n  carpus eda tables --folds folds.csv --findings audit --out report\n\n\
    The page report/index.html opens in any browser, without a server.")]
pub struct EdaArgs {
    /// Folder of tables that `carpus scan` wrote
    tables: PathBuf,
    /// Folder to write; an older report in it is replaced when the new one is complete
    #[arg(short, long, value_name = "DIR")]
    out: PathBuf,
    /// Folds that `carpus split` wrote (CSV or Parquet): adds a section on their balance
    #[arg(long, value_name = "FILE")]
    folds: Option<PathBuf>,
    /// Findings that `carpus audit` wrote (the folder, or the CSV or Parquet file in it): adds them with their pictures
    #[arg(long)]
    findings: Option<PathBuf>,
    /// Dice per image that `carpus evaluate` wrote (CSV): adds the Dice by subgroup and class
    #[arg(long, value_name = "FILE")]
    scores: Option<PathBuf>,
    /// Data folder that was scanned: adds pictures of typical straight and rotated hands
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Corrections file: applies the sides and metadata that it sets
    #[arg(long, value_name = "FILE")]
    corrections: Option<PathBuf>,
    /// Title of the page
    #[arg(long, default_value = "Hand radiographs")]
    title: String,
    /// Number of findings to show with pictures
    #[arg(long, default_value_t = 60, value_name = "N")]
    pictures: usize,
}

/// Reads the tables and writes the report.
pub fn run(args: EdaArgs, ui: &Ui) -> anyhow::Result<Status> {
    let data = args.data.as_deref().map(Dataset::open).transpose()?;
    let inputs = args.folds.iter().chain(&args.findings).chain(&args.corrections).chain(&args.scores);
    let outputs = ui.outputs().inputs(&tables_read(&args.tables)).inputs(inputs);
    outputs.data(data.iter().flat_map(Dataset::folders)).folder(&args.out, &kind::REPORT)?;
    let settings = ReportOptions { title: args.title, pictures_shown: args.pictures, ..ReportOptions::default() };
    let (corrections, status) = read_corrections(args.corrections.as_deref(), ui)?;
    let (tables, fit) = corrected_tables(&args.tables, &corrections, ui)?;
    let folds = args.folds.map(|path| tables::read_folds(&path)).transpose()?;
    let findings = args.findings.map(|path| read_findings(&path)).transpose()?;
    let evidence = findings.as_ref().map_or_else(EvidencePictures::default, |(rows, folder)| {
        report::read_evidence(folder, rows, settings.pictures_shown)
    });
    let findings = findings.map(|(rows, _)| rows);
    let mut study = Study::new(&tables, folds.as_deref(), findings.as_deref(), &evidence, &settings)?;
    let scores = args.scores.as_deref().map(DiceTable::read).transpose()?;
    study.scores = scores.as_ref();
    let unused_scores = scores.as_ref().and_then(|scores| audit::unused_scores(scores, &tables.images));
    if let (Some(path), Some(reason)) = (&args.scores, &unused_scores) {
        ui.warn(format_args!("{}: {reason}", path.display()));
    }
    let images = study.example_images()?;
    let examples = data.map(|dataset| report::read_examples(&dataset, images.iter().map(|(_, image)| image)));
    study.examples = examples.as_ref();
    let excluded = tables.images.iter().filter(|i| corrections.excludes(&i.image_id, &i.patient_id));
    study.excluded = excluded.map(|image| image.image_id.clone()).collect();
    let unread: Vec<&String> = evidence.failures.iter().chain(examples.iter().flat_map(|e| &e.failures)).collect();
    for failure in &unread {
        ui.warn(failure);
    }
    let fold_warnings = study.fold_warnings();
    fold_warnings.iter().for_each(|warning| ui.warn(format_args!("folds: {warning}")));
    let sections = report::sections::all(&study)?;
    let written = report::write(&args.out, &sections, &settings, &tables, findings.as_deref())?;
    ui.line(format_args!(
        "{}, {}, {}",
        counted(tables.images.len(), "image", "images"),
        counted(sections.len(), "section", "sections"),
        counted(written.figures.len(), "figure", "figures")
    ));
    ui.line(format_args!("report: {}", written.index.display()));
    ui.json(&json!({
        "index": written.index, "numbers": written.numbers, "figures": written.figures,
        "page_bytes": written.page_bytes, "pictures_not_read": unread, "fold_warnings": fold_warnings,
        "unused_scores": unused_scores,
    }))?;
    Ok(if unread.is_empty() && fold_warnings.is_empty() && unused_scores.is_none() {
        status.worse(fit)
    } else {
        Status::DoneWithProblems
    })
}

/// The findings, and the folder that their picture paths are relative to.
pub(super) fn read_findings(path: &Path) -> anyhow::Result<(Vec<FindingRow>, PathBuf)> {
    let file = if path.is_dir() {
        let parquet = path.join("findings.parquet");
        if parquet.exists() { parquet } else { path.join("findings.csv") }
    } else {
        path.to_owned()
    };
    let rows = tables::read::<FindingRow>(&file)
        .context("cannot read the findings; `carpus audit TABLES --out FOLDER` writes them")?;
    Ok((rows, file.parent().map_or_else(PathBuf::new, Path::to_owned)))
}
