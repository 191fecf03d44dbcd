use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use tch::{Kind, Tensor};

use super::{Choice, without_dropout};
use crate::artefact::kind;
use crate::bones;
use crate::cli::{Status, Ui};
use crate::geometry::Size;
use crate::models::names::{self, WeightsSource, mmseg};
use crate::models::{ModelConfig, WeightsError, all_finite, classes_of, read_metadata, read_tensors, write_tensors};
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
  carpus models convert mmseg.safetensors --from mmseg --classes 29 \\
      --out W.safetensors

From timm and torchvision classifiers, the encoder's weights are taken; --to timm or torchvision \
writes only the encoder's weights. --in-channels 1 sums the first layer's three input channels into \
one, as segmentation_models_pytorch does. --norm group:N converts batch norm to group norm and keeps \
the affine weights. --from mmseg finds the model itself: SegFormer, UPerNet with Swin or ConvNeXt, or \
OCRNet with HRNet. --classes replaces the last layers by new ones if the file has another number of \
classes; their random values are the same every time. Convert a .pt or .pth file with assets/pt_to_safetensors.py first.")]
pub struct ModelsConvertArgs {
    /// State dict to read (safetensors)
    input: PathBuf,
    /// Library that the names in the file come from: smp, timm, torchvision, transformers or mmseg
    #[arg(long, value_name = "LIBRARY", required_unless_present = "to", conflicts_with = "to")]
    from: Option<WeightsSource>,
    /// Library whose names to write; the input file must have carpus's names
    #[arg(long, value_name = "LIBRARY")]
    to: Option<WeightsSource>,
    #[command(flatten)]
    model: Choice,
    /// Number of classes of the model to write [default: that of the file]
    #[arg(long, value_name = "N", requires = "from", value_parser = clap::value_parser!(i64).range(1..))]
    classes: Option<i64>,
    /// Write a file for `carpus predict`: size in px of the images that the model was trained on, N for a square or
    /// WIDTHxHEIGHT
    #[arg(long, value_name = "SIZE", requires = "from")]
    size: Option<Size>,
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
    let config = match (args.model.arch, args.from, args.to) {
        (None, _, Some(_)) => args.model.config_of(&tensors, &args.input)?.0,
        (None, Some(WeightsSource::Mmseg), _) => {
            without_dropout(mmseg::detect(&tensors).with_context(|| args.input.display().to_string())?)
        }
        _ => args.model.config(1)?,
    };
    if args.from == Some(WeightsSource::Mmseg) {
        check_settings(&args.input, &config, ui)?;
    }
    // New layers get the same values every time.
    tch::manual_seed(0);
    let renamed = match (args.from, args.to) {
        (Some(source), _) => names::to_carpus(source, &config, tensors),
        (None, Some(source)) => names::from_carpus(source, &config, tensors),
        (None, None) => unreachable!("clap requires --from or --to"),
    };
    let names::Renamed { mut tensors, left_out, first_layer_summed, mut fresh } =
        renamed.map_err(|e| anyhow::Error::new(e).context(args.input.display().to_string()))?;
    if let Some(classes) = args.classes {
        fresh.extend(names::replace_classes(&config, &mut tensors, classes)?);
    }
    fresh.sort();
    fresh.dedup();
    let classes = classes_of(&config, &tensors)?;
    if args.classes.is_some() && classes.is_none() {
        bail!("{} has no head of {}; remove --classes", args.input.display(), config.describe());
    }
    let info = args.size.map(|size| args.info(size, &config, &tensors)).transpose()?;
    let tensors: Vec<_> = tensors.into_iter().collect();
    match &info {
        Some(info) => write_weights(&args.out, &tensors, info)?,
        None => write_tensors(&args.out, &tensors)?,
    }
    let tensors = tensors.len();
    args.print(&Conversion { config, tensors, classes, left_out, fresh, first_layer_summed, info }, ui)?;
    Ok(Status::Done)
}

/// What was written.
struct Conversion {
    config: ModelConfig,
    /// Number of tensors.
    tensors: usize,
    /// `None` for an encoder alone.
    classes: Option<i64>,
    left_out: Vec<String>,
    fresh: Vec<String>,
    first_layer_summed: bool,
    /// With `--size`.
    info: Option<WeightsInfo>,
}

