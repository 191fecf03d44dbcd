use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use image::{GrayImage, RgbImage};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::artefact::kind;
use crate::augment::{FittedImage, LabelledImage, NoOtherImages, OtherImages};
use crate::bones;
use crate::cli::data::{open, warn};
use crate::cli::draw::entry;
use crate::cli::{Status, Ui};
use crate::dataset::{
    Dataset, GreyImage, ImageEntry, ProblemSeverity, WithProblems, annotation, image_id, read_single,
};
use crate::draw::{self, SheetStyle};
use crate::geometry::Size;
use crate::mask::{HandMasks, LabelImage};
use crate::train::TrainConfig;

/// Draw what the augmentation of a training configuration does to an image
///
/// The contact sheet shows the image before, then after each step alone (whatever its p), then after the whole list with
/// its probabilities, at the configuration's size, with outlines of the bones. Without --data, the annotation is the file of
/// the same name (.json) next to the image, or in ../../outputs_json/PATIENT for an image in DCM/PATIENT.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Example:
  carpus augment preview configs/train/demo.toml hand.png --out sheet.png
  carpus augment preview configs/train/demo.toml image1661130828152_R \\
      --data data --samples 8 --out sheet.png")]
pub struct PreviewArgs {
    /// Training configuration (TOML)
    config: PathBuf,
    /// Image file; with --data, the id of an image: its file name without extension
    image: PathBuf,
    /// PNG file to write
    #[arg(long, value_name = "PNG")]
    out: PathBuf,
    /// Data folder that has the image, and other images for steps that mix two
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// How often the whole list is applied
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u64).range(0..=100))]
    samples: u64,
    /// Seed of everything that the steps draw
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Override a setting of the configuration: a dotted key and a TOML value
    #[arg(long = "set", value_name = "KEY=VALUE")]
    sets: Vec<String>,
}

/// Draws the contact sheet.
pub fn run(args: &PreviewArgs, ui: &Ui) -> anyhow::Result<Status> {
    let config = TrainConfig::load(&args.config, &args.sets)?;
    ensure!(
        !config.augment.0.is_empty(),
        "{}: the configuration has no step to show; `carpus augment list` lists the kinds of [[augment]]",
        args.config.display()
    );
    let opened = args.data.as_deref().map(|root| open(root, None, ui)).transpose()?;
    let (dataset, mut status) = opened.map_or((None, Status::Done), |(dataset, status)| (Some(dataset), status));
    let outputs = ui.outputs().inputs([&args.config, &args.image]);
    outputs.data(dataset.iter().flat_map(Dataset::folders)).file(&args.out, &kind::PNG)?;
    let (hand, of_image) = match &dataset {
        Some(dataset) => of_dataset(dataset, &args.image, ui)?,
        None => of_file(&args.image, ui)?,
    };
    status = status.worse(of_image);
    if hand.masks.is_none() {
        ui.note(format_args!("{} has no annotation; no outlines are drawn", args.image.display()));
    }
    let others = dataset.as_ref().map(|dataset| DatasetImages::new(dataset, &hand, &config));
    let others: &dyn OtherImages = match &others {
        Some(others) => others,
        None => &NoOtherImages,
    };
    for step in config.augment.0.iter().filter(|step| step.needs_other_images() && others.count() == 0) {
        ui.note(format_args!("{} does nothing without another annotated image; see --data", step.kind()));
    }
    let pictures = pictures(&config, &hand.prepared(&config), others, args);
    let sheet = draw::contact_sheet(&pictures, &SheetStyle::default());
    draw::write_png(&args.out, &sheet).with_context(|| format!("cannot write {}", args.out.display()))?;
    ui.line(args.out.display());
    let captions: Vec<&str> = pictures.iter().map(|(caption, _)| &**caption).collect();
    ui.json(
        &serde_json::json!({ "sheet": args.out, "annotated": hand.masks.is_some(), "size": config.size, "pictures": captions }),
    )?;
    Ok(status)
}

/// The pictures with their captions: before, each step alone, the whole list.
fn pictures(
    config: &TrainConfig,
    before: &LabelledImage,
    others: &dyn OtherImages,
    args: &PreviewArgs,
) -> Vec<(String, RgbImage)> {
    let caption = |name: String, after: &LabelledImage| {
        let suffix = if after == before { " (unchanged)" } else { "" };
        (format!("{name}{suffix}"), picture(after))
    };
    let mut pictures = vec![("before".to_owned(), picture(before))];
    for step in &config.augment.0 {
        let mut rng = ChaCha8Rng::seed_from_u64(args.seed);
        pictures.push(caption(step.kind(), &step.apply_always(before.clone(), others, &mut rng)));
    }
    for sample in 0..args.samples {
        let mut rng = ChaCha8Rng::seed_from_u64(args.seed.wrapping_add(sample));
        let after = config.augment.apply(before.clone(), others, &mut rng);
        pictures.push(caption(format!("all steps, sample {}", sample + 1), &after));
    }
    pictures
}

