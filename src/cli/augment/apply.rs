use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use clap::CommandFactory;
use clap::error::ErrorKind;
use image::GrayImage;
use image::codecs::png::PngEncoder;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::preview::masks_of_file;
use crate::artefact::{self, kind};
use crate::augment::{Augmentation, Augmentations, LabelledImage, OtherImages};
use crate::cli::{Cli, Status, Ui};
use crate::config::operations::operations;
use crate::dataset::{Levels, Polarity, read_single};
use crate::geometry::Size;
use crate::mask::LabelImage;

/// Apply one step, or several in order, to an image
///
/// Levels are rounded to 8 bit at the end, halves up. A 16-bit image is divided by the smallest 2^n - 1, from 255 on, that
/// none of its levels exceeds; its levels keep their fractions until then. Steps that need the bones read the annotation of
/// the same name (.json) next to the image, or in ../../outputs_json/PATIENT for an image in DCM/PATIENT.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Example:
  carpus augment apply hand.png --out out.png \\
      --op '{ kind = \"gamma\", gamma = 0.7 }'
  carpus augment apply hand.png --out out.png --seed 3 \\
      --op '[{ kind = \"flip\" }, { kind = \"gaussian-noise\", sd = 0.02 }]'
  carpus augment apply hand.png --out out.png --other other.png \\
      --op '{ kind = \"histogram-matching\", blend = 1 }'")]
pub struct ApplyArgs {
    /// Image file
    image: PathBuf,
    /// The step as an inline table of TOML with the keys that it has in a configuration, or a list of such tables; `p`
    /// is ignored
    // Parsed when the command runs: a parser here would link the steps, and so libtorch, into `carpus`.
    #[arg(long, value_name = "TOML")]
    op: String,
    /// PNG file to write
    #[arg(long, value_name = "PNG")]
    out: PathBuf,
    /// Seed of everything that the steps draw
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Image file of the same size, for steps that mix another image into this one; one of them is drawn
    #[arg(long, value_name = "IMAGE", num_args = 1..)]
    other: Vec<PathBuf>,
}

/// Applies the steps.
pub fn run(args: &ApplyArgs, ui: &Ui) -> anyhow::Result<Status> {
    let steps = operations(&args.op).unwrap_or_else(|reason| {
        let text = format!("invalid value '{}' for '--op <TOML>': {reason}", args.op);
        Cli::command().error(ErrorKind::ValueValidation, text).exit()
    });
    ui.outputs().input(&args.image).inputs(&args.other).file(&args.out, &kind::PNG)?;
    let mut image = read(&args.image, ui)?;
    let (masks, status) = masks_of_file(&args.image, image.size, ui)?;
    if let Some(masks) = &masks {
        image.words = LabelImage::from_masks(masks).words;
    }
    let others =
        args.other.iter().map(|path| same_size(path, read(path, ui)?, image.size)).collect::<Result<_, _>>()?;
    let others = Others(others);
    if let Some(step) = steps.0.iter().find(|step| step.needs_other_images() && others.count() == 0) {
        bail!("{} needs another image of the size of {}; name it with --other", step.kind(), args.image.display());
    }
    let levels = image.levels.clone();
    let changed = steps.apply_always(image, &others, &mut ChaCha8Rng::seed_from_u64(args.seed));
    if changed.levels == levels {
        let unlabelled = if masks.is_none() { "; it has no annotation, which some steps need" } else { "" };
        ui.note(format_args!("no pixel of {} was changed{unlabelled}", args.image.display()));
    }
    write(&args.out, &changed).with_context(|| format!("cannot write {}", args.out.display()))?;
    ui.line(args.out.display());
    ui.json(&serde_json::json!({ "image": args.out, "steps": kinds(&steps) }))?;
    Ok(status)
}

fn kinds(steps: &Augmentations) -> Vec<String> {
    steps.0.iter().map(Augmentation::kind).collect()
}

/// The image with its levels as stored (an inverted image stays inverted), scaled to 8 bit.
fn read(path: &Path, ui: &Ui) -> anyhow::Result<LabelledImage> {
    let pixels = read_single(path)?.pixels.with_polarity(Polarity::BlackIsZero);
    let size = Size { width: pixels.width(), height: pixels.height() };
    let levels = match pixels.levels() {
        Levels::Eight(levels) => levels.iter().map(|v| f32::from(*v)).collect(),
        Levels::Sixteen(levels) => {
            ui.note(format_args!("{}: 16-bit levels scaled to 0 to 255 by {} / 255", path.display(), pixels.top()));
            levels.iter().map(|v| f32::from(*v) * 255.0 / f32::from(pixels.top())).collect()
        }
    };
    Ok(LabelledImage::new(size, levels, vec![0; size.pixels()]))
}

fn same_size(path: &Path, image: LabelledImage, expected: Size) -> anyhow::Result<LabelledImage> {
    ensure!(
        image.size == expected,
        "--other {}: the image has {} x {} px; expected {} x {}, the size of the image to change",
        path.display(),
        image.size.width,
        image.size.height,
        expected.width,
        expected.height
    );
    Ok(image)
}

fn write(path: &Path, image: &LabelledImage) -> std::io::Result<()> {
    let levels = image.levels.iter().map(|v| v.round() as u8).collect();
    let grey = GrayImage::from_raw(image.size.width, image.size.height, levels).expect("one level per pixel");
    let mut png = Vec::new();
    grey.write_with_encoder(PngEncoder::new(&mut png)).map_err(std::io::Error::other)?;
    artefact::sign_png(&mut png);
    artefact::write_atomically(path, |out| out.write_all(&png))
}

/// The images of `--other`.
struct Others(Vec<LabelledImage>);

impl OtherImages for Others {
    fn count(&self) -> usize {
        self.0.len()
    }

    fn image(&self, index: usize) -> Option<LabelledImage> {
        self.0.get(index).cloned()
    }
}
