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

/// Cut images to the hand, corrections applied
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Example:
  carpus clean data --tables tables --folds folds.csv \\
      --corrections corrections.jsonl --out crops
  carpus clean data --tables tables --strips fixed:80 \\
      --background black --square --out crops

The crops have the layout of the data, so that scan, train and predict work on them;
transforms.jsonl says where each crop lies in its image, and `carpus restore` brings predictions
back. Crops whose inputs have not changed are left as they are.")]
pub struct CleanArgs {
    /// Data folder; it is never written to
    data: PathBuf,
    /// Folder that `carpus scan` wrote for this data
    #[arg(long)]
    tables: PathBuf,
    /// Fold table to put next to the crops, less the images excluded
    #[arg(long)]
    folds: Option<PathBuf>,
    /// Corrections file: exclusions, labels, outlines, sides and metadata
    #[arg(long)]
    corrections: Option<PathBuf>,
    /// Folder of the crops
    #[arg(long)]
    out: PathBuf,
    /// Bright strips at the top and left edge: fixed:PIXELS, detect (as scanned) or none
    #[arg(long, default_value = "detect", value_parser = strips)]
    strips: StripRule,
    /// Outside the hand: keep or black
    #[arg(long, default_value = "keep", value_parser = background)]
    background: Background,
    /// Pixels kept around the hand
    #[arg(long, default_value_t = 64)]
    margin: u32,
    /// Make crops square
    #[arg(long)]
    square: bool,
    /// Images to clean: train, test or all
    #[arg(long, default_value = "all", value_parser = subset)]
    subset: Chosen,
    /// Images at a time [default: number of processors]
    #[arg(long, value_parser = jobs())]
    jobs: Option<usize>,
}

fn strips(text: &str) -> Result<StripRule, String> {
    match text.split_once(':') {
        None if text == "detect" => Ok(StripRule::Detect),
        None if text == "none" => Ok(StripRule::None),
        Some(("fixed", px)) => px.parse().map(StripRule::Fixed).map_err(|_| format!("{px:?} is no number of pixels")),
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

/// Makes the crops.
pub fn run(args: CleanArgs, ui: &Ui) -> anyhow::Result<Status> {
    let images: Vec<ImageRow> = scanned(read_parquet(&args.tables.join("images.parquet")))?;
    let patients: Vec<PatientRow> = read_parquet(&args.tables.join("patients.parquet"))?;
    let folds: Option<Vec<FoldRow>> = args.folds.as_deref().map(tables::read).transpose()?;
    let (corrections, status) = read_corrections(args.corrections.as_deref(), ui)?;
    // What does not fit the data does not fit its tables either, and is said of those.
    let dataset = Dataset::open(&args.data)?.with_corrections(corrections);
    if let StripRule::Fixed(px) = args.strips {
        let sides = images.iter().filter(|i| i.width > 0).map(|i| i.width.min(i.height));
        let least = sides.min().unwrap_or(u32::MAX);
        ensure!(
            px < least / 2,
            "--strips fixed:{px} would blacken half of an image or more: the smallest has {least} px on a side"
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
            "{} found by brightness, for want of masks",
            counted(cleaned.found_in_image, "hand was", "hands were")
        ));
    }
    if cleaned.background_by_masks > 0 {
        ui.line(format_args!(
            "the background of {} was found by the masks, since brightness did not find the hand",
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
    fn strips_are_read() {
        assert_eq!(strips("fixed:80"), Ok(StripRule::Fixed(80)));
        assert_eq!((strips("detect"), strips("none")), (Ok(StripRule::Detect), Ok(StripRule::None)));
        for wrong in ["fixed", "fixed:", "fixed:-1", "80", ""] {
            assert!(strips(wrong).is_err(), "{wrong}");
        }
    }
}
