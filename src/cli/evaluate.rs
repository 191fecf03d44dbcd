use std::collections::HashSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};

use super::data::{held_out, open, warn, without_excluded};
use super::measure::{MeasureArgs, Measured, measure};
use super::split::{Chosen, subset};
use super::{Status, Ui};
use crate::artefact::{kind, write_atomically};
use crate::bones::Bone;
use crate::dataset::{Dataset, ImageEntry, Problem, ProblemSeverity, image_id};
use crate::mask::submission::{ImageMasks, expect_space};
use crate::scores::{DiceSummary, PredictedMasks, Region, read_flat, score_files, write_scores};
use crate::wording::counted;

/// Score predictions: Dice per image and class, and means
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Example:
  carpus evaluate --predictions heldout.csv --data data \\
      --out per_image_dice.csv
  carpus evaluate --predictions oof.csv --data data \\
      --folds folds.csv --fold 0 --out per_image_dice.csv
  carpus evaluate --predictions runs/fpn/predictions.csv --data data \\
      --band 3 --out runs/fpn/band3_dice.csv     # near the outlines only
  carpus evaluate --predictions oof.csv --data data \\
      --metrics dice,nsd,hd95,assd --nsd-tolerance 2 --out metrics.csv

Masks are compared at each image's own size. The Dice of a class that is empty in both masks is 1. \
The mean is over images and classes. A JSON file of the same name, next to the CSV, holds the means.

With --metrics, the CSV has one row per image and class: image_id, class, and one column per metric in the given order. An \
undefined value is an empty cell, an infinite one is inf. The JSON file holds means by class, bone group and patient; their \
95 % confidence intervals resample patients.")]
pub struct EvaluateArgs {
    /// Submission CSV to score
    #[arg(long, value_name = "FILE")]
    predictions: PathBuf,
    /// Data folder with the annotations
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Corrections file to apply to the annotations; excluded images are not scored
    #[arg(long, value_name = "FILE")]
    corrections: Option<PathBuf>,
    /// Score all annotated images of: train, test or all [default: the images in the predictions]
    #[arg(long, value_parser = subset)]
    subset: Option<Chosen>,
    /// Folds that `carpus split` wrote: score all images that --fold holds out
    #[arg(long, value_name = "FILE", requires = "fold")]
    folds: Option<PathBuf>,
    /// Fold to score
    #[arg(long, value_name = "N", requires = "folds")]
    fold: Option<u32>,
    /// Score only pixels within this distance of a class's annotated outline; without an outline, Dice is 1
    #[arg(long, value_name = "PX", value_parser = clap::value_parser!(u32).range(1..=1024))]
    band: Option<u32>,
    /// CSV to write: image_id, one column per class, mean
    #[arg(short, long, value_name = "FILE")]
    out: PathBuf,
    #[command(flatten)]
    measure: MeasureArgs,
}

/// Scores the predictions and writes the CSV and the means.
pub fn run(args: EvaluateArgs, ui: &Ui) -> anyhow::Result<Status> {
    let (dataset, mut status) = open(&args.data, args.corrections.as_deref(), ui)?;
    ensure!(
        args.out.extension().is_some_and(|e| e.eq_ignore_ascii_case("csv")),
        "--out {}: give a name that ends in .csv; a .json file of the same name is written next to it",
        args.out.display()
    );
    let json = args.out.with_extension("json");
    let inputs = std::iter::once(&args.predictions).chain(&args.folds).chain(&args.corrections);
    let outputs = ui.outputs().inputs(inputs).data(dataset.folders());
    let kinds = match args.measure.wanted() {
        true => [&kind::METRICS, &kind::METRIC_SUMMARY],
        false => [&kind::SCORES, &kind::SCORE_SUMMARY],
    };
    outputs.file(&args.out, kinds[0])?;
    outputs.file(&json, kinds[1])?;
    expect_space(&args.predictions, dataset.space())?;
    let predicted = read_flat(&args.predictions)?;
    let (mut entries, selected) = select(&args, &dataset, &predicted, ui)?;
    status = status.worse(selected);
    without_excluded(&dataset, &mut entries, ui);
    let unknown: Vec<Problem> = predicted
        .iter()
        .filter(|p| dataset.find(&p.image_name).is_none())
        .map(|p| {
            let file = args.predictions.display().to_string();
            let reason = "predicted image is not in the data folder";
            Problem::new(ProblemSeverity::Warning, file, reason, "not scored")
                .at(format!("image_name {}", p.image_name))
        })
        .collect();
    status = status.worse(warn(&unknown, ui));
    let (scored, reach) = if args.measure.wanted() {
        let predictions = PredictedMasks { file: &args.predictions, images: &predicted };
        let measured = Measured { dataset: &dataset, entries: &entries, predictions, out: &args.out, json: &json };
        measure(&args.measure, &measured, ui)?
    } else {
        dice(&args, &dataset, &entries, &predicted, &json, ui)?
    };
    status = status.worse(scored);
    if reach > 0.0 && reach <= 0.25 {
        ui.warn(format_args!(
            "{}: all masks lie in the first quarter of their image; were they predicted at a smaller image size?",
            args.predictions.display()
        ));
        status = Status::DoneWithProblems;
    }
    let skipped = entries.iter().filter(|e| e.annotation.is_none()).count();
    if skipped > 0 {
        ui.note(format_args!("{} no annotation and cannot be scored", counted(skipped, "image has", "images have")));
    }
    Ok(status)
}

