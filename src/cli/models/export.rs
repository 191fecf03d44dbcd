use std::fs::File;
use std::path::PathBuf;

use anyhow::Context;

use super::{Choice, Details};
use crate::artefact::write_atomically;
use crate::cli::{Status, Ui};
use crate::device::{self, DeviceKind};
use crate::models::{Architecture, ExportFormat, Model, read_tensors, torchscript};
use crate::train::read_weights;

/// A model with its weights as a module that Python and C++ run without carpus
#[derive(clap::Args, Debug)]
#[command(after_help = "\
The module takes images of the size and number given here, normalised as in training, and gives logits; its weights are
constants. Weights of a run (best.safetensors) say their model themselves; name it by --arch and --encoder for
others. assets/torchscript_to_onnx.py makes ONNX of the module.")]
pub struct Args {
    /// A run's weights, or a state dict by the reference's names
    #[arg(long)]
    weights: PathBuf,
    /// Decoder and head, for weights that do not say their model
    #[arg(long)]
    arch: Option<Architecture>,
    #[command(flatten)]
    details: Details,
    /// What to write: torchscript
    #[arg(long, default_value = "torchscript")]
    to: ExportFormat,
    /// File to write
    #[arg(long)]
    out: PathBuf,
    /// Side of the square image; that of its training for a run's weights, else 512
    #[arg(long)]
    size: Option<i64>,
    /// Images at a time
    #[arg(long, default_value_t = 1)]
    batch: i64,
    /// Where the module's constants are: auto, cpu, cuda:N
    #[arg(long, default_value = "cpu")]
    device: DeviceKind,
}

pub fn run(args: &Args, ui: &Ui) -> anyhow::Result<Status> {
    let device = device::select(args.device)?;
    let (model, trained) = match args.arch {
        Some(arch) => {
            let choice = Choice { arch, details: args.details.clone() };
            let tensors = read_tensors(&args.weights)?;
            let config = choice.config(choice.classes_in(&tensors, &args.weights)?);
            (Model::holding(&config, tensors, &args.weights, device)?, None)
        }
        None => {
            let (model, info) =
                read_weights(&args.weights, device).context("without --arch the weights are to be a run's")?;
            (model, Some(info))
        }
    };
    let side = args.size.or(trained.as_ref().map(|info| info.size.into())).unwrap_or(512);
    let shape = [args.batch, model.config().in_channels, side, side];
    match args.to {
        ExportFormat::TorchScript => {
            let module = torchscript(&model, [args.batch, side, side])?;
            let folder = tempfile::tempdir()?;
            let file = folder.path().join("m.pt");
            module.save(&file)?;
            write_atomically(&args.out, |out| std::io::copy(&mut File::open(&file)?, out).map(drop))
                .with_context(|| args.out.display().to_string())?;
        }
    }
    ui.line(format_args!("{}: images {shape:?} to logits, in {}", model.config().describe(), args.out.display()));
    let input = trained.map(|info| info.input);
    if let Some(input) = &input {
        ui.line(format_args!(
            "images as in training: grey from 0 to 1, less {:?}, divided by {:?}",
            input.mean, input.sd
        ));
    }
    ui.json(&serde_json::json!({ "output": args.out, "input_shape": shape, "model": model.config(), "input": input }))?;
    Ok(Status::Done)
}
