use std::path::PathBuf;

use anyhow::{Context, bail};
use tch::Kind;

use super::Choice;
use crate::artefact::kind;
use crate::cli::{Status, Ui};
use crate::device::{self, DeviceKind};
use crate::models::{Input, read_tensors, write_tensors};

/// Logits of a tensor of images by a model's weights, and their gradients
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Example:
  carpus models forward --weights runs/NAME/best.safetensors \\
      --input x.safetensors --output y.safetensors
  carpus models forward --arch fpn --encoder efficientnet-b0 \\
      --weights W.safetensors --input x.safetensors --output y.safetensors \\
      --train-mode --grad g.safetensors

The gradient is that of the logits' mean square. Weights of a run (best.safetensors) say their model themselves; name
it by --arch, --encoder and --set for others. A model conditioned on metadata takes the tensor `metadata`,
[batch, 4]: age in years, sex (0 female, 1 male), height in cm, weight in kg, NaN where one is not known.")]
pub struct ModelsForwardArgs {
    #[command(flatten)]
    model: Choice,
    /// A run's weights, or a state dict by the reference's names; it also says the number of classes
    #[arg(long)]
    weights: PathBuf,
    /// File with the tensor `x`, [batch, channels, height, width]
    #[arg(long)]
    input: PathBuf,
    /// File to write with the logits `y`
    #[arg(long)]
    output: PathBuf,
    /// Statistics of the batch instead of the stored ones; dropout and stochastic depth stay off
    #[arg(long)]
    train_mode: bool,
    /// File to write with the gradient of the logits' mean square with respect to `x` and every weight by name
    #[arg(long)]
    grad: Option<PathBuf>,
    /// Where to compute: auto, cpu, cuda:N
    #[arg(long, default_value = "cpu")]
    device: DeviceKind,
}

pub fn run(args: &ModelsForwardArgs, ui: &Ui) -> anyhow::Result<Status> {
    let outputs = ui.outputs().inputs([&args.weights, &args.input]);
    std::iter::once(&args.output).chain(&args.grad).try_for_each(|path| outputs.file(path, &kind::SAFETENSORS))?;
    let device = device::select(args.device)?;
    let (model, _) = args.model.open(&args.weights, device)?;
    let mut input = read_tensors(&args.input)?;
    let x = input.remove("x").with_context(|| format!("{} has no tensor `x`", args.input.display()))?;
    if !x.is_floating_point() {
        bail!("{}: `x` is of {:?}; expected floats, normalised as in training", args.input.display(), x.kind());
    }
    let metadata = input.remove("metadata");
    if metadata.is_some() && model.config().metadata.is_none() {
        bail!("{} has a tensor `metadata`, but {} takes none", args.input.display(), model.config().describe());
    }
    let x = x.f_to_device(device)?.f_to_kind(Kind::Float)?.f_set_requires_grad(args.grad.is_some())?;
    let input = Input { images: &x, metadata: metadata.as_ref() };
    let logits = match &args.grad {
        None => tch::no_grad(|| model.forward(&input, args.train_mode))?.logits,
        Some(path) => {
            let logits = model.forward(&input, args.train_mode)?.logits;
            logits.f_square()?.f_mean(Kind::Float)?.f_backward()?;
            let mut gradients = vec![("x".to_owned(), x.f_grad()?)];
            for (name, tensor) in model.named_parameters() {
                // Weights that no output depends on have none.
                let gradient = tensor.f_grad()?;
                if gradient.defined() {
                    gradients.push((name, gradient));
                }
            }
            write_tensors(path, &gradients)?;
            logits
        }
    };
    let size = logits.size();
    write_tensors(&args.output, &[("y".to_owned(), logits)])?;
    ui.line(format_args!("y {size:?} in {}", args.output.display()));
    ui.json(&serde_json::json!({ "output": args.output, "shape": size, "gradients": args.grad }))?;
    Ok(Status::Done)
}