/// The images to score: of the fold, of the subset, or those in the predictions.
fn select<'a>(
    args: &EvaluateArgs,
    dataset: &'a Dataset,
    predicted: &[ImageMasks],
    ui: &Ui,
) -> anyhow::Result<(Vec<&'a ImageEntry>, Status)> {
    let mut status = Status::Done;
    let mut entries: Vec<&ImageEntry> = dataset.images().iter().collect();
    match (&args.folds, args.fold, args.subset) {
        (Some(path), Some(fold), subset) => {
            let held = held_out(path, fold)?;
            let absent = held.iter().filter(|id| dataset.find(id).is_none()).count();
            if absent > 0 {
                ui.warn(format_args!(
                    "fold {fold}: {} not in {} and not scored",
                    counted(absent, "image is", "images are"),
                    args.data.display()
                ));
                status = Status::DoneWithProblems;
            }
            entries.retain(|e| held.contains(&e.image_id) && subset.is_none_or(|s| s.holds(e.subset)));
        }
        (_, _, Some(subset)) => entries.retain(|e| subset.holds(e.subset)),
        _ => {
            let names: HashSet<String> = predicted.iter().map(|p| image_id(&p.image_name)).collect();
            entries.retain(|e| names.contains(&e.image_id));
        }
    }
    Ok((entries, status))
}

/// Scores by Dice; writes the CSV and the means. Also returns the reach of the predicted masks.
fn dice(
    args: &EvaluateArgs,
    dataset: &Dataset,
    entries: &[&ImageEntry],
    predicted: &[ImageMasks],
    json: &Path,
    ui: &Ui,
) -> anyhow::Result<(Status, f64)> {
    let region = args.band.map_or(Region::Image, Region::Band);
    let scoring =
        score_files(dataset, entries, PredictedMasks { file: &args.predictions, images: predicted }, region, ui)?;
    write_scores(&args.out, &scoring.scores)?;
    let summary = DiceSummary::of(&scoring.scores);
    write_atomically(json, |out| serde_json::to_writer_pretty(out, &summary).map_err(Into::into))
        .with_context(|| json.display().to_string())?;

    for bone in Bone::all() {
        ui.line(format_args!("{bone:<12} {:.4}", summary.per_class[bone.name()].as_f64().unwrap_or(f64::NAN)));
    }
    for (image, dice) in &summary.worst_images {
        ui.line(format_args!("lowest: {image} {dice:.4}"));
    }
    ui.line(format_args!(
        "mean Dice{} of {}: {:.4}   ({})",
        args.band.map_or(String::new(), |px| format!(" within {px} px of the outlines")),
        counted(summary.images, "image", "images"),
        summary.mean_dice,
        args.out.display()
    ));
    ui.json(&summary)?;
    // Uncertain repairs are in the problems table of the scan.
    let failed = scoring.problems.iter().filter(|p| p.severity == ProblemSeverity::Error);
    Ok((warn(failed, ui), scoring.reach))
}
