use std::path::PathBuf;

use super::{Status, Ui};
use crate::artefact::kind;
use crate::clean::{read_transforms, restore, without_prediction};
use crate::mask::submission;
use crate::wording::counted;

/// Map masks predicted on crops back to the original images
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Example:
  carpus restore crops predictions.csv --out submission.csv

The result is exact: masks are shifted, not resampled.")]
pub struct RestoreArgs {
    /// Folder that `carpus clean` wrote
    crops: PathBuf,
    /// Submission CSV whose masks have the sizes of the crops
    predictions: PathBuf,
    /// Submission CSV to write, with masks in the sizes of the original images
    #[arg(short, long, value_name = "FILE")]
    out: PathBuf,
}

/// Maps the predictions back to the original images.
pub fn run(args: RestoreArgs, ui: &Ui) -> anyhow::Result<Status> {
    ui.outputs().inputs([&args.predictions, &args.crops]).file(&args.out, &kind::SUBMISSION)?;
    let transforms = read_transforms(&args.crops)?;
    let restored = restore(&args.predictions, &transforms)?;
    submission::write(&args.out, &restored)?;
    let without = without_prediction(&transforms, &restored).len();
    ui.line(format_args!("{} restored: {}", counted(restored.len(), "image", "images"), args.out.display()));
    if without > 0 {
        ui.note(format_args!("{} no prediction", counted(without, "crop has", "crops have")));
    }
    ui.json(&serde_json::json!({"images": restored.len(), "without_prediction": without, "out": args.out}))?;
    Ok(Status::Done)
}
