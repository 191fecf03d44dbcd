use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};

use crate::artefact::kind;
use crate::augment::Letterbox;
use crate::bones::{self, Bone};
use crate::cli::data::open;
use crate::cli::draw::bone;
use crate::cli::{Status, Ui};
use crate::dataset::{Dataset, ImageEntry};
use crate::draw::{SheetStyle, contact_sheet, distance_map, write_png};
use crate::geometry::Size;
use crate::mask::{LabelImage, RunMask, SignedDistance};

/// Draw the signed distance maps that the boundary loss sees
///
/// Blue is inside the bone (negative), white its outline, red outside; the inside and the outside have a scale each. Contour
/// lines have the same distance everywhere. Several bones are drawn as a contact sheet.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Example:
  carpus losses map image1661130828152_R --data data --out maps.png
  carpus losses map image1661130828152_R --data data --bones Capitate \\
      --size 1024 --band 20 --out capitate.png
  carpus losses map data/train/DCM/ID001/image1661130828152_R.png \\
      --out maps.png")]
pub(super) struct MapArgs {
    /// Id of an annotated image, or its file
    #[arg(value_name = "IMAGE")]
    image: String,
    /// Data folder [default: the folder above the file that has its annotation]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Corrections file to apply to the annotation
    #[arg(long, value_name = "FILE")]
    corrections: Option<PathBuf>,
    /// Draw only these bones, separated by commas
    #[arg(long, value_delimiter = ',', value_parser = bone)]
    bones: Vec<Bone>,
    /// Side in px of the model's input, at which the loss is computed
    #[arg(long, value_name = "PX", default_value_t = 512, value_parser = clap::value_parser!(u32).range(16..=4096))]
    size: u32,
    /// Limit of the distances in px, as the loss's option `band` [default: no limit]
    #[arg(long, value_name = "PX", value_parser = band)]
    band: Option<f32>,
    /// PNG to write
    #[arg(short, long, value_name = "FILE")]
    out: PathBuf,
}

/// Maximum width of a contact sheet's picture in px.
const PANEL: u32 = 256;
/// Pictures per row of a contact sheet.
const COLUMNS: u32 = 6;

fn band(text: &str) -> Result<f32, String> {
    match text.trim().parse::<f32>() {
        Ok(band) if band.is_finite() && band > 0.0 => Ok(band),
        _ => Err(format!("{text:?}: expected a number of pixels above 0")),
    }
}

/// The map of one bone, and what the caption states.
struct BoneMap {
    bone: Bone,
    distances: Vec<f32>,
    has_edge: bool,
}

impl BoneMap {
    fn new(bone: Bone, mask: &RunMask, band: Option<f32>) -> BoneMap {
        let map = SignedDistance::new(mask);
        BoneMap { bone, distances: map.to_dense(band), has_edge: map.has_edge() }
    }

    fn range(&self) -> [f32; 2] {
        self.distances.iter().fold([0.0; 2], |[least, most], d| [least.min(*d), most.max(*d)])
    }

    fn caption(&self) -> String {
        let [least, most] = self.range();
        if self.has_edge { format!("{} {least:.0} to {most:.0} px", self.bone) } else { format!("{}: 0", self.bone) }
    }
}

/// Draws the maps.
pub(super) fn run(args: &MapArgs, ui: &Ui) -> anyhow::Result<Status> {
    let (dataset, status) = open(&data_folder(args)?, args.corrections.as_deref(), ui)?;
    ui.outputs().inputs(&args.corrections).data(dataset.folders()).file(&args.out, &kind::PNG)?;
    let entry = dataset.find(&args.image);
    let entry = entry.with_context(|| format!("{} has no image {}", dataset.root().display(), args.image))?;
    let masks = masks(&dataset, entry, args.size)?;
    let chosen: Vec<Bone> = if args.bones.is_empty() { Bone::all().collect() } else { args.bones.clone() };
    let maps: Vec<BoneMap> = chosen.iter().map(|bone| BoneMap::new(*bone, &masks[bone.index()], args.band)).collect();
    let absent: Vec<&str> = maps.iter().filter(|map| !map.has_edge).map(|map| map.bone.name()).collect();
    let picture = match &maps[..] {
        [one] => distance_map(&one.distances, args.size),
        several => {
            let panel = |map: &BoneMap| {
                let picture = distance_map(&map.distances, args.size);
                let side = args.size.min(PANEL);
                let small = image::imageops::resize(&picture, side, side, image::imageops::FilterType::Triangle);
                (map.caption(), small)
            };
            let panels: Vec<_> = several.iter().map(panel).collect();
            contact_sheet(&panels, &SheetStyle { columns: COLUMNS, ..SheetStyle::default() })
        }
    };
    write_png(&args.out, &picture).with_context(|| args.out.display().to_string())?;
    if !absent.is_empty() {
        ui.note(format_args!("not annotated, 0 everywhere: {}", absent.join(", ")));
    }
    ui.line(args.out.display());
    let ranges: serde_json::Map<String, serde_json::Value> =
        maps.iter().map(|map| (map.bone.name().to_owned(), serde_json::json!(map.range()))).collect();
    ui.json(&serde_json::json!({"image": entry.image_id, "size": args.size, "range": ranges, "out": args.out}))?;
    Ok(status)
}

/// The masks in the square that the model sees.
fn masks(dataset: &Dataset, entry: &ImageEntry, size: u32) -> anyhow::Result<Vec<RunMask>> {
    let read = dataset.annotation(entry)?;
    let read = read.with_context(|| format!("image {} has no annotation", entry.image_id))?;
    let (width, height) = dataset.dimensions(entry)?;
    let words = Letterbox::new(width, height, Size::square(size)).words(&read.annotation.masks(width, height));
    Ok(LabelImage { width: size, height: size, words }.masks(bones::COUNT))
}

/// How many folders above an image's file are tried as its data folder.
const ABOVE: usize = 5;

/// The data folder: the given one, or that above the image's file.
fn data_folder(args: &MapArgs) -> anyhow::Result<PathBuf> {
    if let Some(data) = &args.data {
        return Ok(data.clone());
    }
    let file = Path::new(&args.image);
    ensure!(file.is_file(), "{}: no such file; give an image's file, or its id with --data DIR", args.image);
    let file = file.canonicalize().with_context(|| args.image.clone())?;
    let is_annotated = |folder: &&Path| {
        let dataset = Dataset::open(folder);
        dataset.is_ok_and(|dataset| dataset.find(&args.image).is_some_and(|entry| entry.annotation.is_some()))
    };
    let found = file.ancestors().skip(1).take(ABOVE).find(is_annotated);
    Ok(found.with_context(|| format!("{}: no folder above it has its annotation; give --data DIR", args.image))?.into())
}
