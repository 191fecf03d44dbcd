mod map;

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use clap::error::ErrorKind;
use clap::{CommandFactory, Subcommand};
use serde::Deserialize;
use tch::{Kind, Tensor};

use super::{Cli, Status, Ui};
use crate::artefact::kind;
use crate::device::{self, DeviceKind};
use crate::losses::{LOSSES, LossMix, LossOutput};
use crate::models::{all_finite, read_tensors, write_tensors};

/// List losses, compute a combined loss and its gradient, or draw distance maps
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Example:
  carpus losses list
  carpus losses eval --loss '{ bce = 0.5, lovasz = 0.5 }' \\
      --logits x.safetensors --target t.safetensors --grad g.safetensors
  carpus losses map image1661130828152_R --data data --out maps.png")]
pub struct LossesArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand, Debug)]
enum What {
    /// List all losses with their options
    #[command(after_help = "Example:\n  carpus losses list")]
    List,
    /// Compute a combined loss and its gradient, for example to compare it with another library
    Eval(Eval),
    Map(map::MapArgs),
}

#[derive(clap::Args, Debug)]
#[command(after_help = "\
Example:
  carpus losses eval --loss '{ bce = 0.5, lovasz = 0.5 }' \\
      --logits x.safetensors --target t.safetensors --grad g.safetensors")]
struct Eval {
    /// Losses with weights, as in a configuration: '{ bce = 0.5, dice = { weight = 0.5, smooth = 1.0 } }'
    // Parsed when the command runs: a parser here would link the losses, and so libtorch, into `carpus`.
    #[arg(long)]
    loss: String,
    /// File with the tensor `logits`, [batch, classes, height, width]
    #[arg(long, value_name = "FILE")]
    logits: PathBuf,
    /// File with the tensor `target`: zeros and ones of the same shape, or integers [batch, height, width] in which
    /// bit k is the mask of class k; for a weighted loss also `weights`: [batch, height, width], or the shape of the
    /// logits
    #[arg(long, value_name = "FILE")]
    target: PathBuf,
    /// File to write: the gradient with respect to the logits, as tensor `grad`
    #[arg(long, value_name = "FILE")]
    grad: Option<PathBuf>,
}

fn mix(text: &str) -> Result<LossMix, String> {
    #[derive(Deserialize)]
    struct Config {
        loss: LossMix,
    }
    let config: Config = toml::from_str(&format!("loss = {text}")).map_err(|e| e.message().to_owned())?;
    config.loss.violations(None).result().map_err(|e| e.to_string())?;
    Ok(config.loss)
}

/// Lists losses or computes one.
pub fn run(args: LossesArgs, ui: &Ui) -> anyhow::Result<Status> {
    match args.what {
        What::List => {
            let items = LOSSES.iter().map(|kind| (kind.name, kind.about));
            for (name, about) in items.clone() {
                ui.line(format_args!("{name:<18} {about}"));
            }
            let items: Vec<_> =
                items.map(|(name, about)| serde_json::json!({ "name": name, "about": about })).collect();
            ui.json(&items)?;
            Ok(Status::Done)
        }
        What::Eval(args) => eval(&args, ui),
        What::Map(args) => map::run(&args, ui),
    }
}

fn eval(args: &Eval, ui: &Ui) -> anyhow::Result<Status> {
    let mix = mix(&args.loss).unwrap_or_else(|reason| {
        let text = format!("invalid value '{}' for '--loss <LOSS>': {reason}", args.loss);
        Cli::command().error(ErrorKind::ValueValidation, text).exit()
    });
    let outputs = ui.outputs().inputs([&args.logits, &args.target]);
    args.grad.iter().try_for_each(|path| outputs.file(path, &kind::SAFETENSORS))?;
    device::select(DeviceKind::Cpu)?;
    let logits = tensor(&args.logits, "logits")?.f_set_requires_grad(true)?;
    let target = tensor(&args.target, "target")?;
    let weights = read_tensors(&args.target)?.remove("weights");
    ensure!(all_finite(&logits)?, "{}: `logits` holds NaN or infinite values", args.logits.display());
    // Label words are integers [batch, height, width]; any other target is a mask per class.
    if target.dim() == logits.dim() {
        let is_binary = target.f_eq(0)?.f_logical_or(&target.f_eq(1)?)?.f_all()?.f_int64_value(&[])? != 0;
        ensure!(
            is_binary,
            "{}: `target` has values other than 0 and 1; divide masks of 0 and 255 by 255",
            args.target.display()
        );
    }
    let LossOutput { loss, terms } = mix.forward_weighted(&logits, &target, weights.as_ref())?;
    let value = loss.f_double_value(&[])?;
    if let Some(path) = &args.grad {
        loss.f_backward()?;
        write_tensors(path, &[("grad".to_owned(), logits.f_grad()?)])?;
    }
    let mut values = serde_json::Map::new();
    for (kind, term) in terms {
        values.insert(kind.name.to_owned(), term.f_to_kind(Kind::Double)?.f_double_value(&[])?.into());
    }
    ui.line(format_args!("{value:.9}"));
    ui.json(&serde_json::json!({ "value": value, "parts": values, "grad": args.grad }))?;
    Ok(Status::Done)
}

fn tensor(path: &Path, name: &str) -> anyhow::Result<Tensor> {
    let mut tensors = read_tensors(path)?;
    tensors.remove(name).with_context(|| format!("{} has no tensor `{name}`", path.display()))
}
