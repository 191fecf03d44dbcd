use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use image::RgbImage;

use super::data::{open, warn};
use super::{Status, Ui};
use crate::artefact::kind;
use crate::bones::{self, Bone};
use crate::closed_enum::{expected_one_of, similarity};
use crate::dataset::corrections::{Action, Decision};
use crate::dataset::{Dataset, ImageEntry, ProblemSeverity, image_id};
use crate::draw::{self, Options, SheetStyle};
use crate::mask::{HandMasks, RunMask, submission};
use crate::progress::Progress;

/// Least similarity, from 0 to 1, of an image id that is suggested for an unknown one: ids of other images share most
/// of their digits.
const LEAST_SIMILARITY: f64 = 0.85;

const EXAMPLES: &str = "\
Example:
  carpus draw data image1661130828152_R --out hand.png --labels
  carpus draw data image1661130828152_R image1661144206667 \\
      --out pictures --filled
  carpus draw data image1661130828152_R \\
      --predictions predictions.csv --out errors.png
  carpus draw data image1661130828152_R image1661144206667 \\
      --out sheet.png --sheet 2 --max-size 512";

/// Draw images with outlines, filled classes, or annotation compared with prediction.
///
/// With --predictions, an annotated image shows false positives in red, false negatives in blue and confused classes in
/// magenta; an image without annotation shows the predicted outlines.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct DrawArgs {
    /// Data folder
    data: PathBuf,
    /// Ids of the images: file names without extension
    #[arg(required = true, value_name = "IMAGE_ID")]
    images: Vec<String>,
    /// Folder for one PNG per image, or a .png file for a single image or a contact sheet
    #[arg(short, long, value_name = "DIR|FILE")]
    out: PathBuf,
    /// Fill the classes with their colours instead of drawing outlines
    #[arg(long, conflicts_with = "predictions")]
    filled: bool,
    /// Write the names of the bones next to them
    #[arg(long)]
    labels: bool,
    /// Submission CSV to compare the annotation with
    #[arg(long, value_name = "FILE")]
    predictions: Option<PathBuf>,
    /// Width and height of the predicted masks, if they differ from the image's
    #[arg(long, value_name = "PX", requires = "predictions", value_parser = clap::value_parser!(u32).range(1..))]
    prediction_size: Option<u32>,
    /// Corrections file to apply to the annotations
    #[arg(long, value_name = "FILE")]
    corrections: Option<PathBuf>,
    /// Draw one contact sheet with this many columns
    #[arg(long, value_name = "COLUMNS", value_parser = clap::value_parser!(u32).range(1..))]
    sheet: Option<u32>,
    /// Maximum width and height of a picture in px
    #[arg(long, value_name = "PX", default_value_t = 1024, value_parser = clap::value_parser!(u32).range(16..=8192))]
    max_size: u32,
    /// Draw only these bones, and crop the picture to them; separated by commas
    #[arg(long, value_delimiter = ',', value_parser = bone)]
    bones: Vec<Bone>,
}

/// A bone by its exact name.
pub(super) fn bone(name: &str) -> Result<Bone, String> {
    let meant = || Bone::read(name).or_else(|| Bone::nearest(name)).map(Bone::name);
    Bone::from_name(name).ok_or_else(|| format!("unknown bone{}", expected_one_of(meant(), &bones::NAMES.join(", "))))
}

