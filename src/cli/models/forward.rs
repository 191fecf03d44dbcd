use std::path::PathBuf;

use anyhow::Context;
use tch::Kind;

use super::Choice;
use crate::cli::{Status, Ui};
use crate::device::{self, DeviceKind};
use crate::models::{Model, read_tensors, write_tensors};

#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(flatten)]
    model: Choice,
    /// State dict by the reference's names; it also says the number of classes
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

pub fn run(args: &Args, ui: &Ui) -> anyhow::Result<Status> {
    let device = device::select(args.device)?;
    let tensors = read_tensors(&args.weights)?;
    let config = args.model.config(args.model.classes_in(&tensors, &args.weights)?);
    let model = Model::holding(&config, tensors, &args.weights, device)?;
    let mut input = read_tensors(&args.input)?;
    let x = input.remove("x").with_context(|| format!("{} has no tensor `x`", args.input.display()))?;
    let x = x.f_to_device(device)?.f_to_kind(Kind::Float)?.f_set_requires_grad(args.grad.is_some())?;
    let logits = match &args.grad {
        None => tch::no_grad(|| model.forward_t(&x, args.train_mode))?.logits,
        Some(path) => {
            let logits = model.forward_t(&x, args.train_mode)?.logits;
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
