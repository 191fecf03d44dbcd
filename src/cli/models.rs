use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Subcommand;
use serde::Serialize;
use tch::{Kind, Tensor};

use super::{Status, Ui};
use crate::device::{self, DeviceKind};
use crate::models::{
    Architecture, Attention, EncoderKind, Model, ModelConfig, Norm, count_operations, read_tensors, write_tensors,
};

/// List models, show their parts, run one on a tensor
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Example:
  carpus models list
  carpus models show fpn/efficientnet-b0
  carpus models forward --arch fpn --encoder efficientnet-b0 --weights W.safetensors \\
      --input x.safetensors --output y.safetensors --train-mode --grad g.safetensors")]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand, Debug)]
enum What {
    /// Every architecture and encoder with its size and cost
    List,
    /// The modules of a model with the shapes of their weights
    Show {
        /// ARCHITECTURE/ENCODER, or one of both (the other is that of the defaults)
        name: String,
    },
    /// Logits of a tensor: hold a model against its reference without writing code
    Forward(Forward),
}

#[derive(clap::Args, Debug)]
struct Forward {
    /// Decoder and head
    #[arg(long)]
    arch: Architecture,
    /// Backbone; the architecture's own default where it is not given
    #[arg(long)]
    encoder: Option<EncoderKind>,
    /// Channels of the input
    #[arg(long, default_value_t = 3)]
    in_channels: i64,
    /// Stages of the encoder in use
    #[arg(long, default_value_t = 5)]
    depth: i64,
    /// What stands for batch norm: batch, frozen-batch, group:N or layer
    #[arg(long, default_value = "batch")]
    norm: Norm,
    /// Channels of swin-unetr at full size: 24, 36 or 48
    #[arg(long)]
    feature_size: Option<i64>,
    /// Attention of a U-Net's blocks
    #[arg(long)]
    attention: Option<Attention>,
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

/// Does one of the three.
pub fn run(args: Args, ui: &Ui) -> anyhow::Result<Status> {
    match args.what {
        What::List => list(ui),
        What::Show { name } => show(&name, ui),
        What::Forward(forward) => run_forward(&forward, ui),
    }
}

/// A line of the list.
#[derive(Serialize)]
struct Listed {
    name: &'static str,
    /// `architecture` or `encoder`.
    part: &'static str,
    reference: &'static str,
    /// Of the whole model with the default other half.
    parameters: usize,
    /// Multiplications and additions of convolutions and linear layers for a 512 x 512 image, in thousand millions.
    gflops_at_512: f64,
    /// Of the deepest features.
    output_stride: i64,
    /// Channels of the encoder's features at strides 1, 2, 4, …
    channels: Vec<i64>,
}

/// Convolutions cost in proportion to the pixels, so a smaller image measures them.
const PROBE: i64 = 128;

fn measured(
    name: &'static str,
    part: &'static str,
    reference: &'static str,
    config: ModelConfig,
) -> anyhow::Result<Listed> {
    let model = Model::new(&config, tch::Device::Cpu)?;
    let x = Tensor::f_zeros([1, config.in_channels, PROBE, PROBE], (Kind::Float, tch::Device::Cpu))?;
    let (output, operations) = count_operations(|| tch::no_grad(|| model.forward_t(&x, false)));
    output?;
    Ok(Listed {
        name,
        part,
        reference,
        parameters: model.parameters().count(),
        gflops_at_512: 2.0 * operations as f64 * (512 / PROBE).pow(2) as f64 / 1e9,
        output_stride: config.architecture.output_stride(),
        channels: model.encoder_channels().to_vec(),
    })
}

fn list(ui: &Ui) -> anyhow::Result<Status> {
    device::select(DeviceKind::Cpu)?;
    let mut rows = Vec::new();
    for architecture in Architecture::ALL.iter().copied() {
        let config = ModelConfig { architecture, ..ModelConfig::default() };
        rows.push(measured(architecture.name(), "architecture", architecture.reference(), config)?);
    }
    for encoder in EncoderKind::ALL.iter().copied() {
        let config = ModelConfig { encoder: Some(encoder), ..ModelConfig::default() };
        rows.push(measured(encoder.name(), "encoder", encoder.reference(), config)?);
    }
    let default = ModelConfig::default();
    for part in ["architecture", "encoder"] {
        let other = match part {
            "encoder" => default.architecture.name(),
            _ => default.backbone().map_or("its own encoder", EncoderKind::name),
        };
        ui.line(format_args!("{part}s (parameters and GFLOPs at 512 x 512 of the whole model with {other})"));
        for row in rows.iter().filter(|r| r.part == part) {
            ui.line(format_args!(
                "  {:<22} {:>6.1} M {:>7.1} GFLOPs  stride {:>2}  {:?}  {}",
                row.name,
                row.parameters as f64 / 1e6,
                row.gflops_at_512,
                row.output_stride,
                row.channels,
                row.reference
            ));
        }
    }
    ui.json(&rows)?;
    Ok(Status::Done)
}

/// `fpn/efficientnet-b0`, `fpn` or `efficientnet-b0`.
fn named(name: &str) -> anyhow::Result<ModelConfig> {
    let default = ModelConfig::default();
    if let Some((architecture, encoder)) = name.split_once('/') {
        return Ok(ModelConfig { architecture: architecture.parse()?, encoder: Some(encoder.parse()?), ..default });
    }
    if let Some(architecture) = Architecture::from_name(name) {
        return Ok(ModelConfig { architecture, ..default });
    }
    if let Some(encoder) = EncoderKind::from_name(name) {
        return Ok(ModelConfig { encoder: Some(encoder), ..default });
    }
    bail!("there is no model {name:?}: name ARCHITECTURE/ENCODER as `carpus models list` lists them")
}

/// A module: what it holds itself and its parts, in the order of the state dict.
#[derive(Default)]
struct Module {
    tensors: Vec<(String, Vec<i64>)>,
    parts: Vec<(String, Module)>,
    weights: usize,
}

impl Module {
    fn add(&mut self, name: &str, shape: Vec<i64>, weights: usize) {
        self.weights += weights;
        match name.split_once('.') {
            None => self.tensors.push((name.to_owned(), shape)),
            Some((part, rest)) => {
                let index = self.parts.iter().position(|(n, _)| n == part).unwrap_or_else(|| {
                    self.parts.push((part.to_owned(), Module::default()));
                    self.parts.len() - 1
                });
                self.parts[index].1.add(rest, shape, weights);
            }
        }
    }

