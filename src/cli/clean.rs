use std::path::PathBuf;

use anyhow::ensure;

use super::data::{read_corrections, scanned, tables_read, warn};
use super::split::{Chosen, subset};
use super::values::jobs;
use super::{Status, Ui};
use crate::artefact::kind;
use crate::clean::{Background, CleanInputs, CleanSettings, FoldTable, StripRule, clean};
use crate::dataset::Dataset;
use crate::tables::{self, FoldRow, ImageRow, PatientRow, read_parquet};
use crate::wording::counted;

/// Crop images to the hand and apply corrections
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Example:
  carpus clean data --tables tables --folds folds.csv \\
      --corrections corrections.jsonl --out crops
  carpus clean data --tables tables --strips fixed:80 \\
      --background black --square --out crops

The crops have the same layout as the data, so scan, train and predict can read them. \
transforms.jsonl holds the position of each crop in its image; `carpus restore` uses it to put \
predicted masks back. Crops whose inputs have not changed are not made again.")]
pub struct CleanArgs {
    /// Data folder; nothing is written to it
    data: PathBuf,
    /// Folder of tables that `carpus scan` wrote for this data
    #[arg(long, value_name = "DIR")]
    tables: PathBuf,
    /// Folds that `carpus split` wrote: copied next to the crops, without excluded images
    #[arg(long, value_name = "FILE")]
    folds: Option<PathBuf>,
    /// Corrections file to apply: exclusions, labels, outlines, sides and metadata
    #[arg(long, value_name = "FILE")]
    corrections: Option<PathBuf>,
    /// Folder to write the crops to
    #[arg(short, long, value_name = "DIR")]
    out: PathBuf,
    /// Bright strips at the top and left edge to blacken: fixed:PIXELS, detect (as scanned) or none
    #[arg(long, default_value = "detect", value_parser = strips)]
    strips: StripRule,
    /// Pixels outside the hand: keep or black
    #[arg(long, default_value = "keep", value_parser = background)]
    background: Background,
    /// Margin around the hand in px
    #[arg(long, value_name = "PX", default_value_t = 64)]
    margin: u32,
    /// Make crops square
    #[arg(long)]
    square: bool,
    /// Images to crop: train, test or all
    #[arg(long, default_value = "all", value_parser = subset)]
    subset: Chosen,
    /// Images to process in parallel [default: number of processors]
    #[arg(short, long, value_name = "N", value_parser = jobs())]
    jobs: Option<usize>,
}

fn strips(text: &str) -> Result<StripRule, String> {
    match text.split_once(':') {
        None if text == "detect" => Ok(StripRule::Detect),
        None if text == "none" => Ok(StripRule::None),
        Some(("fixed", px)) => {
            px.parse().map(StripRule::Fixed).map_err(|_| format!("{px:?} is not a whole number of pixels"))
        }
        _ => Err("expected fixed:PIXELS, detect or none".to_owned()),
    }
}

fn background(text: &str) -> Result<Background, String> {
    match text {
        "keep" => Ok(Background::Keep),
        "black" => Ok(Background::Black),
        _ => Err("expected keep or black".to_owned()),
    }
}

/// Writes the crops.
pub fn run(args: CleanArgs, ui: &Ui) -> anyhow::Result<Status> {
    let images: Vec<ImageRow> = scanned(read_parquet(&args.tables.join("images.parquet")))?;
    let patients: Vec<PatientRow> = read_parquet(&args.tables.join("patients.parquet"))?;
    let folds: Option<Vec<FoldRow>> = args.folds.as_deref().map(tables::read_fold_of_each_image).transpose()?;
    let (corrections, status) = read_corrections(args.corrections.as_deref(), ui)?;
    // Corrections that do not fit the data do not fit its tables either, and are reported for the tables.
    let dataset = Dataset::open(&args.data)?.with_corrections(corrections);
    if let StripRule::Fixed(px) = args.strips {
        let sides = images.iter().filter(|i| i.width > 0).map(|i| i.width.min(i.height));
        let least = sides.min().unwrap_or(u32::MAX);
        ensure!(
            px < least / 2,
            "--strips fixed:{px} would blacken half of an image or more: the shortest side of an image is {least} px"
        );
    }
    let inputs = args.folds.iter().chain(&args.corrections);
    let outputs = ui.outputs().inputs(&tables_read(&args.tables)).inputs(inputs).data(dataset.folders());
    outputs.folder(&args.out, &kind::CROPS)?;
    let settings =
        CleanSettings { strips: args.strips, background: args.background, margin: args.margin, square: args.square };
    let inputs = CleanInputs {
        dataset: &dataset,
        images: &images,
        subset: args.subset.only(),
        patients: &patients,
        folds: args.folds.as_deref().zip(folds.as_deref()).map(|(path, rows)| FoldTable { path, rows }),
    };
    let cleaned = clean(inputs, &args.out, &settings, args.jobs, ui)?;

    let status = status.worse(warn(&cleaned.problems, ui));
    ui.line(format_args!(
        "{} in {}: {} made, {} unchanged; {} excluded, {} removed",
        counted(cleaned.transforms.len(), "crop", "crops"),
        args.out.display(),
        cleaned.written,
        cleaned.unchanged,
        counted(cleaned.excluded, "image", "images"),
        counted(cleaned.removed, "old crop", "old crops")
    ));
    if cleaned.found_in_image > 0 {
        ui.line(format_args!(
            "{} found by brightness because there are no masks",
            counted(cleaned.found_in_image, "hand was", "hands were")
        ));
    }
    if cleaned.background_by_masks > 0 {
        ui.line(format_args!(
            "the background of {} was found from the masks because the hand was not found by brightness",
            counted(cleaned.background_by_masks, "image", "images")
        ));
    }
    ui.json(&cleaned)?;
    Ok(status)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strip_rules_are_parsed() {
        assert_eq!(strips("fixed:80"), Ok(StripRule::Fixed(80)));
        assert_eq!((strips("detect"), strips("none")), (Ok(StripRule::Detect), Ok(StripRule::None)));
        for wrong in ["fixed", "fixed:", "fixed:-1", "80", ""] {
            assert!(strips(wrong).is_err(), "{wrong}");
        }
    }
}
