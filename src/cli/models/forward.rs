use std::path::PathBuf;

use anyhow::{Context, bail};
use tch::{Kind, Tensor};

use super::Choice;
use crate::artefact::kind;
use crate::cli::{Status, Ui};
use crate::device::{self, DeviceKind};
use crate::models::{Input, Model, ModelError, read_tensors, write_tensors};

/// Run a model on a tensor of images: logits and gradients
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Example:
  carpus models forward --weights runs/NAME/best.safetensors \\
      --input x.safetensors --output y.safetensors
  carpus models forward --arch fpn --encoder efficientnet-b0 \\
      --weights W.safetensors --input x.safetensors --output y.safetensors \\
      --train-mode --grad g.safetensors

The gradient is that of the mean square of the logits. The weights of a run (best.safetensors) \
include the model's configuration; for other weights, give --arch, --encoder and --set. A model \
conditioned on metadata reads the tensor `metadata`, [batch, 4]: age in years, sex (0 female, \
1 male), height in cm, weight in kg; NaN for unknown values.")]
pub struct ModelsForwardArgs {
    #[command(flatten)]
    model: Choice,
    /// Weights of a run, or a state dict with carpus's names; sets the number of classes
    #[arg(long, value_name = "FILE")]
    weights: PathBuf,
    /// File with the tensor `x`, [batch, channels, height, width]
    #[arg(long, value_name = "FILE")]
    input: PathBuf,
    /// File to write: the logits, as tensor `y`
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
    /// Training mode: batch norm uses batch statistics; dropout and stochastic depth stay off
    #[arg(long)]
    train_mode: bool,
    /// File to write: gradients of the mean square of the logits with respect to `x` and all weights
    #[arg(long, value_name = "FILE")]
    grad: Option<PathBuf>,
    /// Device: auto, cpu or cuda:N
    #[arg(long, default_value = "cpu")]
    device: DeviceKind,
}

/// Runs the model and writes the logits.
pub fn run(args: &ModelsForwardArgs, ui: &Ui) -> anyhow::Result<Status> {
    let outputs = ui.outputs().inputs([&args.weights, &args.input]);
    std::iter::once(&args.output).chain(&args.grad).try_for_each(|path| outputs.file(path, &kind::SAFETENSORS))?;
    let device = device::select(args.device)?;
    let (model, _) = args.model.open(&args.weights, device)?;
    let mut input = read_tensors(&args.input)?;
    let x = input.remove("x").with_context(|| format!("{} has no tensor `x`", args.input.display()))?;
    if !x.is_floating_point() {
        bail!(
            "{}: `x` has values of type {:?}; expected floats, normalised as in training",
            args.input.display(),
            x.kind()
        );
    }
    let metadata = input.remove("metadata");
    if metadata.is_some() && model.config().metadata.is_none() {
        bail!("{} has a tensor `metadata`, but {} takes no metadata", args.input.display(), model.config().describe());
    }
    let x = x.f_to_device(device)?.f_to_kind(Kind::Float)?.f_set_requires_grad(args.grad.is_some())?;
    let input = Input { images: &x, metadata: metadata.as_ref() };
    let found = match &args.grad {
        None => tch::no_grad(|| logits(&model, &input, args.train_mode))?,
        Some(path) => {
            let logits = logits(&model, &input, args.train_mode)?;
            logits.f_square()?.f_mean(Kind::Float)?.f_backward()?;
            let mut gradients = vec![("x".to_owned(), x.f_grad()?)];
            for (name, tensor) in model.named_parameters() {
                // Weights that do not affect the output have no gradient.
                let gradient = tensor.f_grad()?;
                if gradient.defined() {
                    gradients.push((name, gradient));
                }
            }
            write_tensors(path, &gradients)?;
            logits
        }
    };
    let size = found.size();
    write_tensors(&args.output, &[("y".to_owned(), found)])?;
    ui.line(format_args!("y {size:?} -> {}", args.output.display()));
    ui.json(&serde_json::json!({ "output": args.output, "shape": size, "gradients": args.grad }))?;
    Ok(Status::Done)
}

/// The logits of the classes, in which pairs of bones are folded.
fn logits(model: &Model, input: &Input, train: bool) -> Result<Tensor, ModelError> {
    model.folded(&model.forward(input, train)?.logits)
}
