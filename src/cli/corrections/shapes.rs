use std::path::{Path, PathBuf};

use serde_json::json;

use super::flags::shapes_of;
use super::{DEFAULT, Place};
use crate::cli::data::{read_corrections, warn};
use crate::cli::{Status, Ui};
use crate::dataset::corrections::Action;
use crate::dataset::{Dataset, ProblemSeverity, image_id};
use crate::mask::RunMask;

/// List the shapes of an image with the numbers that --shape takes
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Example:
  carpus corrections shapes --data data --image image1661130828152_R

The number of a shape is its position in the annotation file, from 0; corrections do not change \
it. Labels and outlines are shown after corrections. Area: pixels inside the outline. Box: bounding \
box of all vertices.")]
pub struct CorrectionsShapesArgs {
    #[command(flatten)]
    place: Place,
    /// Data folder
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Id of the image
    #[arg(long, value_name = "ID")]
    image: String,
}

/// Prints one line per shape.
pub fn run(args: &CorrectionsShapesArgs, ui: &Ui) -> anyhow::Result<Status> {
    let path = args.place.path();
    let is_given = path != Path::new(DEFAULT) || path.exists();
    let (corrections, status) = read_corrections(is_given.then_some(path), ui)?;
    let data = Dataset::open(&args.data)?.with_corrections(corrections);
    let read = shapes_of(&image_id(&args.image), &data)?;
    let status = status.worse(warn(read.problems.iter().filter(|p| p.severity == ProblemSeverity::Error), ui));
    let entry = data.find(&args.image).expect("its annotation was read");
    let (width, height) = data.dimensions(entry)?;
    ui.line(format_args!("{:>5}  {:<14} {:>8} {:>9}  box", "shape", "label", "vertices", "area px"));
    let mut rows = Vec::new();
    for shape in &read.annotation.shapes {
        let area = RunMask::from_polygon(&shape.points, width, height).area();
        let along = |axis: usize| {
            let values = || shape.points.iter().map(|point| point[axis]);
            (values().min().unwrap_or_default(), values().max().unwrap_or_default())
        };
        let ((left, right), (top, bottom)) = (along(0), along(1));
        let vertices = shape.points.len();
        ui.line(format_args!(
            "{:>5}  {:<14} {vertices:>8} {area:>9}  {left},{top} {right},{bottom}",
            shape.index, shape.label
        ));
        rows.push(json!({
            "shape": shape.index, "label": shape.label, "bone": shape.bone.map(|bone| bone.name()), "vertices": vertices,
            "area_px": area, "box": [left, top, right, bottom],
        }));
    }
    for decision in data.corrections().about_shapes(&entry.image_id) {
        if let Action::Drop { shape } = &decision.action
            && decision.annotation_sha256.as_ref() == Some(&read.sha256)
        {
            ui.line(format_args!("{:>5}  {:<14} dropped by line {}", shape.index, shape.label, decision.line));
        }
    }
    ui.json(&rows)?;
    Ok(status)
}
