use std::collections::HashMap;
use std::path::PathBuf;

use anyhow::bail;

use super::data::{open, warn, without_excluded};
use super::split::{Chosen, subset};
use super::train::known;
use super::{Status, Ui};
use crate::artefact::kind;
use crate::clean::{self, Transform};
use crate::dataset::ImageEntry;
use crate::dataset::folder::TRANSFORMS;
use crate::device::{self, DeviceKind};
use crate::infer::{Predictor, predict, to_originals};
use crate::mask::submission;
use crate::tables::{self, FoldRow};
use crate::train::Known;

/// Predict masks and write them as a submission
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Example:
  carpus predict --checkpoint runs/demo/best.safetensors --data data --subset test \\
      --out submission.csv
  carpus predict --checkpoint runs/demo/best.safetensors --data crops --folds folds.csv \\
      --fold 0 --subset train --out heldout.csv

Where DATA is a folder that `carpus clean` wrote, the masks are put back into the original images.")]
pub struct Args {
    /// Weights that a run wrote: best.safetensors
    #[arg(long)]
    checkpoint: PathBuf,
    /// Data folder, or folder of crops
    #[arg(long)]
    data: PathBuf,
    /// Images to predict: train, test or all
    #[arg(long, default_value = "test", value_parser = subset)]
    subset: Chosen,
    /// Folds that `carpus split` wrote; with --fold, only the images held out in it
    #[arg(long, requires = "fold")]
    folds: Option<PathBuf>,
    /// Fold to predict
    #[arg(long, requires = "folds")]
    fold: Option<u32>,
    /// Corrections file: what it excludes is not predicted; metadata that it sets is given to the model
    #[arg(long, value_name = "FILE")]
    corrections: Option<PathBuf>,
    /// Submission CSV to write
    #[arg(long)]
    out: PathBuf,
    /// auto, cpu, cuda or cuda:N
    #[arg(long, default_value = "auto")]
    device: DeviceKind,
    /// Images at a time
    #[arg(long, default_value_t = 4)]
    batch: usize,
    /// Average each image's probabilities with those of its mirror image
    #[arg(long)]
    tta: bool,
}

/// Predicts.
pub fn run(args: Args, ui: &Ui) -> anyhow::Result<Status> {
    let device = device::select(args.device)?;
    let (dataset, status) = open(&args.data, args.corrections.as_deref(), ui)?;
    let inputs = std::iter::once(&args.checkpoint).chain(&args.folds).chain(&args.corrections);
    ui.outputs().inputs(inputs).data(dataset.folders()).file(&args.out, &kind::SUBMISSION)?;
    let mut entries: Vec<&ImageEntry> =
        dataset.images().iter().filter(|e| args.subset.holds(e.subset.name())).collect();
    if let (Some(path), Some(fold)) = (&args.folds, args.fold) {
        entries = in_fold(&tables::read(path)?, fold, entries);
    }
    without_excluded(&dataset, &mut entries, ui);
    if entries.is_empty() {
        bail!(
            "{}: none of its {} images is chosen; look at --subset and --fold",
            args.data.display(),
            dataset.images().len()
        );
    }
    let predictor = Predictor::open(&args.checkpoint, device, args.tta)?;
    let known = match predictor.info().model.metadata {
        Some(_) => known(&dataset, ui),
        None => Known::default(),
    };
    let mut prediction = predict(&predictor, &dataset, &entries, &known, args.batch, ui)?;
    if args.data.join(TRANSFORMS).exists() {
        let transforms: Vec<Transform> = clean::read_transforms(&args.data)?;
        prediction.images = to_originals(prediction.images, &transforms)?;
    }
    submission::write(&args.out, &prediction.images)?;
    let status = status.worse(warn(&prediction.problems, ui));
    let (images, problems) = (prediction.images.len(), prediction.problems.len());
    ui.line(format_args!("{images} images predicted: {}", args.out.display()));
    ui.json(&serde_json::json!({"images": images, "problems": problems, "out": args.out}))?;
    Ok(status)
}

/// The entries of a fold, in the order of the entries.
pub(super) fn in_fold<'a>(rows: &[FoldRow], fold: u32, entries: Vec<&'a ImageEntry>) -> Vec<&'a ImageEntry> {
    let folds: HashMap<&str, u32> = rows.iter().map(|r| (r.image_id.as_str(), r.fold)).collect();
    entries.into_iter().filter(|e| folds.get(e.image_id.as_str()) == Some(&fold)).collect()
}
