use std::path::PathBuf;

use crate::artefact::kind;
use crate::cli::values::expect_different;
use crate::cli::{Status, Ui};
use crate::device::{self, DeviceKind};
use crate::experiment::average_weights;
use crate::wording::counted;

/// Average the weights of several epochs of a model
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Example:
  carpus models average runs/NAME --out mean.safetensors
  carpus models average runs/NAME/best/epoch040.safetensors \\
      runs/NAME/best/epoch047.safetensors --out mean.safetensors

The statistics of the batch norms are estimated again from the training images of the first run, if its \
data can be read; otherwise they are averaged too, with a warning. All files must be of the same model.")]
pub struct ModelsAverageArgs {
    /// Files of weights (safetensors), or folders of runs: the best epochs that `keep-best` kept
    #[arg(required = true, value_name = "RUN_OR_FILE")]
    inputs: Vec<PathBuf>,
    /// File to write
    #[arg(long)]
    out: PathBuf,
    /// Device: auto, cpu, cuda or cuda:N
    #[arg(long, default_value = "auto")]
    device: DeviceKind,
}

/// Averages the weights and writes the file.
pub fn run(args: &ModelsAverageArgs, ui: &Ui) -> anyhow::Result<Status> {
    expect_different(&args.inputs)?;
    ui.outputs().inputs(&args.inputs).file(&args.out, &kind::SAFETENSORS)?;
    let device = device::select(args.device)?;
    let averaged = average_weights(&args.inputs, &args.out, device, ui)?;
    let estimated = match averaged.norms_estimated {
        0 => String::new(),
        norms => format!(", {} estimated again", counted(norms, "batch norm", "batch norms")),
    };
    ui.line(format_args!(
        "mean of {}{estimated}: {}",
        counted(averaged.files.len(), "file", "files"),
        averaged.out.display()
    ));
    ui.json(&averaged)?;
    Ok(Status::Done)
}
