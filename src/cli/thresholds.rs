use std::collections::HashSet;
use std::fmt::Write;
use std::io::Write as _;
use std::path::PathBuf;

use anyhow::{Context, ensure};

use super::data::{open, scanned};
use super::{Status, Ui};
use crate::artefact::{kind, write_atomically};
use crate::probability::ProbabilityFolder;
use crate::probability::decision::{DecisionSettings, LeastArea, PerBone};
use crate::stats::Bootstrap;
use crate::tables::{self, Tables};
use crate::thresholds::{SearchOptions, ThresholdSearch, image_curves, least_areas, search_thresholds};

/// Choose a threshold per class on out-of-fold probabilities
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Example:
  carpus thresholds --probabilities oof --data data --folds folds.csv \\
      --out decision.toml
  carpus thresholds --probabilities oof --data data --folds folds.csv \\
      --tables tables --min-area-share 0.5 --out decision.toml

DIR holds the probabilities of each image, predicted by the model that did not train on it. The threshold of a class \
maximises its mean Dice over the images. Thresholds fit the images that they are chosen on, so the gain is \
also estimated for each fold with thresholds that were chosen on the others.")]
pub struct ThresholdsArgs {
    /// Folder of probabilities of all images of the folds
    #[arg(long, value_name = "DIR")]
    probabilities: PathBuf,
    /// Data folder with the annotations
    #[arg(long)]
    data: PathBuf,
    /// Folds that `carpus split` wrote
    #[arg(long)]
    folds: PathBuf,
    /// Corrections file to apply to the annotations; excluded images are not used
    #[arg(long)]
    corrections: Option<PathBuf>,
    /// Folder that `carpus scan` wrote: also write min-area, a share of the least annotated area per class
    #[arg(long)]
    tables: Option<PathBuf>,
    /// Share of the least annotated area below which a component is removed
    #[arg(long, value_name = "SHARE", default_value_t = 0.5, requires = "tables")]
    min_area_share: f64,
    /// Bootstrap samples of patients for the intervals
    #[arg(long, value_name = "N", default_value_t = 2000, value_parser = clap::value_parser!(u32).range(100..=1_000_000))]
    resamples: u32,
    /// Seed of the bootstrap
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Decision file to write, for `carpus ensemble --decision`
    #[arg(long)]
    out: PathBuf,
}

/// Chooses the thresholds and writes the decision file.
pub fn run(args: ThresholdsArgs, ui: &Ui) -> anyhow::Result<Status> {
    ensure!(
        args.min_area_share > 0.0 && args.min_area_share <= 1.0,
        "--min-area-share is {}; expected above 0, up to 1",
        args.min_area_share
    );
    let (dataset, status) = open(&args.data, args.corrections.as_deref(), ui)?;
    let inputs = [&args.folds].into_iter().chain(&args.corrections);
    ui.outputs().inputs(inputs).data(dataset.folders()).file(&args.out, &kind::DECISION)?;
    let folds = tables::read_folds_of_patients(&args.folds)?;
    let images = image_curves(&dataset, &folds, &ProbabilityFolder::open(&args.probabilities)?, ui)?;
    let options = SearchOptions { resamples: args.resamples as usize, seed: args.seed };
    let found = search_thresholds(&images, options)?;
    let thresholds: Vec<f64> = found.classes.iter().map(|class| rounded(class.threshold)).collect();
    let mut decision = DecisionSettings { threshold: PerBone::each(&thresholds), ..DecisionSettings::default() };
    if let Some(folder) = &args.tables {
        let known: HashSet<&str> = images.iter().map(|image| image.image_id.as_str()).collect();
        let areas = least_areas(&scanned(Tables::read(folder))?.bones, &known, args.min_area_share);
        decision.min_area = Some(LeastArea::Each(PerBone::each(&areas)));
    }
    let text = format!("{}{}", comments(&found), decision.to_toml());
    write_atomically(&args.out, |out| out.write_all(text.as_bytes()))
        .with_context(|| args.out.display().to_string())?;
    print(&found, &args, ui)?;
    Ok(status)
}

/// To six digits: the thresholds of the grid lie halfway between two steps of the probabilities.
fn rounded(threshold: f64) -> f64 {
    (threshold * 1e6).round() / 1e6
}

fn in_words(gain: &Bootstrap) -> String {
    format!("{:+.5} (95 % confidence interval {:+.5} to {:+.5})", gain.mean, gain.ci.low, gain.ci.high)
}

/// The figures of the search as comments of a TOML file.
fn comments(found: &ThresholdSearch) -> String {
    let mut text = format!(
        "# Thresholds that maximise the mean Dice of each class over {} images in {} folds.\n\
         # Gain in mean Dice over a threshold of 0.5 for all classes:\n\
         #   on the images that the thresholds were chosen on: {}\n\
         #   on images of a fold, with thresholds chosen on the other folds: {}\n",
        found.images,
        found.folds,
        in_words(&found.in_sample),
        in_words(&found.nested)
    );
    if found.nested.ci.contains(0.0) {
        text += "# The second interval contains 0: there is no evidence that these thresholds help on other images.\n";
    }
    text += "#\n# class         threshold  Dice at 0.5  gain, chosen on the other folds\n";
    for class in &found.classes {
        let (gain, interval) = (class.nested.mean, class.nested.ci);
        let _ = writeln!(
            text,
            "# {:<12}  {:9.4}  {:11.4}  {gain:+.5} ({:+.5} to {:+.5})",
            class.bone, class.threshold, class.dice_at_half, interval.low, interval.high
        );
    }
    text + "\n"
}

fn print(found: &ThresholdSearch, args: &ThresholdsArgs, ui: &Ui) -> anyhow::Result<()> {
    for class in &found.classes {
        ui.line(format_args!(
            "{:<12} {:.4}   Dice at 0.5 {:.4}   gain {:+.5}",
            class.bone, class.threshold, class.dice_at_half, class.nested.mean
        ));
    }
    ui.line(format_args!("gain in mean Dice on the images chosen on: {}", in_words(&found.in_sample)));
    ui.line(format_args!("gain with thresholds of the other folds:   {}", in_words(&found.nested)));
    ui.line(args.out.display());
    if found.nested.ci.contains(0.0) {
        ui.warn(
            "the confidence interval of the gain with thresholds of the other folds contains 0: there is no evidence that \
             these thresholds help on other images; a threshold of 0.5 is as good",
        );
    }
    ui.json(found)
}
