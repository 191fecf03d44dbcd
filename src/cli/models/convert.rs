use std::path::PathBuf;

use super::Choice;
use crate::artefact::kind;
use crate::cli::{Status, Ui};
use crate::models::names::{self, Source};
use crate::models::{read_tensors, write_tensors};

/// Weights under another library's names, from there or to there
#[derive(clap::Args, Debug)]
#[command(after_help = "\
timm and torchvision classifiers give an encoder's weights; --to timm or torchvision writes the encoder's alone.
--in-channels 1 sums a first layer for three channels to one, as segmentation_models_pytorch does.
--norm group:N makes a checkpoint with batch norm one with group norm: it keeps the affine weights.
A .pt goes through assets/pt_to_safetensors.py first.")]
pub struct Args {
    /// State dict to read, safetensors
    input: PathBuf,
    /// The library that the names in the file are from: smp, timm, torchvision, transformers
    #[arg(long, value_name = "LIBRARY", required_unless_present = "to", conflicts_with = "to")]
    from: Option<Source>,
    /// The library whose names are to be written; the file has carpus's own
    #[arg(long, value_name = "LIBRARY")]
    to: Option<Source>,
    #[command(flatten)]
    model: Choice,
    /// File to write
    #[arg(long)]
    out: PathBuf,
}

pub fn run(args: &Args, ui: &Ui) -> anyhow::Result<Status> {
    ui.outputs().input(&args.input).file(&args.out, &kind::SAFETENSORS)?;
    let tensors = read_tensors(&args.input)?;
    // The number of classes is the file's.
    let config = match (args.model.arch, args.to) {
        (None, Some(_)) => args.model.config_of(&tensors, &args.input)?.0,
        _ => args.model.config(1)?,
    };
    let renamed = match (args.from, args.to) {
        (Some(source), _) => names::to_carpus(source, &config, tensors),
        (None, Some(source)) => names::from_carpus(source, &config, tensors),
        (None, None) => unreachable!("the command line wants one of --from and --to"),
    };
    let names::Renamed { tensors, left_out, first_layer_summed } =
        renamed.map_err(|e| anyhow::Error::new(e).context(args.input.display().to_string()))?;
    let tensors: Vec<_> = tensors.into_iter().collect();
    write_tensors(&args.out, &tensors)?;
    ui.line(format_args!("{} tensors in {}", tensors.len(), args.out.display()));
    if !left_out.is_empty() {
        ui.line(format_args!("left out, with no place there: {}", left_out.join(", ")));
    }
    if first_layer_summed {
        ui.line(format_args!("the first layer's three channels are summed to one"));
    }
    ui.json(&serde_json::json!({
        "output": args.out,
        "tensors": tensors.len(),
        "left_out": left_out,
        "first_layer_summed": first_layer_summed,
    }))?;
    Ok(Status::Done)
}