/// Draws the images.
pub fn run(args: DrawArgs, ui: &Ui) -> anyhow::Result<Status> {
    let is_png = args.out.extension().is_some_and(|e| e.eq_ignore_ascii_case("png"));
    const OTHER_FORMATS: [&str; 9] = ["jpg", "jpeg", "svg", "bmp", "gif", "tif", "tiff", "webp", "pdf"];
    let is_format = |e: &std::ffi::OsStr| OTHER_FORMATS.iter().any(|format| e.eq_ignore_ascii_case(format));
    ensure!(
        !args.out.extension().is_some_and(is_format),
        "--out {}: draw writes PNG files; give a name that ends in .png, or a folder",
        args.out.display()
    );
    ensure!(
        is_png || args.sheet.is_none(),
        "--out {}: a contact sheet is one file; give a name that ends in .png",
        args.out.display()
    );
    ensure!(
        !is_png || args.sheet.is_some() || args.images.len() == 1,
        "--out {}: one file cannot hold {} images; give a folder, or --sheet COLUMNS",
        args.out.display(),
        args.images.len()
    );
    let (dataset, mut status) = open(&args.data, args.corrections.as_deref(), ui)?;
    args.predictions.iter().try_for_each(|path| submission::expect_space(path, dataset.space()))?;
    let mut entries = Vec::new();
    for id in &args.images {
        match entry(&dataset, id) {
            Ok(entry) => entries.push(entry),
            Err(error) if args.images.len() == 1 => return Err(error),
            Err(error) => status = not_drawn(&error, ui),
        }
    }

    let path_of = |entry: &ImageEntry| args.out.join(format!("{}.png", entry.image_id));
    let paths: Vec<PathBuf> =
        if is_png { vec![args.out.clone()] } else { entries.iter().map(|entry| path_of(entry)).collect() };
    let outputs = ui.outputs().inputs(args.predictions.iter().chain(&args.corrections)).data(dataset.folders());
    paths.iter().try_for_each(|path| outputs.file(path, &kind::PNG))?;

    let mut drawn: Vec<(String, RgbImage)> = Vec::new();
    let mut written = Vec::new();
    let mut drawing = Drawing { args: &args, dataset: &dataset, predictions: HashMap::new(), ui };
    ui.start("images", entries.len() as u64);
    for entry in &entries {
        match drawing.picture(entry) {
            Ok((picture, of_image)) => {
                status = status.worse(of_image);
                if args.sheet.is_some() {
                    drawn.push((format!("{} {}", entry.patient_id, entry.image_id), picture));
                } else {
                    let path = if is_png { args.out.clone() } else { path_of(entry) };
                    write_png(&path, &picture)?;
                    written.push(path);
                }
            }
            Err(error) if entries.len() == 1 => return Err(error),
            Err(error) => status = not_drawn(&error, ui),
        }
        ui.advance(1);
    }
    ui.finish();
    if let Some(columns) = args.sheet {
        write_png(&args.out, &draw::contact_sheet(&drawn, &SheetStyle { columns, ..SheetStyle::default() }))?;
        written.push(args.out.clone());
    }
    for path in &written {
        ui.line(path.display());
    }
    ui.json(&serde_json::json!({ "pictures": written }))?;
    Ok(status)
}

/// Warns about an image that cannot be drawn; the others are still drawn.
fn not_drawn(error: &anyhow::Error, ui: &Ui) -> Status {
    ui.warn(format_args!("{error:#}; not drawn"));
    Status::DoneWithProblems
}

/// Inputs of all pictures.
struct Drawing<'a> {
    args: &'a DrawArgs,
    dataset: &'a Dataset,
    /// Predicted masks by image size and image id.
    predictions: HashMap<(u32, u32), HashMap<String, HandMasks>>,
    ui: &'a Ui,
}

