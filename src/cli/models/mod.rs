use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, bail};
use clap::Subcommand;
use tch::Tensor;

use super::{Status, Ui};
use crate::models::{Architecture, Attention, EncoderKind, ModelConfig, Norm, classes_of};

mod bench;
mod convert;
mod export;
mod forward;
mod list;
mod show;

/// List models, show their parts, run one on a tensor, exchange weights with other libraries
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Example:
  carpus models list
  carpus models show fpn/efficientnet-b0
  carpus models forward --arch fpn --encoder efficientnet-b0 --weights W.safetensors \\
      --input x.safetensors --output y.safetensors --train-mode --grad g.safetensors
  carpus models convert resnet34.safetensors --from torchvision --arch fpn --encoder resnet34 --out W.safetensors
  carpus models export --run runs/NAME/best.safetensors --to torchscript --out m.pt")]
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
    Forward(forward::Args),
    Convert(convert::Args),
    Export(export::Args),
    Bench(bench::Args),
}

/// Does one of them.
pub fn run(args: Args, ui: &Ui) -> anyhow::Result<Status> {
    match args.what {
        What::List => list::run(ui),
        What::Show { name } => show::run(&name, ui),
        What::Forward(args) => forward::run(&args, ui),
        What::Convert(args) => convert::run(&args, ui),
        What::Export(args) => export::run(&args, ui),
        What::Bench(args) => bench::run(&args, ui),
    }
}

/// The flags that say which model.
#[derive(clap::Args, Debug)]
struct Choice {
    /// Decoder and head
    #[arg(long)]
    arch: Architecture,
    #[command(flatten)]
    details: Details,
}

/// The flags beside the architecture.
#[derive(clap::Args, Clone, Debug)]
struct Details {
    /// Backbone; the architecture's own default where it is not given
    #[arg(long, requires = "arch")]
    encoder: Option<EncoderKind>,
    /// Channels of the input
    #[arg(long, default_value_t = 3, requires = "arch")]
    in_channels: i64,
    /// Stages of the encoder in use
    #[arg(long, default_value_t = 5, requires = "arch")]
    depth: i64,
    /// What stands for batch norm: batch, frozen-batch, group:N or layer
    #[arg(long, default_value = "batch", requires = "arch")]
    norm: Norm,
    /// Attention of a U-Net's blocks
    #[arg(long, requires = "arch")]
    attention: Option<Attention>,
    /// Channels of swin-unetr at full size: 24, 36 or 48
    #[arg(long, requires = "arch")]
    feature_size: Option<i64>,
    /// The second head of torchvision-deeplabv3 and torchvision-fcn
    #[arg(long, requires = "arch")]
    auxiliary: bool,
}

impl Choice {
    /// The configuration, with everything that draws random numbers in training off.
    fn config(&self, classes: i64) -> ModelConfig {
        let Details { encoder, in_channels, depth, norm, attention, feature_size, auxiliary } = self.details;
        ModelConfig {
            architecture: self.arch,
            encoder,
            in_channels,
            classes,
            depth,
            norm,
            attention,
            feature_size,
            auxiliary,
            dropout: Some(0.0),
            drop_path: Some(0.0),
            ..ModelConfig::default()
        }
    }

    /// The number of classes of the weights that were read from `path`.
    fn classes_in(&self, tensors: &BTreeMap<String, Tensor>, path: &Path) -> anyhow::Result<i64> {
        let config = self.config(1);
        classes_of(&config, tensors)?
            .with_context(|| format!("{} holds no head of {}: no classes", path.display(), config.describe()))
    }
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