    fn print(&self, indent: usize, ui: &Ui) {
        for (name, shape) in &self.tensors {
            ui.line(format_args!("{:indent$}{name} {shape:?}", ""));
        }
        for (name, part) in &self.parts {
            ui.line(format_args!("{:indent$}{name}  ({} weights)", "", part.weights));
            part.print(indent + 2, ui);
        }
    }
}

fn show(name: &str, ui: &Ui) -> anyhow::Result<Status> {
    device::select(DeviceKind::Cpu)?;
    let config = named(name)?;
    let model = Model::new(&config, tch::Device::Cpu)?;
    let mut root = Module::default();
    let parameters: BTreeMap<String, usize> =
        model.named_parameters().into_iter().map(|(name, tensor)| (name, tensor.numel())).collect();
    let state = model.state();
    for (name, tensor) in &state {
        root.add(name, tensor.size(), parameters.get(name).copied().unwrap_or(0));
    }
    ui.line(format_args!("{}: {} weights", config.describe(), root.weights));
    root.print(2, ui);
    let shapes: serde_json::Map<String, serde_json::Value> =
        state.into_iter().map(|(name, tensor)| (name, tensor.size().into())).collect();
    ui.json(&serde_json::json!({ "config": config, "parameters": root.weights, "state": shapes }))?;
    Ok(Status::Done)
}

fn run_forward(args: &Forward, ui: &Ui) -> anyhow::Result<Status> {
    let device = device::select(args.device)?;
    let (classes, auxiliary) = heads_of(args.arch, &args.weights)?;
    let config = ModelConfig {
        architecture: args.arch,
        encoder: args.encoder,
        in_channels: args.in_channels,
        classes,
        depth: args.depth,
        norm: args.norm,
        attention: args.attention,
        auxiliary,
        dropout: Some(0.0),
        drop_path: Some(0.0),
        feature_size: args.feature_size,
        ..ModelConfig::default()
    };
    let mut model = Model::new(&config, device)?;
    model.load(&args.weights)?;
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

/// Number of classes of a checkpoint, the rows of its head, and whether it has an auxiliary head.
fn heads_of(architecture: Architecture, path: &Path) -> anyhow::Result<(i64, bool)> {
    let head = architecture.head_weight();
    let tensors = read_tensors(path)?;
    let weight = tensors.get(head).with_context(|| format!("{} has no tensor {head}", path.display()))?;
    let classes =
        weight.size().first().copied().with_context(|| format!("{head} in {} has no rows", path.display()))?;
    Ok((classes, tensors.keys().any(|name| name.starts_with("aux_classifier."))))
}
