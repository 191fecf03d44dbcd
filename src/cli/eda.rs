//! `carpus eda`: writes the report.

use std::path::{Path, PathBuf};

use anyhow::Context;
use serde_json::json;

use super::data::{corrected_tables, read_corrections, tables_read};
use super::{Status, Ui};
use crate::artefact::kind;
use crate::audit::{self, FindingRow};
use crate::dataset::Dataset;
use crate::digest::sha256;
use crate::report::{self, EvidencePictures, Privacy, ReportInputs, ReportOptions, ReportPaths, ReportSource, Study};
use crate::scores::DiceTable;
use crate::tables;
use crate::wording::counted;

/// Exploratory data analysis: write a report as an HTML page, figures as PNG and SVG, and all numbers as JSON
#[derive(clap::Args, Debug)]
#[command(after_help = "Example:\n  carpus eda tables --folds folds.csv --findings audit --out report\n  \
    carpus eda tables --findings audit --anonymise --out public\n\n\
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
    #[arg(long, default_value = "Hand radiographs", allow_hyphen_values = true)]
    title: String,
    /// Write no patient ids, no file names and no pictures; the report says what of the patients it contains
    #[arg(long, conflicts_with_all = ["data", "scores"])]
    anonymise: bool,
    /// Number of images to show with their findings and pictures
    #[arg(long, default_value_t = 60, value_name = "N")]
    pictures: usize,
    /// Number of seeds of the comparison of fold methods
    #[arg(long, default_value_t = 1000, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    seeds: u32,
}

/// Reads the tables and writes the report.
pub fn run(args: EdaArgs, ui: &Ui) -> anyhow::Result<Status> {
    let data = args.data.as_deref().map(Dataset::open).transpose()?;
    let inputs = args.folds.iter().chain(&args.findings).chain(&args.corrections).chain(&args.scores);
    let outputs = ui.outputs().inputs(&tables_read(&args.tables)).inputs(inputs);
    outputs.data(data.iter().flat_map(Dataset::folders)).folder(&args.out, &kind::REPORT)?;
    let settings = ReportOptions {
        title: args.title.clone(),
        pictures_shown: args.pictures,
        seeds: args.seeds,
        source: source(&args)?,
        paths: paths(&args),
        privacy: privacy(&args),
        ..ReportOptions::default()
    };
    let (corrections, status) = read_corrections(args.corrections.as_deref(), ui)?;
    let (tables, fit) = corrected_tables(&args.tables, &corrections, ui)?;
    let folds = args.folds.map(|path| tables::read_folds(&path)).transpose()?;
    let findings = args.findings.map(|path| read_findings(&path)).transpose()?;
    let evidence = match &findings {
        Some((rows, folder)) if !args.anonymise => report::read_evidence(folder, rows, settings.pictures_shown),
        _ => EvidencePictures::default(),
    };
    let findings = findings.map(|(rows, _)| rows);
    let scores = args.scores.as_deref().map(DiceTable::read).transpose()?;
    let unused_scores = scores.as_ref().and_then(|scores| audit::unused_scores(scores, &tables.images));
    if let (Some(path), Some(reason)) = (&args.scores, &unused_scores) {
        ui.warn(format_args!("{}: {reason}", path.display()));
    }
    let excluded = tables.images.iter().filter(|i| corrections.excludes(&i.image_id, &i.patient_id));
    let excluded = excluded.map(|image| image.image_id.clone()).collect();
    let mut inputs = ReportInputs { tables, folds, findings, excluded };
    if args.anonymise {
        inputs = report::anonymised(&inputs);
    }
    let ReportInputs { tables, folds, findings, excluded } = inputs;
    let mut study = Study::new(&tables, folds.as_deref(), findings.as_deref(), &evidence, &settings)?;
    study.excluded = excluded;
    study.scores = scores.as_ref();
    let requests = study.picture_requests()?;
    let examples = data.map(|dataset| report::read_requested(&dataset, &requests));
    study.examples = examples.as_ref();
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

fn privacy(args: &EdaArgs) -> Privacy {
    if args.anonymise { Privacy::Anonymised } else { Privacy::Identified }
}

/// Where the inputs are.
fn paths(args: &EdaArgs) -> ReportPaths {
    ReportPaths::new(
        privacy(args),
        &args.tables,
        args.data.as_deref(),
        args.folds.as_deref(),
        args.findings.as_deref(),
        args.corrections.as_deref(),
    )
}

/// The hashes of the input files.
fn source(args: &EdaArgs) -> anyhow::Result<ReportSource> {
    let mut files: Vec<(String, PathBuf)> = Vec::new();
    for path in tables_read(&args.tables) {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        // A missing table is reported where it is read.
        files.extend(path.exists().then_some((name, path)));
    }
    let others = [
        ("folds", args.folds.clone()),
        ("findings", args.findings.as_deref().map(findings_file)),
        ("corrections", args.corrections.clone()),
    ];
    files.extend(others.into_iter().filter_map(|(role, path)| Some((role.to_owned(), path?))));
    let hash = |(role, path): (String, PathBuf)| {
        let bytes = std::fs::read(&path).with_context(|| path.display().to_string())?;
        anyhow::Ok((role, sha256(&bytes)))
    };
    Ok(ReportSource { sha256: files.into_iter().map(hash).collect::<anyhow::Result<_>>()? })
}

/// The file of findings in a folder that `carpus audit` wrote, or the file itself.
fn findings_file(path: &Path) -> PathBuf {
    if !path.is_dir() {
        return path.to_owned();
    }
    let parquet = path.join("findings.parquet");
    if parquet.exists() { parquet } else { path.join("findings.csv") }
}

/// The findings, and the folder that their picture paths are relative to.
pub(super) fn read_findings(path: &Path) -> anyhow::Result<(Vec<FindingRow>, PathBuf)> {
    let file = findings_file(path);
    let rows = tables::read::<FindingRow>(&file)
        .context("cannot read the findings; `carpus audit TABLES --out FOLDER` writes them")?;
    Ok((rows, file.parent().map_or_else(PathBuf::new, Path::to_owned)))
}
