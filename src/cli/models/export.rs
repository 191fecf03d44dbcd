use std::fs::File;
use std::path::PathBuf;

use anyhow::Context;

use super::Choice;
use crate::artefact::{kind, write_atomically};
use crate::cli::{Status, Ui};
use crate::device::{self, DeviceKind};
use crate::geometry::Size;
use crate::models::{ExportFormat, torchscript};

/// Export a model as a TorchScript module that Python and C++ can run without carpus
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Example:
  carpus models export --weights runs/NAME/best.safetensors --out m.pt
  carpus models export --arch fpn --encoder resnet34 --weights W.safetensors \\
      --size 256 --batch 4 --to torchscript --out m.pt

The module takes --batch images of --size, normalised as in training, and returns logits; its \
weights are constants. A model conditioned on metadata takes a second tensor [batch, 4]: age in \
years, sex (0 female, 1 male), height in cm, weight in kg; NaN for unknown values. The weights of a \
run (best.safetensors) include the model's configuration; for other weights, give --arch, --encoder \
and --set. assets/torchscript_to_onnx.py converts the module to ONNX.")]
pub struct ModelsExportArgs {
    /// Weights of a run, or a state dict with carpus's names
    #[arg(long, value_name = "FILE")]
    weights: PathBuf,
    #[command(flatten)]
    model: Choice,
    /// Format: torchscript
    #[arg(long, default_value = "torchscript")]
    to: ExportFormat,
    /// File to write
    #[arg(short, long, value_name = "FILE")]
    out: PathBuf,
    /// Size of the images in px, N for a square or WIDTHxHEIGHT [default: as trained, for weights of a run; else 512]
    #[arg(long, value_name = "SIZE")]
    size: Option<Size>,
    /// Batch size
    #[arg(long, value_name = "N", default_value_t = 1)]
    batch: i64,
    /// Device of the module's constants: auto, cpu or cuda:N
    #[arg(long, default_value = "cpu")]
    device: DeviceKind,
}

/// Exports the model and writes the module.
pub fn run(args: &ModelsExportArgs, ui: &Ui) -> anyhow::Result<Status> {
    ui.outputs().input(&args.weights).file(&args.out, &kind::TORCHSCRIPT)?;
    let device = device::select(args.device)?;
    let (model, trained) = args.model.open(&args.weights, device)?;
    let size = args.size.or(trained.as_ref().map(|info| info.size)).unwrap_or(Size::square(512));
    let [height, width] = size.shape();
    let shape = [args.batch, model.config().in_channels, height, width];
    match args.to {
        ExportFormat::TorchScript => {
            let module = torchscript(&model, [args.batch, height, width])?;
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
        "{}: images {shape:?}{and_metadata} to logits -> {}",
        model.config().describe(),
        args.out.display()
    ));
    let (config, input) = match trained {
        Some(info) => (info.model, Some(info.input)),
        None => (model.config().clone(), None),
    };
    if let Some(input) = &input {
        ui.line(format_args!("normalise images as in training: {}", input.describe()));
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