/// The entry in which assets/pt_to_safetensors.py keeps the text of a checkpoint's mmsegmentation configuration.
const MMSEG_CONFIGURATION: &str = "mmseg_cfg";

/// Checks the settings of the checkpoint `input` that no weight shows, if it has its configuration.
fn check_settings(input: &Path, config: &ModelConfig, ui: &Ui) -> anyhow::Result<()> {
    match read_metadata(input)?.get(MMSEG_CONFIGURATION) {
        Some(text) => mmseg::check_settings(config, text).with_context(|| input.display().to_string()),
        None => {
            ui.line(format_args!(
                "the file does not contain the configuration of mmsegmentation: align_corners = False, interpolate_mode = \
                 bilinear, pool_scales = 1, 2, 3, 6 and the heads of attention of the published models are assumed"
            ));
            Ok(())
        }
    }
}

impl ModelsConvertArgs {
    fn print(&self, done: &Conversion, ui: &Ui) -> anyhow::Result<()> {
        let Conversion { config, tensors, classes, left_out, fresh, first_layer_summed, info } = done;
        ui.line(format_args!("{} in {}", counted(*tensors, "tensor", "tensors"), self.out.display()));
        if self.from == Some(WeightsSource::Mmseg) {
            let auxiliary = if config.auxiliary { " --auxiliary" } else { "" };
            let encoder = config.backbone().map_or(String::new(), |encoder| format!(" --encoder {encoder}"));
            ui.line(format_args!("the model is --arch {}{encoder}{auxiliary}", config.architecture));
        }
        if let Some(info) = info {
            let InputSettings { mean, sd, .. } = &info.input;
            ui.line(format_args!(
                "for `carpus predict --checkpoint`: images of {} x {} px, normalised as (grey / 255 - {mean:?}) / {sd:?}, \
                 classes in the order of `carpus list bones`",
                info.size.width, info.size.height
            ));
        }
        if !left_out.is_empty() {
            ui.line(format_args!("left out, because there is no such parameter: {}", left_out.join(", ")));
        }
        if !fresh.is_empty() {
            ui.line(format_args!("new, with random values: {}", fresh.join(", ")));
        }
        if let Some(classes) = classes.filter(|classes| self.from.is_some() && *classes != bones::COUNT as i64) {
            ui.line(format_args!(
                "{}, not the 29 of `carpus list bones`: --classes 29 gives the model new last layers to train",
                counted(classes as usize, "class", "classes")
            ));
        }
        if *first_layer_summed {
            ui.line(format_args!("the first layer's three input channels were summed into one"));
        }
        ui.json(&serde_json::json!({
            "output": self.out,
            "architecture": config.architecture,
            "encoder": config.backbone(),
            "auxiliary": config.auxiliary,
            "classes": classes,
            "tensors": tensors,
            "left_out": left_out,
            "new": fresh,
            "first_layer_summed": first_layer_summed,
            "predicts": info,
        }))
    }

    /// The information that `carpus predict` needs about the weights `tensors` (with carpus's names) of a model of
    /// `config`.
    fn info(
        &self,
        size: Size,
        config: &ModelConfig,
        tensors: &BTreeMap<String, Tensor>,
    ) -> anyhow::Result<WeightsInfo> {
        let classes = classes_of(config, tensors)?
            .with_context(|| format!("{} does not hold a complete model, which --size needs", self.input.display()))?;
        if classes != bones::COUNT as i64 {
            bail!(
                "{} has {classes} classes; `carpus predict` needs the 29 of `carpus list bones`",
                self.input.display()
            );
        }
        let or = |values: &[f64], default: f64| if values.is_empty() { vec![default] } else { values.to_vec() };
        let input = InputSettings::normalised(or(&self.mean, 0.0), or(&self.sd, 1.0));
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
            specialist: None,
            classes: bones::NAMES.map(str::to_owned).to_vec(),
            top_level: None,
            epoch: None,
            dice: None,
            averaged: false,
        })
    }
}