impl Drawing<'_> {
    /// Prints the decisions about the image that the picture does not show.
    fn note_decisions(&self, entry: &ImageEntry) {
        let is_flagged = |decision: &Decision| matches!(decision.action, Action::Flag { .. });
        if self.dataset.excludes(entry) {
            self.ui.note(format_args!("{} is excluded by a correction", entry.image_id));
        }
        if self.dataset.corrections().of_image(&entry.image_id).any(is_flagged) {
            self.ui.note(format_args!("{} is marked for checking by another person", entry.image_id));
        }
    }

    fn picture(&mut self, entry: &ImageEntry) -> anyhow::Result<(RgbImage, Status)> {
        self.note_decisions(entry);
        let image = self.dataset.image(entry)?.pixels.into_eight_bit();
        let mut status = Status::Done;
        let annotated = self.dataset.annotation(entry)?.map(|read| {
            status = warn(read.problems.iter().filter(|p| p.severity == ProblemSeverity::Error), self.ui);
            read.annotation.masks(image.width(), image.height())
        });
        let predicted = match &self.args.predictions {
            Some(path) => {
                let size = self.args.prediction_size.map_or(image.dimensions(), |s| (s, s));
                if let std::collections::hash_map::Entry::Vacant(e) = self.predictions.entry(size) {
                    e.insert(read_predictions(path, size)?);
                }
                let masks = self.predictions[&size].get(&entry.image_id);
                Some(masks.with_context(|| format!("{} has no rows for image {}", path.display(), entry.image_id))?)
            }
            None => None,
        };
        if annotated.is_none() && predicted.is_none() {
            self.ui.warn(format_args!("{} has no annotation; only the image is drawn", entry.image_id));
        }
        Ok((picture(&image, annotated.as_ref(), predicted, self.args), status))
    }
}

/// The image with this id; if there is none, the error names similar ids.
pub(super) fn entry<'a>(dataset: &'a Dataset, id: &str) -> anyhow::Result<&'a ImageEntry> {
    if let Some(entry) = dataset.find(id) {
        return Ok(entry);
    }
    let stem = image_id(id);
    let known = || dataset.images().iter().map(|e| &*e.image_id);
    let mut similar: Vec<(f64, &str)> = known().map(|known| (similarity(known, &stem), known)).collect();
    similar.retain(|(similarity, _)| *similarity >= LEAST_SIMILARITY);
    similar.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
    let similar: Vec<&str> = similar.into_iter().map(|(_, known)| known).take(3).collect();
    if similar.is_empty() {
        let example = known().min().unwrap_or_default();
        bail!("no image {id}; image ids are file names without extension, for example {example}");
    }
    bail!("no image {id}; did you mean {}?", similar.join(" or "))
}

fn picture(
    image: &image::GrayImage,
    annotated: Option<&HandMasks>,
    predicted: Option<&HandMasks>,
    args: &DrawArgs,
) -> RgbImage {
    let wanted = |bone: &Bone| args.bones.is_empty() || args.bones.contains(bone);
    let shown: Vec<(Bone, &RunMask)> = Bone::all()
        .filter(wanted)
        .flat_map(|b| [annotated, predicted].into_iter().flatten().map(move |m| (b, &m[b])))
        .filter(|(_, m)| !m.is_empty())
        .collect();
    let crop = (!args.bones.is_empty())
        .then(|| draw::crop_around(shown.iter().map(|s| s.1), 0.25, image.dimensions()))
        .flatten();
    let options = Options { crop, max_size: args.max_size, max_zoom: 4.0, labels: args.labels, ..Options::default() };
    let options = if crop.is_none() { Options { max_zoom: 1.0, ..options } } else { options };
    match (annotated, predicted) {
        (Some(truth), Some(prediction)) => {
            let only = |masks: &HandMasks| {
                let mut chosen = HandMasks::empty(masks.width(), masks.height());
                for (bone, mask) in masks.iter().filter(|(bone, _)| wanted(bone)) {
                    chosen.set(bone, mask.clone()).expect("a mask of the same image");
                }
                chosen
            };
            draw::compare(image, &only(truth), &only(prediction), &options)
        }
        _ if args.filled => draw::filled(image, &shown, &options),
        _ => draw::outlines(image, &shown, &options),
    }
}

fn read_predictions(path: &Path, (width, height): (u32, u32)) -> anyhow::Result<HashMap<String, HandMasks>> {
    let images = submission::read(path, width, height)?;
    Ok(images.into_iter().map(|i| (image_id(&i.image_name), i.masks)).collect())
}

fn write_png(path: &Path, picture: &RgbImage) -> anyhow::Result<()> {
    draw::write_png(path, picture).with_context(|| format!("cannot write {}", path.display()))
}
