use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};

use crate::artefact::kind;
use crate::audit::compare::{CompareSettings, ComparedImage, DifferenceKind, MaskComparison};
use crate::bones::Bone;
use crate::cli::data::{open, warn};
use crate::cli::{Status, Ui};
use crate::dataset::{Dataset, Problem, ProblemSeverity};
use crate::mask::{HandMasks, submission};
use crate::progress::Progress;
use crate::wording::counted;

/// Compare two sets of masks: annotations or predictions, before and after corrections
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Example:
  carpus audit compare reader1 reader2 --out agreement
  carpus audit compare data predictions.csv --out errors
  carpus audit compare data data --corrections corrections.jsonl \\
      --out changes                       # before and after

Writes differences (missing, extra, mismatched-label, low-overlap, hidden) and findings as CSV and \
Parquet, and confusion.csv: how often a bone of the first set is which bone of the second.")]
pub struct CompareMasksArgs {
    /// First set: a data folder
    first: PathBuf,
    /// Second set: a data folder, or a submission CSV of the first one's images
    second: PathBuf,
    /// Folder to write
    #[arg(short, long, value_name = "DIR")]
    out: PathBuf,
    /// Corrections file to apply to the second set only
    #[arg(long, value_name = "FILE")]
    corrections: Option<PathBuf>,
    /// Report masks of the same bone with a Dice below this
    #[arg(long, value_name = "DICE", default_value_t = CompareSettings::default().low_dice, value_parser = share)]
    low_dice: f64,
}

fn share(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|v| (0.0..=1.0).contains(v)).ok_or_else(|| "expected a number from 0 to 1".to_owned())
}

/// The second set.
enum Second {
    Data(Box<Dataset>),
    Masks(HashMap<String, HandMasks>),
}

/// Compares the sets, writes what differs and prints a summary.
pub fn run(args: CompareMasksArgs, ui: &Ui) -> anyhow::Result<Status> {
    let is_file = args.second.is_file();
    ensure!(
        !is_file || args.corrections.is_none(),
        "--corrections changes annotations; {} is a file of masks",
        args.second.display()
    );
    let first = Dataset::open(&args.first)?;
    let mut status = warn(first.problems().iter().filter(|p| p.severity == ProblemSeverity::Error), ui);
    let second = if is_file {
        submission::expect_space(&args.second, first.space())?;
        Second::Masks(masks_of(&args.second, &first)?)
    } else {
        let (data, fit) = open(&args.second, args.corrections.as_deref(), ui)?;
        status = status.worse(fit);
        Second::Data(Box::new(data))
    };
    let folders = match &second {
        Second::Data(data) => data.folders(),
        Second::Masks(_) => Vec::new(),
    };
    let outputs = ui.outputs().input(&args.second).inputs(&args.corrections).data(first.folders()).data(folders);
    outputs.folder(&args.out, &kind::COMPARISON)?;
    let settings = CompareSettings { low_dice: args.low_dice, ..CompareSettings::default() };
    let (comparison, problems) = compare(&first, &second, &settings, ui)?;
    status = status.worse(warn(&problems, ui));
    ensure!(
        comparison.images > 0,
        "no image has masks in both sets, {} and {}",
        args.first.display(),
        args.second.display()
    );
    comparison.write(&args.out)?;
    print(&comparison, &args.out, ui);
    let counts: HashMap<&str, usize> = DifferenceKind::ALL.iter().map(|k| (k.name(), comparison.count(*k))).collect();
    ui.json(&serde_json::json!({
        "images": comparison.images,
        "mean_dice": comparison.mean_dice(),
        "differences": counts,
        "out": args.out,
    }))?;
    Ok(status)
}

fn masks_of(path: &Path, data: &Dataset) -> anyhow::Result<HashMap<String, HandMasks>> {
    let size_of = |name: &str| data.find(name).and_then(|entry| data.dimensions(entry).ok()).unwrap_or((2048, 2048));
    let images = submission::read_sized(path, size_of)?;
    Ok(images.into_iter().map(|image| (crate::dataset::image_id(&image.image_name), image.masks)).collect())
}

fn compare(
    first: &Dataset,
    second: &Second,
    settings: &CompareSettings,
    ui: &Ui,
) -> anyhow::Result<(MaskComparison, Vec<Problem>)> {
    let mut comparison = MaskComparison::default();
    let mut problems = Vec::new();
    ui.start("images", first.images().len() as u64);
    for entry in first.images() {
        ui.advance(1);
        let mut skip = |reason: String| {
            let problem = Problem::new(ProblemSeverity::Warning, &*entry.image, reason, "not compared");
            problems.push(problem.of_image(&*entry.image_id));
        };
        if entry.annotation.is_none() {
            continue;
        }
        let own = match read(first, &entry.image_id) {
            Ok(Some(masks)) => masks,
            Ok(None) => continue,
            Err(error) => {
                skip(format!("{error:#}"));
                continue;
            }
        };
        let other = match second {
            Second::Masks(masks) => Ok(masks.get(&entry.image_id).cloned()),
            Second::Data(data) => read(data, &entry.image_id),
        };
        match other {
            Ok(Some(masks)) => {
                let image = ComparedImage {
                    image_id: &entry.image_id,
                    patient_id: &entry.patient_id,
                    first: &own,
                    second: &masks,
                };
                if let Err(error) = comparison.add(&image, settings) {
                    skip(error.to_string());
                }
            }
            Ok(None) => skip("the second set has no masks of this image".into()),
            Err(error) => skip(format!("in the second set: {error:#}")),
        }
    }
    ui.finish();
    Ok((comparison, problems))
}

/// The masks of an image's annotation; `None` if the data has none, or excludes the image.
fn read(data: &Dataset, image_id: &str) -> anyhow::Result<Option<HandMasks>> {
    let Some(entry) = data.find(image_id).filter(|entry| !data.excludes(entry)) else { return Ok(None) };
    let Some(read) = data.annotation(entry)? else { return Ok(None) };
    let (width, height) = data.dimensions(entry).with_context(|| format!("image {image_id}"))?;
    Ok(Some(read.annotation.masks(width, height)))
}

fn print(comparison: &MaskComparison, out: &Path, ui: &Ui) {
    let dice = comparison.mean_dice().map_or("none".to_owned(), |dice| format!("{dice:.4}"));
    ui.line(format_args!(
        "{} compared; mean Dice of masks with the same label: {dice}",
        counted(comparison.images, "image", "images")
    ));
    for kind in DifferenceKind::ALL {
        ui.line(format_args!("  {:<18} {:>6}", kind.name(), comparison.count(*kind)));
    }
    let name = |bone: Option<Bone>| bone.map_or("none", Bone::name);
    let confused = comparison.confusion.confused();
    for pair in confused.iter().take(5) {
        ui.line(format_args!("  {} -> {}: {}", name(pair.first), name(pair.second), pair.count));
    }
    if confused.len() > 5 {
        ui.line(format_args!("  and {} in confusion.csv", counted(confused.len() - 5, "more pair", "more pairs")));
    }
    ui.line(format_args!("-> {}", out.join("differences.csv").display()));
}