/// A radiograph with the outlines of its labels; those of a second image that was blended in are faint.
fn picture(image: &LabelledImage) -> RgbImage {
    let Size { width, height } = image.size;
    let levels = image.levels.iter().map(|v| v.round() as u8).collect();
    let grey = GrayImage::from_raw(width, height, levels).expect("one level per pixel");
    let masks = |words: &[u32]| {
        let labels = LabelImage { width, height, words: words.to_vec() };
        HandMasks::new(labels.masks(bones::COUNT)).expect("one mask of one size per bone")
    };
    let (own, second) = (masks(&image.words), image.mixed.as_ref().map(|mixed| masks(&mixed.words)));
    let [own, second] = [Some(&own), second.as_ref()].map(|masks| {
        masks.into_iter().flat_map(HandMasks::iter).filter(|(_, mask)| !mask.is_empty()).collect::<Vec<_>>()
    });
    // Small images are enlarged, so that a difference of one pixel is visible.
    let options = draw::Options { max_size: 512, max_zoom: 4.0, ..draw::Options::default() };
    draw::emphasised(&grey, &own, &second, &options)
}

/// A radiograph with the masks of its annotation, if it has one.
struct Hand {
    id: String,
    image: GreyImage,
    masks: Option<HandMasks>,
}

impl Hand {
    /// The image as the augmentation takes it.
    fn prepared(&self, config: &TrainConfig) -> LabelledImage {
        let size = config.size;
        let part = config.specialist.as_ref().zip(self.masks.as_ref()).and_then(|(s, masks)| s.part(masks));
        let (image, masks) = match part {
            None => (self.image.clone(), self.masks.clone()),
            Some(part) => (part.image_in(self.image.clone()), self.masks.as_ref().map(|masks| part.masks_in(masks))),
        };
        let image = FittedImage::new(image, size);
        let levels = config.input.prepare(&image).levels;
        let words = masks.map_or_else(|| vec![0; size.pixels()], |masks| image.fit().words(&masks));
        LabelledImage::new(size, levels, words)
    }
}

fn of_entry(dataset: &Dataset, entry: &ImageEntry) -> anyhow::Result<(Hand, Vec<crate::dataset::Problem>)> {
    let image = dataset.image(entry)?.pixels;
    let read = dataset.annotation(entry)?;
    let masks = read.as_ref().map(|read| read.annotation.masks(image.width(), image.height()));
    Ok((Hand { id: entry.image_id.clone(), image, masks }, read.map(|read| read.problems).unwrap_or_default()))
}

fn of_dataset(dataset: &Dataset, image: &Path, ui: &Ui) -> anyhow::Result<(Hand, Status)> {
    let (hand, problems) = of_entry(dataset, entry(dataset, &image.to_string_lossy())?)?;
    let status = warn(problems.iter().filter(|p| p.severity == ProblemSeverity::Error), ui);
    Ok((hand, status))
}

fn of_file(path: &Path, ui: &Ui) -> anyhow::Result<(Hand, Status)> {
    let image = read_single(path)?.pixels;
    let id = image_id(&path.to_string_lossy());
    let (masks, status) = match annotation_of(path, &id) {
        None => (None, Status::Done),
        Some(file) => {
            let WithProblems { content: annotation, problems } = annotation::read(&file, &file.to_string_lossy())?;
            let status = warn(problems.iter().filter(|p| p.severity == ProblemSeverity::Error), ui);
            (Some(annotation.masks(image.width(), image.height())), status)
        }
    };
    Ok((Hand { id, image, masks }, status))
}

/// The annotation file of an image: next to it, or in the folder of annotations next to its folder of images.
fn annotation_of(image: &Path, id: &str) -> Option<PathBuf> {
    let image = std::path::absolute(image).ok()?;
    let folder = image.parent()?;
    let layout = || Some(folder.parent()?.parent()?.join("outputs_json").join(folder.file_name()?));
    let is_annotation = |path: &PathBuf| {
        path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("json"))
            && image_id(&path.to_string_lossy()) == id
    };
    [Some(folder.to_path_buf()), layout()].into_iter().flatten().find_map(|folder| {
        let files = std::fs::read_dir(folder).ok()?.filter_map(Result::ok).map(|file| file.path());
        files.filter(is_annotation).min()
    })
}

/// The annotated images of a data set but one, read when they are asked for.
struct DatasetImages<'a> {
    dataset: &'a Dataset,
    entries: Vec<&'a ImageEntry>,
    config: &'a TrainConfig,
}

impl<'a> DatasetImages<'a> {
    fn new(dataset: &'a Dataset, without: &Hand, config: &'a TrainConfig) -> DatasetImages<'a> {
        let is_other = |entry: &&ImageEntry| entry.annotation.is_some() && entry.image_id != without.id;
        DatasetImages { dataset, entries: dataset.images().iter().filter(is_other).collect(), config }
    }
}

impl OtherImages for DatasetImages<'_> {
    fn count(&self) -> usize {
        self.entries.len()
    }

    fn image(&self, index: usize) -> Option<LabelledImage> {
        let (hand, _) = of_entry(self.dataset, self.entries.get(index)?).ok()?;
        Some(hand.prepared(self.config))
    }
}
