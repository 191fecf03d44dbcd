use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, bail};
use tch::{Kind, Tensor};

use super::Choice;
use crate::artefact::kind;
use crate::bones;
use crate::cli::{Status, Ui};
use crate::models::names::{self, WeightsSource};
use crate::models::{ModelConfig, WeightsError, all_finite, classes_of, read_tensors, write_tensors};
use crate::train::{InputSettings, TrainConfig, WeightsInfo, write_weights};
use crate::wording::counted;

/// Convert weights from or to another library's parameter names
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Example:
  carpus models convert resnet34.safetensors --from torchvision \\
      --arch fpn --encoder resnet34 --out W.safetensors
  carpus models convert runs/NAME/best.safetensors --to smp \\
      --out smp.safetensors

From timm and torchvision classifiers, the encoder's weights are taken; --to timm or torchvision \
writes only the encoder's weights. --in-channels 1 sums the first layer's three input channels into \
one, as segmentation_models_pytorch does. --norm group:N converts batch norm to group norm and keeps \
the affine weights. Convert a .pt file with assets/pt_to_safetensors.py first.")]
pub struct ModelsConvertArgs {
    /// State dict to read (safetensors)
    input: PathBuf,
    /// Library that the names in the file come from: smp, timm, torchvision or transformers
    #[arg(long, value_name = "LIBRARY", required_unless_present = "to", conflicts_with = "to")]
    from: Option<WeightsSource>,
    /// Library whose names to write; the input file must have carpus's names
    #[arg(long, value_name = "LIBRARY")]
    to: Option<WeightsSource>,
    #[command(flatten)]
    model: Choice,
    /// Write a file for `carpus predict`: width and height in px of the images that the model was trained on
    #[arg(long, value_name = "PX", requires = "from")]
    size: Option<u32>,
    /// With --size: mean to subtract from grey levels of 0 to 1, one value or one per channel
    #[arg(long, value_name = "M", value_delimiter = ',', requires = "size", allow_negative_numbers = true)]
    mean: Vec<f64>,
    /// With --size: standard deviation to divide by, one value or one per channel
    #[arg(long, value_name = "D", value_delimiter = ',', requires = "size")]
    sd: Vec<f64>,
    /// File to write
    #[arg(short, long, value_name = "FILE")]
    out: PathBuf,
}

/// Converts the weights and writes the file.
pub fn run(args: &ModelsConvertArgs, ui: &Ui) -> anyhow::Result<Status> {
    ui.outputs().input(&args.input).file(&args.out, &kind::SAFETENSORS)?;
    let mut tensors = read_tensors(&args.input)?;
    for (name, tensor) in &mut tensors {
        if tensor.is_floating_point() && !all_finite(tensor)? {
            return Err(WeightsError::NotFinite { path: args.input.clone(), name: name.clone() }.into());
        }
        // `carpus predict` uses single precision.
        if args.size.is_some() && matches!(tensor.kind(), Kind::Half | Kind::BFloat16) {
            *tensor = tensor.to_kind(Kind::Float);
        }
    }
    // The file sets the number of classes.
    let config = match (args.model.arch, args.to) {
        (None, Some(_)) => args.model.config_of(&tensors, &args.input)?.0,
        _ => args.model.config(1)?,
    };
    let renamed = match (args.from, args.to) {
        (Some(source), _) => names::to_carpus(source, &config, tensors),
        (None, Some(source)) => names::from_carpus(source, &config, tensors),
        (None, None) => unreachable!("clap requires --from or --to"),
    };
    let names::Renamed { tensors, left_out, first_layer_summed } =
        renamed.map_err(|e| anyhow::Error::new(e).context(args.input.display().to_string()))?;
    let info = args.size.map(|size| args.info(size, &config, &tensors)).transpose()?;
    let tensors: Vec<_> = tensors.into_iter().collect();
    match &info {
        Some(info) => write_weights(&args.out, &tensors, info)?,
        None => write_tensors(&args.out, &tensors)?,
    }
    ui.line(format_args!("{} in {}", counted(tensors.len(), "tensor", "tensors"), args.out.display()));
    if let Some(info) = &info {
        let InputSettings { mean, sd } = &info.input;
        ui.line(format_args!(
            "for `carpus predict --checkpoint`: images of {0} x {0} px, normalised as (grey / 255 - {mean:?}) / {sd:?}, classes \
             in the order of `carpus list bones`",
            info.size
        ));
    }
    if !left_out.is_empty() {
        ui.line(format_args!("left out, because there is no such parameter: {}", left_out.join(", ")));
    }
    if first_layer_summed {
        ui.line(format_args!("the first layer's three input channels were summed into one"));
    }
    ui.json(&serde_json::json!({
        "output": args.out,
        "tensors": tensors.len(),
        "left_out": left_out,
        "first_layer_summed": first_layer_summed,
        "predicts": info,
    }))?;
    Ok(Status::Done)
}

impl ModelsConvertArgs {
    /// The information that `carpus predict` needs about the weights `tensors` (with carpus's names) of a model of
    /// `config`.
    fn info(&self, size: u32, config: &ModelConfig, tensors: &BTreeMap<String, Tensor>) -> anyhow::Result<WeightsInfo> {
        let classes = classes_of(config, tensors)?
            .with_context(|| format!("{} does not hold a complete model, which --size needs", self.input.display()))?;
        if classes != bones::COUNT as i64 {
            bail!(
                "{} has {classes} classes; `carpus predict` needs the 29 of `carpus list bones`",
                self.input.display()
            );
        }
        let or = |values: &[f64], default: f64| if values.is_empty() { vec![default] } else { values.to_vec() };
        let input = InputSettings { mean: or(&self.mean, 0.0), sd: or(&self.sd, 1.0) };
        let model = ModelConfig { classes, ..config.clone() };
        // The same checks as before training.
        TrainConfig { model: model.clone(), size, input: input.clone(), ..TrainConfig::default() }
            .model_violations()
            .result()
            .context("invalid options")?;
        Ok(WeightsInfo {
            model,
            size,
            input,
            classes: bones::NAMES.map(str::to_owned).to_vec(),
            top_level: None,
            epoch: None,
            dice: None,
            averaged: false,
        })
    }
}
