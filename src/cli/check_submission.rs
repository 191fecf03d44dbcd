use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::ensure;
use rayon::prelude::*;

use super::data::{open, scanned, warn};
use super::split::{Chosen, subset};
use super::{Status, Ui};
use crate::bones::Bone;
use crate::dataset::{Dataset, ImageEntry, Problem, ProblemSeverity, Subset};
use crate::mask::submission::{expect_space, read_sized};
use crate::scores::{AreaRanges, SubmissionOverlap, check_submission, submission_overlap};
use crate::tables::{BoneRow, ImageRow, read_parquet};
use crate::wording::counted;

/// Check a submission before it is uploaded
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Example:
  carpus check-submission submission.csv --data data
  carpus check-submission submission.csv --data data --tables tables \\
      --against last_week.csv

Every fault is a warning with its line, and the command then ends with 3: images that are missing, unexpected, renamed or in \
another order; classes that are unknown, missing, repeated or in another order; masks that are invalid at the image's size, \
empty, or with an area outside the range of the annotated areas. The first three of a kind are printed; --json lists all.")]
pub struct CheckSubmissionArgs {
    /// Submission CSV
    csv: PathBuf,
    /// Data folder
    #[arg(long)]
    data: PathBuf,
    /// Tables of `carpus scan`: take annotated areas from there instead of reading the annotations
    #[arg(long)]
    tables: Option<PathBuf>,
    /// Another submission: print the mean Dice between the two per class
    #[arg(long, value_name = "CSV")]
    against: Option<PathBuf>,
    /// Images that a submission must have: train, test or all [default: test, or all if the data has no test images]
    #[arg(long, value_parser = subset)]
    subset: Option<Chosen>,
}

/// Prints the problems of the submission.
pub fn run(args: CheckSubmissionArgs, ui: &Ui) -> anyhow::Result<Status> {
    let (dataset, mut status) = open(&args.data, None, ui)?;
    expect_space(&args.csv, dataset.space())?;
    let has_test = dataset.images().iter().any(|entry| entry.subset == Subset::Test);
    let is_expected = |entry: &&ImageEntry| match args.subset {
        Some(chosen) => chosen.holds(entry.subset),
        None => !has_test || entry.subset == Subset::Test,
    };
    let expected: Vec<&ImageEntry> = dataset.images().iter().filter(is_expected).collect();
    ensure!(!expected.is_empty(), "--subset: {} has no such images", args.data.display());
    let areas = match &args.tables {
        Some(tables) => AreaRanges::new(areas_in_tables(tables)?),
        None => {
            let (areas, problems) = areas_in_annotations(&dataset);
            status = status.worse(warn(&problems, ui));
            AreaRanges::new(areas)
        }
    };
    if areas.0.iter().all(Option::is_none) {
        ui.note(
            "no annotated areas: the areas of the masks are not checked; --tables or annotated images provide them",
        );
    }
    let checked = check_submission(&dataset, &expected, &args.csv, Some(&areas))?;
    status = status.worse(warn(&checked.problems, ui));
    let overlap = match &args.against {
        Some(path) => Some(overlap(&dataset, &checked.images, path, ui)?),
        None => None,
    };
    ui.line(format_args!(
        "{}: {} of {}, {}",
        args.csv.display(),
        checked.images.len(),
        counted(expected.len(), "image", "images"),
        counted(checked.problems.len(), "problem", "problems")
    ));
    let listed: Vec<serde_json::Value> = checked.problems.iter().map(|problem| serde_json::json!(problem)).collect();
    ui.json(&serde_json::json!({
        "submission": args.csv,
        "images": checked.images.len(),
        "expected": expected.len(),
        "problems": listed,
        "overlap": overlap,
    }))?;
    Ok(status)
}

/// Compares the masks with those of another submission and prints the mean Dice per class.
fn overlap(
    dataset: &Dataset,
    images: &[crate::mask::submission::ImageMasks],
    path: &Path,
    ui: &Ui,
) -> anyhow::Result<SubmissionOverlap> {
    expect_space(path, dataset.space())?;
    let sizes: HashMap<&str, (u32, u32)> =
        images.iter().map(|image| (&*image.image_name, (image.masks.width(), image.masks.height()))).collect();
    // Images of other names are compared with none, so that their size does not matter.
    let other = read_sized(path, |name| {
        let size = || dataset.find(name).and_then(|entry| dataset.dimensions(entry).ok());
        sizes.get(name).copied().or_else(size).unwrap_or((u32::MAX, 1))
    })?;
    let Some(found) = submission_overlap(images, &other)? else {
        anyhow::bail!("{}: no image in common with the checked submission", path.display());
    };
    if found.other_images > 0 {
        ui.warn(format_args!(
            "{}: {} only in one of the two submissions and not compared",
            path.display(),
            counted(found.other_images, "image is", "images are")
        ));
    }
    for (bone, dice) in Bone::all().zip(&found.dice) {
        ui.line(format_args!("{bone:<12} {dice:.4}"));
    }
    ui.line(format_args!(
        "mean Dice with {} over {}: {:.4}",
        path.display(),
        counted(found.images, "image", "images"),
        found.dice.iter().sum::<f64>() / found.dice.len() as f64
    ));
    Ok(found)
}

/// Bone and share of the image of each annotated mask.
fn areas_in_tables(folder: &Path) -> anyhow::Result<Vec<(Bone, f64)>> {
    let images: Vec<ImageRow> = scanned(read_parquet(&folder.join("images.parquet")))?;
    let bones: Vec<BoneRow> = scanned(read_parquet(&folder.join("bones.parquet")))?;
    let is_annotated = |image: &&ImageRow| image.mask_source == crate::dataset::MaskSource::Annotation;
    let pixels: HashMap<&str, f64> = images
        .iter()
        .filter(is_annotated)
        .map(|image| (&*image.image_id, f64::from(image.width) * f64::from(image.height)))
        .collect();
    let area =
        |row: &BoneRow| Some((Bone::from_index(row.class as usize)?, row.area_px as f64 / pixels.get(&*row.image_id)?));
    Ok(bones.iter().filter_map(area).collect())
}

fn areas_in_annotations(dataset: &Dataset) -> (Vec<(Bone, f64)>, Vec<Problem>) {
    let annotated: Vec<&ImageEntry> = dataset.images().iter().filter(|entry| entry.annotation.is_some()).collect();
    let one = |entry: &&ImageEntry| -> Result<Vec<(Bone, f64)>, Box<Problem>> {
        let read = || -> anyhow::Result<Vec<(Bone, f64)>> {
            let (width, height) = dataset.dimensions(entry)?;
            let pixels = f64::from(width) * f64::from(height);
            let Some(read) = dataset.annotation(entry)? else { return Ok(Vec::new()) };
            let masks = read.annotation.masks(width, height);
            Ok(masks.iter().map(|(bone, mask)| (bone, mask.area() as f64 / pixels)).collect())
        };
        read().map_err(|error| {
            let file = entry.annotation.as_deref().unwrap_or(&entry.image);
            let action = "not in the range of annotated areas";
            Box::new(Problem::new(ProblemSeverity::Warning, file, error.to_string(), action).of_image(&*entry.image_id))
        })
    };
    let (mut areas, mut problems) = (Vec::new(), Vec::new());
    for found in annotated.par_iter().map(one).collect::<Vec<_>>() {
        match found {
            Ok(found) => areas.extend(found),
            Err(problem) => problems.push(*problem),
        }
    }
    (areas, problems)
}
