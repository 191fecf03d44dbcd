use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use super::data::warn;
use super::lr_finder::{self, LrFinderArgs};
use super::{Status, Ui};
use crate::dataset::Problem;
use crate::experiment::{Existing, Experiment, Folds, FoldsSummary, Observer};
use crate::tables::EpochRow;
use crate::train::{Fold, TrainConfig, Watcher};
use crate::wording::counted;

/// Train a model, holding out one fold
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
      --set size=128 --set epochs=1     # a quick trial on synthetic hands
  carpus train --config configs/train/demo.toml --fold 0 \\
      --find-lr lr              # lr/lr_finder.csv, lr/lr_finder.png

A run writes the folder RUNS/NAME/:
  config.toml                         configuration of the run
  metrics.csv, metrics.parquet        metrics per epoch, and TensorBoard events
  pictures/                           pictures of validation images
  best.safetensors, last.safetensors  weights of the best and last epoch
  final.safetensors                   last weights of a run with --fold none
  swa.safetensors                     mean of the last epochs' weights ([swa])
  average.safetensors                 mean of the best epochs' weights
  held_out.csv                        patient of each held-out image
When training ends, it adds for the held-out images:
  predictions.csv                     masks in pixels of the original images
  predictions_crops.csv               masks in pixels of the crops
  per_image_dice.csv, summary.json    Dice at the images' own size
  report.html                         report of the run

With --folds, each fold is a run RUNS/NAME-foldK/, and RUNS/NAME-folds/ holds the out-of-fold \
predictions. To train folds in separate processes, give each --fold K --name NAME-foldK; then \
--folds all --resume collects them. Ctrl-C, or a file named `stop` in the run's folder, saves the run \
and ends with exit code 130.")]
pub struct TrainArgs {
    /// Training configuration (TOML); --print-config prints all keys
    #[arg(short, long, value_name = "FILE")]
    config: PathBuf,
    /// Override a setting: a dotted key and a TOML value
    #[arg(long = "set", value_name = "KEY=VALUE")]
    sets: Vec<String>,
    /// Fold to hold out, or none to train all images without validation; overrides data.fold
    #[arg(long, value_name = "N")]
    fold: Option<Fold>,
    /// Train several folds in turn and collect the out-of-fold predictions: all, or a list such as 0,2
    #[arg(long, value_name = "FOLDS", conflicts_with = "fold")]
    folds: Option<Folds>,
    /// Corrections file to apply to the data; overrides data.corrections
    #[arg(long, value_name = "FILE")]
    corrections: Option<PathBuf>,
    /// Name of the run; overrides output.name
    #[arg(long)]
    name: Option<String>,
    /// Folder of all runs; overrides output.runs
    #[arg(long, value_name = "DIR")]
    runs: Option<PathBuf>,
    /// Continue an interrupted run; short for --existing resume
    #[arg(long, conflicts_with = "existing")]
    resume: bool,
    /// What to do if the run already exists
    #[arg(long, value_enum, default_value_t = Existing::Refuse)]
    existing: Existing,
    #[command(flatten)]
    finder: LrFinderArgs,
    /// Print the full configuration with comments, and do not train
    #[arg(long)]
    print_config: bool,
}

impl Watcher for Ui {
    fn epoch(&self, record: &EpochRow, epochs: usize, best: bool) {
        let raw = record.valid_dice_raw.map(|d| format!(" (without EMA {d:.4})")).unwrap_or_default();
        let loss = record.valid_loss.map(|loss| format!(", validation {loss:.4}")).unwrap_or_default();
        let mark = if best { " *best" } else { "" };
        let dice = record.valid_dice.map(|dice| format!("  Dice {dice:.4}{raw}{mark}")).unwrap_or_default();
        let left = epochs.saturating_sub(record.epoch as usize) as f64 * record.seconds;
        let memory = record.memory_mb.map(|mb| format!("  {mb:.0} MiB")).unwrap_or_default();
        self.line(format_args!(
            "epoch {:>3}/{epochs} ({})  loss: training {:.4}{loss}{dice}  lr {:.2e}  {:.1} images/s  waiting for data {:.0} %{memory}  {:.0} s left",
            record.epoch,
            record.stage,
            record.train_loss,
            record.lr,
            record.images_per_second,
            100.0 * record.waiting,
            left,
        ));
        if record.steps_skipped > 0 {
            self.note(format_args!(
                "{} skipped: half precision overflowed",
                counted(record.steps_skipped as usize, "step", "steps")
            ));
        }
    }

    fn skipped(&self, image: &str, reason: &str) {
        self.warn(format_args!("image {image} is skipped from now on: {reason}"));
    }

    fn note(&self, text: &str) {
        Ui::note(self, text);
    }

    fn warn(&self, text: &str) {
        Ui::warn(self, text);
    }
}

impl Observer for Ui {
    fn result(&self, text: &str) {
        self.line(text);
    }

    fn problems(&self, problems: &[Problem]) {
        warn(problems, self);
    }
}

/// Set by Ctrl-C; stops all runs of the process.
static STOP: AtomicBool = AtomicBool::new(false);

/// Trains one fold, or several with `--folds`.
pub fn run(args: TrainArgs, ui: &Ui) -> anyhow::Result<Status> {
    let mut config = TrainConfig::load(&args.config, &args.sets)?;
    config.data.fold = args.fold.unwrap_or(config.data.fold);
    config.data.corrections = args.corrections.or(config.data.corrections);
    config.output.runs = args.runs.unwrap_or(config.output.runs);
    config.output.name = args.name.or(config.output.name);
    // With no fold held out, some settings are invalid.
    config.check(&args.config)?;
    let existing = if args.resume { Existing::Resume } else { args.existing };
    let experiment = Experiment { config, config_file: args.config, existing, outputs: ui.outputs() };
    if args.print_config {
        // The name that a run gets from its fold is not printed, so that the file can be used for other folds too.
        ui.output(experiment.config.to_commented_toml());
        return Ok(Status::Done);
    }
    if let Some(folder) = &args.finder.find_lr {
        return lr_finder::run(&args.finder, folder, &experiment, ui);
    }
    // `carpus run` can train several times; the handler that was set first stays in use.
    let handler = ctrlc::set_handler(|| {
        if STOP.swap(true, Ordering::SeqCst) {
            std::process::exit(130);
        }
    });
    if let Err(error) = handler.or_else(|e| if matches!(e, ctrlc::Error::MultipleHandlers) { Ok(()) } else { Err(e) }) {
        tracing::warn!("Ctrl-C cannot be handled and will end the run without saving: {error}");
    }
    let Some(folds) = &args.folds else {
        let Some(summary) = experiment.run_fold(&STOP, ui)? else { return Ok(Status::Interrupted) };
        ui.json(&summary)?;
        return Ok(Status::Done);
    };
    let Some(summary) = experiment.run_folds(folds, &STOP, ui)? else { return Ok(Status::Interrupted) };
    print_folds(&summary, ui);
    ui.json(&summary)?;
    Ok(Status::Done)
}

fn print_folds(summary: &FoldsSummary, ui: &Ui) {
    ui.line("fold  images  best epoch  Dice at the model's size  Dice at the images' size");
    for fold in &summary.folds {
        ui.line(format_args!(
            "{:>4}  {:>6}  {:>10}  {:>24.4}  {:>24.4}",
            fold.fold,
            fold.images,
            fold.best_epoch.unwrap_or_default(),
            fold.best_dice_at_model_size.unwrap_or_default(),
            fold.mean_dice
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
