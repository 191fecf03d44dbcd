//! `carpus train --find-lr`: the loss by learning rate, as a table, as a figure, and as suggestions.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde_json::json;

use super::{Status, Ui};
use crate::artefact::{kind, write_atomically};
use crate::experiment::Experiment;
use crate::figures::style::okabe_ito::{BLUE, SKY};
use crate::figures::{Chart, Figure, LineSeries, Lines, Marker};
use crate::train::{LrCurve, LrFinderOptions, LrSuggestions};
use crate::wording::counted;

// Options of the learning-rate finder. (A doc comment would become the help text of the command that has them.)
#[derive(clap::Args, Debug)]
pub struct LrFinderArgs {
    /// Find a learning rate and do not train: raise it step by step, and write the losses into this folder
    #[arg(long, value_name = "DIR", conflicts_with_all = ["folds", "resume", "name"])]
    pub find_lr: Option<PathBuf>,
    /// Learning rate of the first step of --find-lr
    #[arg(long, value_name = "LR", requires = "find_lr", default_value_t = 1e-7)]
    lr_from: f64,
    /// Learning rate of the last step of --find-lr
    #[arg(long, value_name = "LR", requires = "find_lr", default_value_t = 1.0)]
    lr_to: f64,
    /// Steps of --find-lr
    #[arg(long, value_name = "N", requires = "find_lr", default_value_t = 100)]
    lr_steps: usize,
}

impl LrFinderArgs {
    fn options(&self) -> anyhow::Result<LrFinderOptions> {
        let options = LrFinderOptions { from: self.lr_from, to: self.lr_to, steps: self.lr_steps };
        if let Some(wrong) = options.violations().iter().next() {
            bail!("--lr-{} is {}; expected {}", wrong.key, wrong.found, wrong.expected);
        }
        Ok(options)
    }
}

/// Finds a learning rate and writes `lr_finder.csv` and `lr_finder.png` into `folder`.
pub fn run(args: &LrFinderArgs, folder: &Path, experiment: &Experiment, ui: &Ui) -> anyhow::Result<Status> {
    let options = args.options()?;
    let outputs = experiment.outputs.clone().inputs([&experiment.config_file, &experiment.config.data.folds]);
    outputs.folder(folder, &kind::LR_FINDER)?;
    let curve = experiment.find_lr(&options, ui)?;
    let suggestions = curve.suggestions();
    if !curve.points.is_empty() {
        write(folder, &curve, suggestions.as_ref().ok())?;
        ui.line(format_args!("{} -> {}", counted(curve.points.len(), "step", "steps"), folder.display()));
    }
    let LrSuggestions { steepest, tenth_of_least } = suggestions?;
    if !curve.diverged {
        ui.note(format_args!(
            "the loss did not diverge up to a rate of {:.1e}; a higher --lr-to may show more",
            options.to
        ));
    }
    ui.line(format_args!("steepest descent of the loss: optimiser.lr = {steepest:.2e}"));
    ui.line(format_args!("a tenth of the rate with the least loss: optimiser.lr = {tenth_of_least:.2e}"));
    ui.json(&json!({ "steepest": steepest, "tenth_of_least": tenth_of_least, "steps": curve.points.len(),
        "diverged": curve.diverged, "folder": folder }))?;
    Ok(Status::Done)
}

fn write(folder: &Path, curve: &LrCurve, suggestions: Option<&LrSuggestions>) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(["step", "lr", "loss", "smoothed"])?;
    for point in &curve.points {
        let [lr, loss, smoothed] = [point.lr, point.loss, point.smoothed].map(|v| format!("{v:e}"));
        writer.write_record([point.step.to_string(), lr, loss, smoothed])?;
    }
    let files =
        [("lr_finder.csv", writer.into_inner()?), ("lr_finder.png", figure(curve, suggestions).picture().png()?)];
    for (name, bytes) in files {
        let path = folder.join(name);
        write_atomically(&path, |out| out.write_all(&bytes)).with_context(|| path.display().to_string())?;
    }
    Ok(())
}

fn figure(curve: &LrCurve, suggestions: Option<&LrSuggestions>) -> Figure {
    let series = |name: &str, colour, of: fn(&crate::train::LrPoint) -> f64| LineSeries {
        name: name.into(),
        colour,
        points: curve.points.iter().map(|point| (point.lr.log10(), of(point))).collect(),
    };
    // Losses far above the least one would leave no room for the others.
    let least = curve.points.iter().map(|point| point.smoothed).fold(f64::INFINITY, f64::min);
    let most = curve.points.iter().map(|point| point.smoothed).fold(f64::NEG_INFINITY, f64::max);
    let mut loss = series("loss", SKY, |point| point.loss);
    loss.points.retain(|(_, loss)| *loss <= most + (most - least).max(1e-12));
    let marker = |name: &str, rate: f64| Marker { name: name.into(), value: rate.log10() };
    let markers = suggestions.map(|s| {
        vec![
            marker("steepest descent", s.steepest),
            marker("a tenth of the rate with the least loss", s.tenth_of_least),
        ]
    });
    Figure {
        name: "lr_finder".into(),
        title: format!("Training loss by learning rate (n = {})", counted(curve.points.len(), "step", "steps")),
        note: String::new(),
        columns: 1,
        charts: vec![Chart::Lines(Lines {
            title: String::new(),
            x_label: "log10 of the base learning rate".into(),
            y_label: "training loss".into(),
            series: vec![loss, series("smoothed loss", BLUE, |point| point.smoothed)],
            markers: markers.unwrap_or_default(),
        })],
    }
}
