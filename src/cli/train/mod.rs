mod data;
mod folds;
mod phantom;

pub(super) use data::{known, parts};

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};
use tch::Device;

use super::{Status, Ui};
use crate::artefact::{Lock, kind, remove_owned, write_atomically};
use crate::clean::read_transforms;
use crate::config::train::TrainConfig;
use crate::dataset::ImageEntry;
use crate::device;
use crate::infer::{Predictor, predict, to_originals};
use crate::mask::submission;
use crate::report;
use crate::runs::HELD_OUT;
use crate::scores::{self, Region, Summary};
use crate::tables::{self, EpochRow, HeldOutRow, TableError};
use crate::train::{Amp, Outcome, RunFolder, TrainError, Watcher, train};
use crate::wording::counted;
use folds::Folds;

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
pub struct Args {
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
    /// Print the configuration as it would be run, and end
    #[arg(long)]
    print_config: bool,
}

/// What to do with a run of the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Existing {
    /// Leave it alone and end with an error
    Refuse,
    /// Go on with it; an error where settings or data changed
    Resume,
    /// Remove it and start from scratch
    Replace,
    /// Go on with it, or start from scratch where settings or data changed
    Auto,
}

#[derive(Serialize, Deserialize)]
struct RunSummary {
    run: PathBuf,
    best_epoch: usize,
    best_dice_at_model_size: f64,
    stopped_early: bool,
    training_images: usize,
    validation_images: usize,
    images_left_out: usize,
    seconds: f64,
    /// The held-out images at their own size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    held_out: Option<Summary>,
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

/// Set by Ctrl-C, for all runs of the process.
static STOP: AtomicBool = AtomicBool::new(false);

/// Trains.
pub fn run(args: Args, ui: &Ui) -> anyhow::Result<Status> {
    let mut config = TrainConfig::load(&args.config, &args.sets)?;
    config.data.fold = args.fold.unwrap_or(config.data.fold);
    config.data.corrections = args.corrections.clone().or(config.data.corrections);
    config.output.runs = args.runs.clone().unwrap_or(config.output.runs);
    config.output.name = args.name.clone().or(config.output.name);
    let stem = args.config.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    if let Some(folds) = &args.folds {
        if args.print_config {
            ui.output(config.to_toml());
            return Ok(Status::Done);
        }
        return folds::run(&args, folds, &config, &stem, ui);
    }
    config.output.name.get_or_insert_with(|| format!("{stem}-fold{}", config.data.fold));
    if args.print_config {
        ui.output(config.to_toml());
        return Ok(Status::Done);
    }
    let (status, summary) = run_fold(&args, config, false, ui)?;
    if let Some(summary) = summary {
        ui.json(&summary)?;
    }
    Ok(status)
}

/// Trains the fold of `config`, whose run has a name. No summary where it was asked to stop. `one_of_many`: to resume one that
/// was not begun is to begin it.
fn run_fold(
    args: &Args,
    config: TrainConfig,
    one_of_many: bool,
    ui: &Ui,
) -> anyhow::Result<(Status, Option<RunSummary>)> {
    let started = Instant::now();
    let name = config.output.name.as_deref().expect("the run was given a name");
    if name.is_empty() || name.contains(['/', '\\']) || name.starts_with('.') {
        bail!("the run's name is {name:?}; expected a name for a folder, without slashes");
    }
    let folder = RunFolder::new(&config.output.runs, name);
    let begun = folder.last().exists();
    let existing = match if args.resume { Existing::Resume } else { args.existing } {
        Existing::Resume if one_of_many && !begun => Existing::Refuse,
        other => other,
    };
    if existing == Existing::Refuse && begun {
        return Err(TrainError::RunExists { path: folder.path().into() }.into());
    }
    if existing == Existing::Resume && !begun {
        return Err(TrainError::NothingToResume { path: folder.last() }.into());
    }
    let inputs = [&config.data.sample_weights, &config.data.corrections, &config.weights, &config.encoder_weights];
    let outputs = ui.outputs().inputs([&args.config, &config.data.folds]).inputs(inputs.into_iter().flatten());
    outputs.folder(folder.path(), &kind::RUN)?;
    // Held until the run is trained, scored and reported.
    std::fs::create_dir_all(folder.path()).with_context(|| folder.path().display().to_string())?;
    let _lock = Lock::take(folder.path())?;

    // The device comes first: only the first touch of libtorch can bring CUDA in.
    let device = device::select(config.device)?;
    let on_data = if phantom::is_meant(&config) { phantom::prepare(&config, ui)? } else { config.clone() };
    let stages = on_data.stages(&args.config)?;
    let sizes = data::Sizes::read(&on_data, stages.iter().map(|s| s.config.size), ui)?;
    let data: Vec<_> = stages.iter().map(|s| sizes.at(s.config.size)).collect();
    let settings = on_data.settings(&args.config, data::weights(&on_data, data[0].training)?)?;
    ui.line(format_args!(
        "{}: {} and {} at {} px, {}",
        config.model.describe(),
        counted(data[0].training.len(), "training image", "training images"),
        counted(data[0].validation.len(), "validation image", "validation images"),
        stages.iter().map(|s| s.config.size.to_string()).collect::<Vec<_>>().join(", then "),
        device::name(device),
    ));

    if device == Device::Cpu && settings.stages.iter().any(|stage| stage.amp == Amp::Fp16) {
        ui.note(
            "amp = \"fp16\" is several times slower than \"bf16\" on a CPU, which has no fast half-precision products",
        );
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
    let go = |resume: bool| -> Result<Outcome, TrainError> {
        if !resume {
            start_over(&folder, &config)?;
        }
        write_held_out(&folder, data[0].validation.entries())?;
        train(&settings, &data, device, &folder, resume, &STOP, ui)
    };
    let outcome = match existing {
        Existing::Resume => go(true),
        Existing::Auto if begun => match go(true) {
            Err(TrainError::Changed { changes, .. }) => {
                ui.note(format_args!("the run is started from scratch, since this changed: {}", changes.join("; ")));
                go(false)
            }
            other => other,
        },
        Existing::Refuse | Existing::Replace | Existing::Auto => go(false),
    }?;

    let (best_epoch, best_dice, early) = match outcome {
        Outcome::Interrupted { epoch, step } => {
            ui.note(format_args!(
                "interrupted after {} and {}; go on with --resume",
                counted(epoch, "epoch", "epochs"),
                counted(step as usize, "step", "steps")
            ));
            return Ok((Status::Interrupted, None));
        }
        Outcome::Finished { best_epoch, best_dice, early } => (best_epoch, best_dice, early),
    };
    let status = if sizes.left_out() > 0 { Status::DoneWithProblems } else { sizes.status };
    // A run that was over before this one began has been scored already.
    let file = folder.path().join("summary.json");
    if one_of_many && let Some(summary) = std::fs::read(&file).ok().and_then(|b| serde_json::from_slice(&b).ok()) {
        return Ok((status, Some(summary)));
    }
    let held_out = match config.evaluate {
        true => Some(score_best(&on_data, &folder, device, &sizes, data[0].validation.entries(), ui)?),
        false => None,
    };
    let summary = RunSummary {
        run: folder.path().into(),
        best_epoch,
        best_dice_at_model_size: best_dice,
        stopped_early: early,
        training_images: data[0].training.len(),
        validation_images: data[0].validation.len(),
        images_left_out: sizes.left_out(),
        seconds: started.elapsed().as_secs_f64(),
        held_out,
    };
    write_json(&file, &summary)?;
    // The run is whole without its report.
    if let Err(error) = report::run::write(folder.path(), Some(&on_data.data.root), report::run::PICTURES, ui) {
        ui.warn(format_args!("no report: {error}"));
    }
    ui.line(format_args!("best epoch {best_epoch}: Dice {best_dice:.4} at the model's size"));
    if let Some(held_out) = &summary.held_out {
        ui.line(format_args!("held-out images at their own size: mean Dice {:.4}", held_out.mean_dice));
    }
    ui.line(format_args!("run: {}", folder.path().display()));
    Ok((status, Some(summary)))
}

/// Removes what an earlier run of the name left and writes the configuration as run.
fn start_over(folder: &RunFolder, config: &TrainConfig) -> Result<(), TrainError> {
    let io = |path: &Path| {
        let path = path.to_owned();
        move |source| TrainError::Io { path, source }
    };
    let path = folder.path();
    std::fs::create_dir_all(path).map_err(io(path))?;
    // Only what a run writes, and scores of its predictions: the folder may hold notes.
    remove_owned(path, &kind::RUN).map_err(|e| TrainError::Io { path: e.path, source: e.source })?;
    let file = path.join("config.toml");
    write_atomically(&file, |out| std::io::Write::write_all(out, config.to_toml().as_bytes())).map_err(io(&file))
}

/// Writes whose each held-out image is: `carpus runs compare` draws whole patients, wherever the run is then.
fn write_held_out(folder: &RunFolder, entries: &[ImageEntry]) -> Result<(), TableError> {
    let rows = entries
        .iter()
        .map(|entry| HeldOutRow { image_id: entry.image_id.clone(), patient_id: entry.patient_id.clone() });
    tables::write_csv(&folder.path().join(HELD_OUT), &rows.collect::<Vec<_>>())
}

/// Predicts the held-out images with the best weights and scores them at their own size.
fn score_best(
    config: &TrainConfig,
    folder: &RunFolder,
    device: tch::Device,
    sizes: &data::Sizes,
    entries: &[ImageEntry],
    ui: &Ui,
) -> anyhow::Result<Summary> {
    let predictor = Predictor::open(&folder.best(), device, false)?;
    let entries: Vec<&ImageEntry> = entries.iter().collect();
    let prediction = predict(&predictor, &sizes.dataset, &entries, &sizes.known, config.batch, ui)?;
    let path = folder.predictions();
    let predicted = (path.as_path(), &prediction.images[..]);
    let scoring = scores::score_files(&sizes.dataset, &entries, predicted, Region::Image, ui)?;
    scores::write_scores(&folder.path().join("per_image_dice.csv"), &scoring.scores)?;
    if sizes.dataset.is_copy() {
        submission::write_crops(&folder.crop_predictions(), &prediction.images)?;
        let originals = to_originals(prediction.images, &read_transforms(sizes.dataset.root())?)?;
        submission::write(&path, &originals)?;
    } else {
        submission::write(&path, &prediction.images)?;
    }
    Ok(Summary::of(&scoring.scores))
}

pub(super) fn write_json(path: &Path, value: &impl Serialize) -> anyhow::Result<()> {
    write_atomically(path, |out| serde_json::to_writer_pretty(out, value).map_err(Into::into))
        .with_context(|| path.display().to_string())
}
