use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, bail, ensure};
use serde_json::json;

use super::data::open;
use super::{Status, Ui};
use crate::artefact::{kind, write_atomically};
use crate::experiment::parts;
use crate::figures::style::Rgb;
use crate::figures::style::okabe_ito::{BLUE, GREEN, ORANGE, PURPLE, SKY, VERMILION};
use crate::figures::{Chart, Figure, LineSeries, Lines, Marker};
use crate::train::{Rate, StageRates, TrainConfig, rates, steps_per_epoch};
use crate::wording::counted;

/// Maximum number of steps to list or draw.
const MAX_STEPS: u64 = 20_000_000;

/// Show the learning rate at every step, without training
#[derive(clap::Args, Debug)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_help = "\
Example:
  carpus schedule --config configs/train/demo.toml \\
      --steps-per-epoch 9 --csv > rates.csv
  carpus schedule --config configs/train/demo.toml \\
      --set schedule.warmup=0.1   # steps per epoch are computed from the data
  carpus schedule plot --config configs/train/demo.toml \\
      --steps-per-epoch 9 --out schedule.png

Columns of the CSV: stage, epoch (from 1), step (from 0), factor, lr, encoder_lr. \
Epochs and steps count over all stages."
)]
pub struct ScheduleArgs {
    #[command(flatten)]
    source: Option<Source>,
    /// Print CSV, one line per step
    #[arg(long)]
    csv: bool,
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(clap::Args, Debug)]
struct Source {
    /// Training configuration (TOML)
    #[arg(short, long, value_name = "FILE")]
    config: PathBuf,
    /// Override a setting: a dotted key and a TOML value
    #[arg(long = "set", value_name = "KEY=VALUE")]
    sets: Vec<String>,
    /// Optimiser steps per epoch [default: from the configured data, batch size and accumulation]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    steps_per_epoch: Option<u64>,
}

#[derive(clap::Subcommand, Debug)]
enum What {
    /// Draw the learning rate as a figure
    Plot(Plot),
}

#[derive(clap::Args, Debug)]
#[command(after_help = "\
Example:
  carpus schedule plot --config configs/train/demo.toml \\
      --steps-per-epoch 9 --out schedule.png")]
struct Plot {
    #[command(flatten)]
    source: Source,
    /// Picture to write: .png or .svg
    #[arg(short, long, value_name = "FILE")]
    out: PathBuf,
}

/// Prints or draws the schedule.
pub fn run(args: ScheduleArgs, ui: &Ui) -> anyhow::Result<Status> {
    match (args.what, args.source) {
        (Some(What::Plot(plot)), _) => draw(&plot, ui),
        (None, Some(source)) => print(&source, args.csv, ui),
        (None, None) => bail!("give a configuration with --config FILE"),
    }
}

fn print(source: &Source, csv: bool, ui: &Ui) -> anyhow::Result<Status> {
    let stages = source.stages(ui)?;
    let rates: Vec<Rate> = rates(&stages).collect();
    if csv {
        let mut writer = csv::Writer::from_writer(Vec::new());
        writer.write_record(["stage", "epoch", "step", "factor", "lr", "encoder_lr"])?;
        for r in &rates {
            let whole = [r.epoch.to_string(), r.step.to_string()];
            let exact = [r.factor, r.lr, r.encoder_lr].map(|v| format!("{v:e}"));
            let stage = stages[r.stage].name.clone();
            writer.write_record(std::iter::once(stage).chain(whole).chain(exact))?;
        }
        ui.output(String::from_utf8(writer.into_inner()?)?);
        return Ok(Status::Done);
    }
    for (i, stage) in stages.iter().enumerate() {
        let of: Vec<f64> = rates.iter().filter(|r| r.stage == i).map(|r| r.lr).collect();
        let in_words = |rate: f64| if rate == 0.0 { "0".to_owned() } else { format!("{rate:.1e}") };
        let (first, last) = (of.first().copied().unwrap_or(0.0), of.last().copied().unwrap_or(0.0));
        let highest = of.iter().copied().fold(0.0, f64::max);
        ui.line(format_args!(
            "stage {}: {} of {}; learning rate: {} at the start, {} at most, {} at the end",
            stage.name,
            counted(stage.epochs as usize, "epoch", "epochs"),
            counted(stage.steps_per_epoch as usize, "step", "steps"),
            in_words(first),
            in_words(highest),
            in_words(last)
        ));
    }
    let names: Vec<&str> = stages.iter().map(|s| s.name.as_str()).collect();
    ui.json(&json!({ "stages": names, "rates": rates }))?;
    Ok(Status::Done)
}

