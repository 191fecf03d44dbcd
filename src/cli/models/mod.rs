use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, bail};
use clap::Subcommand;
use tch::{Device, Tensor};
use toml::Table;

use super::{Status, Ui};
use crate::config::layered;
use crate::models::{Architecture, Attention, EncoderKind, Model, ModelConfig, Norm, classes_of, read_tensors};
use crate::train::{WeightsInfo, weights_info};

mod average;
mod bench;
mod convert;
mod export;
mod forward;
mod list;
mod show;

/// List, show, run, average, convert, export and time models
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Example:
  carpus models list
  carpus models show fpn/efficientnet-b0
  carpus models forward --arch fpn --encoder efficientnet-b0 \\
      --weights W.safetensors --input x.safetensors --output y.safetensors
  carpus models convert resnet34.safetensors --from torchvision \\
      --arch fpn --encoder resnet34 --out W.safetensors
  carpus models average runs/NAME --out mean.safetensors
  carpus models export --weights runs/NAME/best.safetensors --out m.pt
  carpus models bench --arch fpn --encoder efficientnet-b0")]
pub struct ModelsArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand, Debug)]
enum What {
    /// List all architectures and encoders with their size and cost
    #[command(after_help = "Example:\n  carpus models list")]
    List,
    /// Show the modules of a model with the shapes of their weights
    #[command(after_help = "\
Example:
  carpus models show fpn/efficientnet-b0
  carpus models show nnunet --set nnunet.stages=6")]
    Show {
        /// ARCHITECTURE/ENCODER, or only one of them (the other has its default)
        name: String,
        /// Set any key of [model] in a training configuration: output-stride=16, nnunet.stages=6,
        /// encoder-scale={width=0.5}
        #[arg(long = "set", value_name = "KEY=VALUE")]
        sets: Vec<String>,
    },
    Forward(forward::ModelsForwardArgs),
    Average(average::ModelsAverageArgs),
    Convert(convert::ModelsConvertArgs),
    Export(export::ModelsExportArgs),
    Bench(bench::ModelsBenchArgs),
}

/// Runs a subcommand.
pub fn run(args: ModelsArgs, ui: &Ui) -> anyhow::Result<Status> {
    match args.what {
        What::List => list::run(ui),
        What::Show { name, sets } => show::run(with_settings(named(&name)?, &sets)?, ui),
        What::Forward(args) => forward::run(&args, ui),
        What::Average(args) => average::run(&args, ui),
        What::Convert(args) => convert::run(&args, ui),
        What::Export(args) => export::run(&args, ui),
        What::Bench(args) => bench::run(&args, ui),
    }
}

// Options that choose a model. (A doc comment would become the help text of each command that has them.)
#[derive(clap::Args, Debug)]
struct Choice {
    /// Architecture: decoder and head; commands that read the best.safetensors of a run do not need it
    #[arg(long)]
    arch: Option<Architecture>,
    /// Encoder (backbone) [default: that of the architecture]
    #[arg(long, requires = "arch")]
    encoder: Option<EncoderKind>,
    /// Number of input channels
    #[arg(long, value_name = "N", default_value_t = 3, requires = "arch")]
    in_channels: i64,
    /// Number of encoder stages to use [default: that of the architecture]
    #[arg(long, value_name = "N", requires = "arch")]
    depth: Option<i64>,
    /// Normalisation layer: batch, frozen-batch, group:N or layer
    #[arg(long, default_value = "batch", requires = "arch")]
    norm: Norm,
    /// Attention in the decoder blocks of a U-Net
    #[arg(long, requires = "arch")]
    attention: Option<Attention>,
    /// Channels of swin-unetr at full resolution: 24, 36 or 48
    #[arg(long, value_name = "N", requires = "arch")]
    feature_size: Option<i64>,
    /// Add the auxiliary head that is used in training
    #[arg(long, requires = "arch")]
    auxiliary: bool,
    /// Set any other key of [model] in a training configuration: output-stride=16, nnunet.stages=6,
    /// encoder-scale={width=0.5}
    #[arg(long = "set", value_name = "KEY=VALUE", requires = "arch")]
    sets: Vec<String>,
}

impl Choice {
    /// The configuration, without dropout and stochastic depth.
    fn config(&self, classes: i64) -> anyhow::Result<ModelConfig> {
        let architecture = self.arch.context("give the model with --arch (see `carpus models list`)")?;
        let config = ModelConfig {
            architecture,
            encoder: self.encoder,
            in_channels: self.in_channels,
            classes,
            depth: self.depth,
            norm: self.norm,
            attention: self.attention,
            feature_size: self.feature_size,
            auxiliary: self.auxiliary,
            ..without_dropout(ModelConfig::default())
        };
        with_settings(config, &self.sets)
    }

    /// The configuration for the weights in `path`, without dropout and stochastic depth. It comes from the options,
    /// with the number of classes of the weights, or from the weights of a run, which are then returned with their
    /// other information.
    fn config_of(
        &self,
        tensors: &BTreeMap<String, Tensor>,
        path: &Path,
    ) -> anyhow::Result<(ModelConfig, Option<WeightsInfo>)> {
        if self.arch.is_none() {
            let info = weights_info(path).context("not the weights of a run; for other weights, give --arch")?;
            return Ok((without_dropout(info.model.clone()), Some(info)));
        }
        let config = self.config(1)?;
        let classes = classes_of(&config, tensors)?.with_context(|| {
            format!("{} has no head of {}, so the number of classes is unknown", path.display(), config.describe())
        })?;
        Ok((ModelConfig { classes, ..config }, None))
    }

    /// The model with the weights in `path` on `device`; for the weights of a run, also their other information.
    fn open(&self, path: &Path, device: Device) -> anyhow::Result<(Model, Option<WeightsInfo>)> {
        let tensors = read_tensors(path)?;
        let (config, info) = self.config_of(&tensors, path)?;
        Ok((Model::from_tensors(&config, tensors, path, device)?, info))
    }
}

/// `config` without dropout and stochastic depth.
fn without_dropout(config: ModelConfig) -> ModelConfig {
    ModelConfig { dropout: Some(0.0), drop_path: Some(0.0), head_dropout: None, ..config }
}

/// `config` with overrides of the form KEY=VALUE.
fn with_settings(config: ModelConfig, sets: &[String]) -> anyhow::Result<ModelConfig> {
    if sets.is_empty() {
        return Ok(config);
    }
    let mut table = Table::try_from(&config)?;
    if config.depth.is_none() {
        // The default depends on the architecture, which an override may change.
        table.remove("depth");
    }
    let known = layered::KnownKeys::of::<ModelConfig>();
    for text in sets {
        // The keys of the table are spelt with `-`; a file may also spell them with `_`.
        let text =
            text.split_once('=').map_or(text.clone(), |(key, value)| format!("{}={value}", key.replace('_', "-")));
        layered::set(&mut table, &text, &[], &known)?;
    }
    Ok(layered::typed(Path::new("--set"), table)?)
}

/// The configuration for `fpn/efficientnet-b0`, `fpn` or `efficientnet-b0`.
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
    bail!("unknown model {name:?}; expected ARCHITECTURE/ENCODER or one of them, as in `carpus models list`")
}
