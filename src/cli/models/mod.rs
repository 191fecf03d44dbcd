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
  carpus models forward --arch fpn --encoder efficientnet-b0 \\
      --weights W.safetensors --input x.safetensors --output y.safetensors
  carpus models convert resnet34.safetensors --from torchvision \\
      --arch fpn --encoder resnet34 --out W.safetensors
  carpus models export --weights runs/NAME/best.safetensors --out m.pt
  carpus models bench --arch fpn --encoder efficientnet-b0")]
pub struct ModelsArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand, Debug)]
enum What {
    /// Every architecture and encoder with its size and cost
    #[command(after_help = "Example:\n  carpus models list")]
    List,
    /// The modules of a model with the shapes of their weights
    #[command(after_help = "\
Example:
  carpus models show fpn/efficientnet-b0
  carpus models show nnunet --set nnunet.stages=6")]
    Show {
        /// ARCHITECTURE/ENCODER, or one of both (the other is that of the defaults)
        name: String,
        /// Any key of a training configuration's [model]: output-stride=16, nnunet.stages=6, encoder-scale={width=0.5}
        #[arg(long = "set", value_name = "KEY=VALUE")]
        sets: Vec<String>,
    },
    Forward(forward::ModelsForwardArgs),
    Convert(convert::ModelsConvertArgs),
    Export(export::ModelsExportArgs),
    Bench(bench::ModelsBenchArgs),
}

/// Does one of them.
pub fn run(args: ModelsArgs, ui: &Ui) -> anyhow::Result<Status> {
    match args.what {
        What::List => list::run(ui),
        What::Show { name, sets } => show::run(with_settings(named(&name)?, &sets)?, ui),
        What::Forward(args) => forward::run(&args, ui),
        What::Convert(args) => convert::run(&args, ui),
        What::Export(args) => export::run(&args, ui),
        What::Bench(args) => bench::run(&args, ui),
    }
}

// The flags that say which model. (A documentation comment would become the help text of every command that has them.)
#[derive(clap::Args, Debug)]
struct Choice {
    /// Decoder and head; not needed for a run's weights (best.safetensors), which say their model themselves
    #[arg(long)]
    arch: Option<Architecture>,
    /// Backbone; the architecture's own default where it is not given
    #[arg(long, requires = "arch")]
    encoder: Option<EncoderKind>,
    /// Channels of the input
    #[arg(long, default_value_t = 3, requires = "arch")]
    in_channels: i64,
    /// Stages of the encoder in use; the architecture's own default where it is not given
    #[arg(long, requires = "arch")]
    depth: Option<i64>,
    /// What stands for batch norm: batch, frozen-batch, group:N or layer
    #[arg(long, default_value = "batch", requires = "arch")]
    norm: Norm,
    /// Attention of a U-Net's blocks
    #[arg(long, requires = "arch")]
    attention: Option<Attention>,
    /// Channels of swin-unetr at full size: 24, 36 or 48
    #[arg(long, requires = "arch")]
    feature_size: Option<i64>,
    /// A second head for training
    #[arg(long, requires = "arch")]
    auxiliary: bool,
    /// Any other key of a training configuration's [model]: output-stride=16, nnunet.stages=6, encoder-scale={width=0.5}
    #[arg(long = "set", value_name = "KEY=VALUE", requires = "arch")]
    sets: Vec<String>,
}

impl Choice {
    /// The configuration, with everything that draws random numbers in training off.
    fn config(&self, classes: i64) -> anyhow::Result<ModelConfig> {
        let architecture = self.arch.context("name the model by --arch (`carpus models list` has them)")?;
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
            ..without_chance(ModelConfig::default())
        };
        with_settings(config, &self.sets)
    }

    /// The configuration for the weights in `path`, which say the number of classes: as chosen, or as a run's weights say
    /// it themselves, again without chance; with what those say besides.
    fn config_of(
        &self,
        tensors: &BTreeMap<String, Tensor>,
        path: &Path,
    ) -> anyhow::Result<(ModelConfig, Option<WeightsInfo>)> {
        if self.arch.is_none() {
            let info = weights_info(path).context("without --arch the weights are to be a run's")?;
            return Ok((without_chance(info.model.clone()), Some(info)));
        }
        let config = self.config(1)?;
        let classes = classes_of(&config, tensors)?
            .with_context(|| format!("{} holds no head of {}: no classes", path.display(), config.describe()))?;
        Ok((ModelConfig { classes, ..config }, None))
    }

    /// The model of the weights in `path` on `device`, and what a run's weights say besides.
    fn open(&self, path: &Path, device: Device) -> anyhow::Result<(Model, Option<WeightsInfo>)> {
        let tensors = read_tensors(path)?;
        let (config, info) = self.config_of(&tensors, path)?;
        Ok((Model::from_tensors(&config, tensors, path, device)?, info))
    }
}

/// `config` with everything off that draws random numbers in training.
fn without_chance(config: ModelConfig) -> ModelConfig {
    ModelConfig { dropout: Some(0.0), drop_path: Some(0.0), head_dropout: None, ..config }
}

/// `config` with settings of the form KEY=VALUE laid over it.
fn with_settings(config: ModelConfig, sets: &[String]) -> anyhow::Result<ModelConfig> {
    if sets.is_empty() {
        return Ok(config);
    }
    let mut table = Table::try_from(&config)?;
    if config.depth.is_none() {
        // Another architecture may have another default.
        table.remove("depth");
    }
    let known = layered::KnownKeys::of::<ModelConfig>();
    for text in sets {
        // The table has its keys in their first spelling; a file may have others.
        let text =
            text.split_once('=').map_or(text.clone(), |(key, value)| format!("{}={value}", key.replace('_', "-")));
        layered::set(&mut table, &text, &[], &known)?;
    }
    Ok(layered::typed(Path::new("--set"), table)?)
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