fn draw(plot: &Plot, ui: &Ui) -> anyhow::Result<Status> {
    let ending = plot.out.extension().map(|e| e.to_string_lossy().to_lowercase());
    let kind = match ending.as_deref() {
        Some("png") => &kind::PNG,
        Some("svg") => &kind::SVG,
        _ => bail!("--out {}: expected a name that ends in .png or .svg", plot.out.display()),
    };
    ui.outputs().input(&plot.source.config).file(&plot.out, kind)?;
    let stages = plot.source.stages(ui)?;
    let picture = figure(&stages).picture();
    let bytes = if ending.as_deref() == Some("svg") { picture.svg()?.into_bytes() } else { picture.png()? };
    write_atomically(&plot.out, |out| out.write_all(&bytes)).with_context(|| plot.out.display().to_string())?;
    ui.line(plot.out.display());
    ui.json(&json!({ "picture": plot.out }))?;
    Ok(Status::Done)
}

fn figure(stages: &[StageRates]) -> Figure {
    const COLOURS: [Rgb; 6] = [BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY];
    let rates: Vec<Rate> = rates(stages).collect();
    let series = |i: usize| LineSeries {
        name: if stages.len() == 1 { String::new() } else { stages[i].name.clone() },
        colour: COLOURS[i % COLOURS.len()],
        points: rates.iter().filter(|r| r.stage == i).map(|r| (r.step as f64, r.lr)).collect(),
    };
    let begins = rates.windows(2).filter(|pair| pair[0].stage != pair[1].stage);
    let markers = begins.map(|pair| Marker { name: "start of a stage".into(), value: pair[1].step as f64 }).collect();
    let epochs: u64 = stages.iter().map(|s| s.epochs).sum();
    Figure {
        name: "schedule".into(),
        title: format!("Learning rate by step (n = {} steps, {epochs} epochs)", rates.len()),
        note: String::new(),
        columns: 1,
        charts: vec![Chart::Lines(Lines {
            title: String::new(),
            x_label: "optimiser step".into(),
            y_label: "base learning rate".into(),
            series: (0..stages.len()).map(series).collect(),
            markers,
        })],
    }
}

impl Source {
    fn stages(&self, ui: &Ui) -> anyhow::Result<Vec<StageRates>> {
        let config = TrainConfig::load(&self.config, &self.sets)?;
        let steps_of: Box<dyn Fn(usize, usize) -> u64> = match self.steps_per_epoch {
            Some(steps) => Box::new(move |_, _| steps),
            None => {
                let images = training_images(&config, ui).context(
                    "cannot count the training images, which set the steps per epoch; give --steps-per-epoch N",
                )?;
                Box::new(move |batch, accumulate| steps_per_epoch(images, batch, accumulate))
            }
        };
        let stages = config.stages(&self.config)?;
        let rates =
            stages.iter().map(|stage| StageRates::of(stage, steps_of(stage.config.batch, stage.config.accumulate)));
        let rates: Vec<StageRates> = rates.collect();
        let steps: u64 = rates.iter().map(|stage| stage.epochs.saturating_mul(stage.steps_per_epoch)).sum();
        ensure!(
            steps <= MAX_STEPS,
            "the schedule has {steps} steps, but at most {MAX_STEPS} are shown; set fewer epochs or --steps-per-epoch"
        );
        Ok(rates)
    }
}

fn training_images(config: &TrainConfig, ui: &Ui) -> anyhow::Result<usize> {
    let (dataset, _) = open(&config.data.root, config.data.corrections.as_deref(), ui)?;
    Ok(parts(config, &dataset, ui)?.training.len())
}
