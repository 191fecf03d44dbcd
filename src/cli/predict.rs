use std::path::PathBuf;

use anyhow::bail;

use super::data::{held_out, open, warn, without_excluded};
use super::split::{Chosen, subset};
use super::{Status, Ui};
use crate::artefact::kind;
use crate::clean::{self, Transform};
use crate::dataset::folder::TRANSFORMS;
use crate::dataset::{Dataset, ImageEntry};
use crate::device::{self, DeviceKind};
use crate::experiment::known;
use crate::infer::{Predictor, TestTimeAugmentation, predict, to_originals};
use crate::mask::submission;
use crate::train::PatientMetadata;
use crate::wording::counted;

/// Predict masks and write them as a submission
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Example:
  carpus predict --checkpoint runs/demo/best.safetensors --data data \\
      --subset test --out submission.csv
  carpus predict --checkpoint runs/demo/best.safetensors --data crops \\
      --folds folds.csv --fold 0 --subset train --out heldout.csv

Where DATA is a folder that `carpus clean` wrote, the masks are put back into the original images.")]
pub struct PredictArgs {
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
pub fn run(args: PredictArgs, ui: &Ui) -> anyhow::Result<Status> {
    let device = device::select(args.device)?;
    let (mut dataset, mut status) = open(&args.data, args.corrections.as_deref(), ui)?;
    let inputs = std::iter::once(&args.checkpoint).chain(&args.folds).chain(&args.corrections);
    ui.outputs().inputs(inputs).data(dataset.folders()).file(&args.out, &kind::SUBMISSION)?;
    let augmentation = if args.tta { TestTimeAugmentation::Flip } else { TestTimeAugmentation::None };
    let predictor = Predictor::open(&args.checkpoint, device, augmentation)?;
    (dataset, status) = scaled_as_trained(dataset, status, predictor.info().top_level, ui);
    let mut entries: Vec<&ImageEntry> = dataset.images().iter().filter(|e| args.subset.holds(e.subset)).collect();
    if let (Some(path), Some(fold)) = (&args.folds, args.fold) {
        let held = held_out(path, fold)?;
        entries.retain(|e| held.contains(&e.image_id));
    }
    without_excluded(&dataset, &mut entries, ui);
    if entries.is_empty() {
        bail!(
            "{}: its {} not chosen; look at --subset and --fold",
            args.data.display(),
            counted(dataset.images().len(), "image is", "images are")
        );
    }
    let known = match predictor.info().model.metadata {
        Some(_) => known(&dataset, ui),
        None => PatientMetadata::default(),
    };
    let mut prediction = predict(&predictor, &dataset, &entries, &known, args.batch, ui)?;
    if args.data.join(TRANSFORMS).exists() {
        let transforms: Vec<Transform> = clean::read_transforms(&args.data)?;
        prediction.images = to_originals(prediction.images, &transforms)?;
    }
    submission::write(&args.out, &prediction.images)?;
    let status = status.worse(warn(&prediction.problems, ui));
    let (images, problems) = (prediction.images.len(), prediction.problems.len());
    ui.line(format_args!("{} predicted: {}", counted(images, "image", "images"), args.out.display()));
    ui.json(&serde_json::json!({"images": images, "problems": problems, "out": args.out}))?;
    Ok(status)
}

/// The data with its 16-bit images scaled as those were that the model was trained on.
fn scaled_as_trained(dataset: Dataset, status: Status, trained: Option<u16>, ui: &Ui) -> (Dataset, Status) {
    match (trained, dataset.top_level()) {
        (Some(trained), Some(own)) if trained != own && dataset.is_copy() => {
            ui.warn(format_args!(
                "the weights were trained on images scaled by the top level {trained}; these crops were made by {own} and \
                 are brighter or darker"
            ));
            (dataset, status.worse(Status::DoneWithProblems))
        }
        (Some(trained), Some(own)) if trained != own => {
            ui.warn(format_args!(
                "the levels of the 16-bit images have the top level {own}; they are scaled by {trained}, as those were \
                 that the weights were trained on"
            ));
            (dataset.with_top_level(trained), status.worse(Status::DoneWithProblems))
        }
        (None, Some(own)) => {
            ui.note(format_args!(
                "the weights were trained on images of 8 bits; images of 16 bits are scaled by their top level {own}"
            ));
            (dataset, status)
        }
        _ => (dataset, status),
    }
}
