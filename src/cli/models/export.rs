use std::fs::File;
use std::path::PathBuf;

use anyhow::Context;

use super::Choice;
use crate::artefact::{kind, write_atomically};
use crate::cli::{Status, Ui};
use crate::device::{self, DeviceKind};
use crate::models::{ExportFormat, torchscript};

/// A model with its weights as a module that Python and C++ run without carpus
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Example:
  carpus models export --weights runs/NAME/best.safetensors --out m.pt
  carpus models export --arch fpn --encoder resnet34 --weights W.safetensors \\
      --size 256 --batch 4 --to torchscript --out m.pt

The module takes images of the size and number given here, normalised as in training, and gives logits; its weights are
constants. A model conditioned on metadata takes them as a second tensor, [batch, 4]: age in years, sex (0 female, 1
male), height in cm, weight in kg, NaN where one is not known. Weights of a run (best.safetensors) say their model
themselves; name it by --arch, --encoder and --set for others. assets/torchscript_to_onnx.py makes ONNX of the module.")]
pub struct ModelsExportArgs {
    /// A run's weights, or a state dict by the reference's names
    #[arg(long)]
    weights: PathBuf,
    #[command(flatten)]
    model: Choice,
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

pub fn run(args: &ModelsExportArgs, ui: &Ui) -> anyhow::Result<Status> {
    ui.outputs().input(&args.weights).file(&args.out, &kind::TORCHSCRIPT)?;
    let device = device::select(args.device)?;
    let (model, trained) = args.model.open(&args.weights, device)?;
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
    let metadata_shape = model.config().metadata.map(|_| [args.batch, 4]);
    let and_metadata = metadata_shape.map_or(String::new(), |shape| format!(" and metadata {shape:?}"));
    ui.line(format_args!(
        "{}: images {shape:?}{and_metadata} to logits, in {}",
        model.config().describe(),
        args.out.display()
    ));
    let (config, input) = match trained {
        Some(info) => (info.model, Some(info.input)),
        None => (model.config().clone(), None),
    };
    if let Some(input) = &input {
        ui.line(format_args!(
            "images as in training: grey from 0 to 1, less {:?}, divided by {:?}",
            input.mean, input.sd
        ));
    }
    ui.json(&serde_json::json!({
        "output": args.out,
        "input_shape": shape,
        "metadata_shape": metadata_shape,
        "model": config,
        "input": input,
    }))?;
    Ok(Status::Done)
}
