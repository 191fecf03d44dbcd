use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use super::data::warn;
use super::{Status, Ui};
use crate::dataset::Problem;
use crate::experiment::{Existing, Experiment, Folds, FoldsSummary, Observer};
use crate::tables::EpochRow;
use crate::train::{TrainConfig, Watcher};
use crate::wording::counted;

/// Train a model on all folds but one
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Example:
  carpus train --config configs/train/demo.toml --set data.root=crops \\
      --set data.folds=folds.csv --fold 0
  carpus train --config configs/train/demo.toml --fold 0 \\
      --resume            # after an interruption
  carpus train --config configs/train/demo.toml \\
      --set optimiser.lr=3e-3 --name faster
  carpus train --config configs/train/demo.toml --folds all
  carpus train --config configs/train/demo.toml --set data=phantom \\
      --set size=128 --set epochs=1     # a try in seconds, on drawn hands

A run leaves RUNS/NAME/ with config.toml (as run), metrics.csv and .parquet, TensorBoard events,
pictures/, best.safetensors, last.safetensors and, when it ends, predictions.csv,
per_image_dice.csv and summary.json of the held-out images at their own size, and report.html;
held_out.csv says whose each held-out image is. Masks in predictions.csv are in pixels of the original images; a run on crops also leaves predictions_crops.csv.
With --folds there is RUNS/NAME-foldK/ for each and RUNS/NAME-folds/ with the out-of-fold
predictions of all; folds trained by other processes (--fold K --name NAME-foldK) are collected
with --resume. Ctrl-C saves and ends with exit code 130.")]
pub struct TrainArgs {
    /// TOML file; `carpus train --config FILE --print-config` shows every key
    #[arg(short, long)]
    config: PathBuf,
    /// Lay a setting over the file: a dotted key and a TOML value
    #[arg(long = "set", value_name = "KEY=VALUE")]
    sets: Vec<String>,
    /// Fold to hold out; overrides data.fold
    #[arg(long)]
    fold: Option<u32>,
    /// Train these folds one after another and collect what they held out: all, or 0,2
    #[arg(long, value_name = "FOLDS", conflicts_with = "fold")]
    folds: Option<Folds>,
    /// Corrections file, applied to the data; overrides data.corrections
    #[arg(long, value_name = "FILE")]
    corrections: Option<PathBuf>,
    /// Name of the run; overrides output.name
    #[arg(long)]
    name: Option<String>,
    /// Folder of all runs; overrides output.runs
    #[arg(long)]
    runs: Option<PathBuf>,
    /// Go on where the run was broken off: short for --existing resume
    #[arg(long, conflicts_with = "existing")]
    resume: bool,
    /// What to do where the run is there already
    #[arg(long, value_enum, default_value_t = Existing::Refuse)]
    existing: Existing,
    /// Print the configuration as it would be run, with every key and what it means, and end
    #[arg(long)]
    print_config: bool,
}

impl Watcher for Ui {
    fn epoch(&self, record: &EpochRow, epochs: usize, best: bool) {
        let raw = record.valid_dice_raw.map(|d| format!(" (raw {d:.4})")).unwrap_or_default();
        let left = epochs.saturating_sub(record.epoch as usize) as f64 * record.seconds;
        let memory = record.memory_mb.map(|mb| format!("  {mb:.0} MiB")).unwrap_or_default();
        self.line(format_args!(
            "{} epoch {:>3}/{epochs}  loss {:.4} / {:.4}  Dice {:.4}{raw}{}  lr {:.2e}  {:.1} images/s  waiting {:.0} %{memory}  {:.0} s left",
            record.stage,
            record.epoch,
            record.train_loss,
            record.valid_loss,
            record.valid_dice,
            if best { " *" } else { "" },
            record.lr,
            record.images_per_second,
            100.0 * record.waiting,
            left,
        ));
        if record.steps_skipped > 0 {
            self.note(format_args!(
                "{} left out: half precision overflowed",
                counted(record.steps_skipped as usize, "step", "steps")
            ));
        }
    }

    fn skipped(&self, image: &str, reason: &str) {
        self.warn(format_args!("image {image} is left out from here on: {reason}"));
    }
}

impl Observer for Ui {
    fn result(&self, text: &str) {
        self.line(text);
    }

    fn note(&self, text: &str) {
        Ui::note(self, text);
    }

    fn warn(&self, text: &str) {
        Ui::warn(self, text);
    }

    fn problems(&self, problems: &[Problem]) {
        warn(problems, self);
    }
}

/// Set by Ctrl-C, for all runs of the process.
static STOP: AtomicBool = AtomicBool::new(false);

/// Trains.
pub fn run(args: TrainArgs, ui: &Ui) -> anyhow::Result<Status> {
    let mut config = TrainConfig::load(&args.config, &args.sets)?;
    config.data.fold = args.fold.unwrap_or(config.data.fold);
    config.data.corrections = args.corrections.or(config.data.corrections);
    config.output.runs = args.runs.unwrap_or(config.output.runs);
    config.output.name = args.name.or(config.output.name);
    let existing = if args.resume { Existing::Resume } else { args.existing };
    let experiment = Experiment { config, config_file: args.config, existing, outputs: ui.outputs() };
    if args.print_config {
        // Without the name that a run gets by its fold: the printed file is for other folds too.
        ui.output(experiment.config.to_commented_toml());
        return Ok(Status::Done);
    }
    // A chain sets it once; a second setting is refused and the first one serves.
    let handler = ctrlc::set_handler(|| {
        if STOP.swap(true, Ordering::SeqCst) {
            std::process::exit(130);
        }
    });
    if let Err(error) = handler.or_else(|e| if matches!(e, ctrlc::Error::MultipleHandlers) { Ok(()) } else { Err(e) }) {
        tracing::warn!("Ctrl-C will end the run without saving: {error}");
    }
    let Some(folds) = &args.folds else {
        let Some(summary) = experiment.run_fold(&STOP, ui)? else { return Ok(Status::Interrupted) };
        ui.json(&summary)?;
        return Ok(Status::Done);
    };
    let Some(summary) = experiment.run_folds(folds, &STOP, ui)? else { return Ok(Status::Interrupted) };
    show(&summary, ui);
    ui.json(&summary)?;
    Ok(Status::Done)
}

fn show(summary: &FoldsSummary, ui: &Ui) {
    ui.line("fold  images  best epoch  Dice at the model's size  Dice at the images' size");
    for fold in &summary.folds {
        ui.line(format_args!(
            "{:>4}  {:>6}  {:>10}  {:>24.4}  {:>24.4}",
            fold.fold, fold.images, fold.best_epoch, fold.best_dice_at_model_size, fold.mean_dice
        ));
    }
    let sd = summary.sd.map(|sd| format!(" ± {sd:.4} (sd over folds)")).unwrap_or_default();
    ui.line(format_args!(
        "mean {:.4}{sd}; out of fold over {} {:.4} -> {}",
        summary.mean,
        counted(summary.out_of_fold.images, "image", "images"),
        summary.out_of_fold.mean_dice,
        summary.folder.display()
    ));
}
