use std::path::PathBuf;

use anyhow::{Context, ensure};

use super::data::{read_corrections, warn};
use super::values::jobs;
use super::{Status, Ui};
use crate::artefact::kind;
use crate::audit::FindingRow;
use crate::closed_enum::{closest, expected_one_of};
use crate::convert::{AreaChange, ConvertSettings, FORMATS, Format, SegmentationForm, convert, format_named};
use crate::dataset::Dataset;
use crate::dataset::source::{SOURCES, SourceKind};
use crate::wording::counted;
use crate::{tables, threads};

/// Copy a data set into the format of another program
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Example:
  carpus convert data --to coco --out coco
  carpus convert data --to labelme --out labelme \\
      --corrections corrections.jsonl
  carpus convert data --to cvat --out cvat --findings work/audit
  carpus scan coco --out tables     # every command reads the copy

Formats:
  coco      one JSON file per subset, with the images next to it
  labelme   a JSON file next to each image
  cvat      annotations.xml (CVAT for images 1.1) and images/
  fiftyone  labels.json and data/ (FiftyOne's COCODetectionDataset)
  masks     masks/IMAGE/BONE.png and images/

What the format cannot hold is printed. Patient, subset and side are in conversion.jsonl; the \
spreadsheet is copied. Images that the corrections exclude are left out.")]
pub struct ConvertArgs {
    /// Data folder in any format that carpus reads
    data: PathBuf,
    /// Format to write
    #[arg(long, value_name = "FORMAT", value_parser = format)]
    to: NamedFormat,
    /// Format to read [default: recognised]
    #[arg(long, value_name = "FORMAT", value_parser = source)]
    from: Option<NamedSource>,
    /// Folder to write the copy to
    #[arg(short, long, value_name = "DIR")]
    out: PathBuf,
    /// Corrections file to apply: labels, outlines, sides, exclusions
    #[arg(long, value_name = "FILE")]
    corrections: Option<PathBuf>,
    /// Folder that `carpus audit` wrote: put its findings into the copy
    #[arg(long, value_name = "DIR")]
    findings: Option<PathBuf>,
    /// Masks in COCO files: rle (exact) or polygon
    #[arg(long, value_name = "FORM", default_value = "rle")]
    segmentation: SegmentationForm,
    /// Number of threads; 0 for one per core
    #[arg(short, long, value_name = "N", default_value_t = 0, value_parser = jobs())]
    jobs: usize,
}

#[derive(Clone, Copy)]
struct NamedFormat(&'static dyn Format);

impl std::fmt::Debug for NamedFormat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0.name())
    }
}

#[derive(Clone, Copy)]
struct NamedSource(&'static SourceKind);

impl std::fmt::Debug for NamedSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0.name)
    }
}

fn format(name: &str) -> Result<NamedFormat, String> {
    let names: Vec<&str> = FORMATS.iter().map(|format| format.name()).collect();
    let unknown = || unknown("format", name, &names);
    format_named(name).map(NamedFormat).ok_or_else(unknown)
}

fn source(name: &str) -> Result<NamedSource, String> {
    let names: Vec<&str> = SOURCES.iter().map(|kind| kind.name).collect();
    SOURCES.iter().find(|kind| kind.name == name).map(NamedSource).ok_or_else(|| unknown("format", name, &names))
}

fn unknown(what: &str, name: &str, known: &[&str]) -> String {
    format!("unknown {what}{}", expected_one_of(closest(name, known.iter().copied()), &known.join(", ")))
}

/// Writes the copy and prints what its format cannot hold.
pub fn run(args: ConvertArgs, ui: &Ui) -> anyhow::Result<Status> {
    let format = args.to.0;
    ensure!(
        args.segmentation == SegmentationForm::Rle || ["coco", "fiftyone"].contains(&format.name()),
        "--segmentation {}: only COCO files have a choice of masks; {} has none",
        args.segmentation,
        format.name()
    );
    let (corrections, status) = read_corrections(args.corrections.as_deref(), ui)?;
    let dataset = match args.from {
        Some(NamedSource(kind)) => Dataset::open_as(&args.data, kind)?,
        None => Dataset::open(&args.data)?,
    };
    let dataset = dataset.with_corrections(corrections);
    let status = status.worse(warn(dataset.problems(), ui)).worse(warn(dataset.unfit_corrections(), ui));
    let findings: Vec<FindingRow> = match &args.findings {
        Some(folder) => tables::read(&folder.join("findings.parquet"))
            .with_context(|| format!("--findings {}", folder.display()))?,
        None => Vec::new(),
    };
    let inputs = args.corrections.iter().chain(&args.findings);
    let outputs = ui.outputs().inputs(inputs).data(dataset.folders());
    outputs.folder(&args.out, &kind::CONVERSION)?;
    let settings = ConvertSettings { format, segmentation: args.segmentation, findings: &findings };
    let converted = threads::pool(args.jobs)?.install(|| convert(&dataset, &settings, &args.out, ui))?;

    let status = status.worse(warn(&converted.problems, ui));
    ui.line(format_args!(
        "{}, {} with an annotation, {} -> {}",
        counted(converted.images, "image", "images"),
        converted.annotated,
        counted(converted.objects, "object", "objects"),
        args.out.display()
    ));
    for (loss, count) in converted.losses.iter() {
        ui.line(format_args!("not in the copy: {}", loss.describe(count)));
    }
    let moves = AreaMoves::of(&converted.areas);
    if let Some(moves) = &moves {
        ui.line(format_args!(
            "areas of {} as COCO fills them, compared with carpus's: median {:+.1} %, from {:+.1} % to {:+.1} %; {} differ",
            counted(moves.masks, "polygon mask", "polygon masks"),
            100.0 * moves.median,
            100.0 * moves.least,
            100.0 * moves.most,
            moves.different,
        ));
    }
    ui.json(&serde_json::json!({
        "format": format.name(),
        "images": converted.images,
        "annotated": converted.annotated,
        "objects": converted.objects,
        "losses": converted.losses,
        "areas": moves,
        "problems": converted.problems.len(),
        "out": args.out,
    }))?;
    Ok(status)
}

/// How areas change, as shares of the own area.
#[derive(serde::Serialize)]
struct AreaMoves {
    masks: usize,
    different: usize,
    median: f64,
    least: f64,
    most: f64,
}

impl AreaMoves {
    fn of(changes: &[AreaChange]) -> Option<AreaMoves> {
        let mut shares: Vec<f64> =
            changes.iter().filter(|change| change.own_px > 0).map(|change| change.share()).collect();
        shares.sort_by(f64::total_cmp);
        Some(AreaMoves {
            masks: shares.len(),
            different: shares.iter().filter(|share| **share != 0.0).count(),
            median: *shares.get(shares.len() / 2)?,
            least: *shares.first()?,
            most: *shares.last()?,
        })
    }
}
