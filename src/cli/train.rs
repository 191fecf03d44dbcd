use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use anyhow::{Context, bail};
use serde::Serialize;

use super::{Status, Ui};
use crate::artefact::write_atomically;
use crate::config::train::TrainConfig;
use crate::dataset::layout::{self, ImageEntry};
use crate::dataset::{Problem, Severity};
use crate::device;
use crate::infer::{Predictor, predict};
use crate::mask::submission;
use crate::scores::{self, Summary};
use crate::splits;
use crate::tables::{self, FoldRow};
use crate::train::{Dataset, EpochRecord, Outcome, RunFolder, TrainError, Watcher, partition, train};

/// Train a model on all folds but one
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Example:
  carpus train --config configs/train/demo.toml --set data.root=crops \\
      --set data.folds=folds.csv --fold 0
  carpus train --config configs/train/demo.toml --fold 0 \\
      --resume            # after an interruption
  carpus train --config configs/train/demo.toml --set optimiser.lr=3e-3 --name faster

A run leaves RUNS/NAME/ with config.toml (as run), log.csv, TensorBoard events, pictures/,
best.safetensors, last.safetensors and, when it ends, predictions.csv, per_image_dice.csv and
summary.json of the held-out images at their own size. Ctrl-C saves and ends with exit code 130.")]
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
    /// Remove it and start anew
    Replace,
    /// Go on with it, or start anew where settings or data changed
    Auto,
}

#[derive(Serialize)]
struct RunSummary {
    run: PathBuf,
    best_epoch: usize,
    best_dice_at_model_size: f64,
    stopped_early: bool,
    training_images: usize,
    validation_images: usize,
    seconds: f64,
    /// The held-out images at their own size.
    #[serde(skip_serializing_if = "Option::is_none")]
    held_out: Option<Summary>,
}

impl Watcher for Ui {
    fn epoch(&self, record: &EpochRecord, epochs: usize, best: bool) {
        let raw = record.valid_dice_raw.map(|d| format!(" (raw {d:.4})")).unwrap_or_default();
        let left = (epochs - record.epoch) as f64 * record.seconds;
        self.line(format_args!(
            "epoch {:>3}/{epochs}  loss {:.4} / {:.4}  Dice {:.4}{raw}{}  lr {:.2e}  {:.1} images/s  waiting {:.0} %  {:.0} s left",
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
    }
}

/// Trains.
pub fn run(args: Args, ui: &Ui) -> anyhow::Result<Status> {
    let started = Instant::now();
    let mut config = TrainConfig::load(&args.config, &args.sets)?;
    config.data.fold = args.fold.unwrap_or(config.data.fold);
    config.output.runs = args.runs.clone().unwrap_or(config.output.runs);
    config.output.name = args.name.clone().or(config.output.name);
    let name = config.output.name.get_or_insert_with(|| {
        let stem = args.config.file_stem().unwrap_or_default().to_string_lossy();
        format!("{stem}-fold{}", config.data.fold)
    });
    if name.is_empty() || name.contains(['/', '\\']) || name.starts_with('.') {
        bail!("the run's name is {name:?}; expected a name for a folder, without slashes");
    }
    let folder = RunFolder::new(&config.output.runs, name);
    if args.print_config {
        ui.output(config.to_toml());
        return Ok(Status::Done);
    }
    let existing = if args.resume { Existing::Resume } else { args.existing };
    if existing == Existing::Refuse && folder.last().exists() {
        return Err(TrainError::RunExists { path: folder.path().into() }.into());
    }

    // The device comes first: only the first touch of libtorch can bring CUDA in.
    let device = device::select(config.device)?;
    let (training, validation, problems) = datasets(&config, ui)?;
    let settings = config.settings(weights(&config, &training)?);
    ui.line(format_args!(
        "{}: {} training and {} validation images at {} px, {device:?}",
        config.model.describe(),
        training.len(),
        validation.len(),
        config.size
    ));

    let stop = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&stop);
    // A chain sets it once; a second setting is refused and the first one serves.
    let handler = ctrlc::set_handler(move || {
        if flag.swap(true, Ordering::SeqCst) {
            std::process::exit(130);
        }
    });
    if let Err(error) = handler {
        tracing::warn!("Ctrl-C will end the run without saving: {error}");
    }
    let go = |resume: bool| -> Result<Outcome, TrainError> {
        if !resume {
            start_anew(&folder, &config)?;
        }
        train(&settings, &training, &validation, device, &folder, resume, &stop, ui)
    };
    let begun = folder.last().exists();
    let outcome = match existing {
        Existing::Resume => go(true),
        Existing::Auto if begun => match go(true) {
            Err(TrainError::Changed { changes, .. }) => {
                ui.note(format_args!("the run is started anew, since this changed: {}", changes.join("; ")));
                go(false)
            }
            other => other,
        },
        Existing::Refuse | Existing::Replace | Existing::Auto => go(false),
    }?;

    let (best_epoch, best_dice, early) = match outcome {
        Outcome::Interrupted { epoch, step } => {
            ui.note(format_args!("interrupted after {epoch} epochs, {step} steps; go on with --resume"));
            return Ok(Status::Interrupted);
        }
        Outcome::Finished { best_epoch, best_dice, early } => (best_epoch, best_dice, early),
    };
    let held_out = match config.evaluate {
        true => Some(score_best(&config, &folder, device, validation.entries(), ui)?),
        false => None,
    };
    let summary = RunSummary {
        run: folder.path().into(),
        best_epoch,
        best_dice_at_model_size: best_dice,
        stopped_early: early,
        training_images: training.len(),
        validation_images: validation.len(),
        seconds: started.elapsed().as_secs_f64(),
        held_out,
    };
    write_json(&folder.path().join("summary.json"), &summary)?;
    ui.line(format_args!("best epoch {best_epoch}: Dice {best_dice:.4} at {} px", config.size));
    if let Some(held_out) = &summary.held_out {
        ui.line(format_args!("held-out images at their own size: mean Dice {:.4}", held_out.mean_dice));
    }
    ui.line(format_args!("run: {}", folder.path().display()));
    ui.json(&summary)?;
    let left_out = problems.iter().any(|p| p.severity == Severity::Error);
    Ok(if left_out { Status::DoneWithProblems } else { Status::Done })
}

fn datasets(config: &TrainConfig, ui: &Ui) -> anyhow::Result<(Dataset, Dataset, Vec<Problem>)> {
    let layout = layout::discover(&config.data.root)?;
    let folds: Vec<FoldRow> = tables::read(&config.data.folds).context("`carpus split` writes the folds")?;
    let mut parts = partition(&layout, &folds, config.data.fold)?;
    let limit = config.data.limit.unwrap_or(usize::MAX);
    parts.training.truncate(limit);
    parts.validation.truncate(limit);
    let bytes = config.data.cache_mb << 20;
    let load =
        |entries: &[ImageEntry], bytes, part| Dataset::load(&config.data.root, entries, config.size, bytes, part, ui);
    let (training, mut problems) = load(&parts.training, bytes, "training")?;
    let (validation, found) = load(&parts.validation, bytes, "validation")?;
    problems.extend(found);
    for problem in problems.iter().filter(|p| p.severity == Severity::Error) {
        ui.warn(format_args!("{}: {}; {}", problem.file, problem.reason, problem.action));
    }
    let uncached = training.uncached() + validation.uncached();
    if uncached > 0 {
        ui.note(format_args!(
            "{uncached} samples do not fit into data.cache-mb = {} and are read again in each epoch",
            config.data.cache_mb
        ));
    }
    Ok((training, validation, problems))
}

/// Weights of the training images in the draw of an epoch.
fn weights(config: &TrainConfig, training: &Dataset) -> anyhow::Result<Option<Vec<f64>>> {
    let Some(path) = &config.data.sample_weights else { return Ok(None) };
    let by_image: std::collections::HashMap<String, f64> =
        splits::read_weights(path)?.into_iter().map(|w| (w.image_id, w.weight)).collect();
    let of = |entry: &ImageEntry| {
        by_image.get(&entry.image_id).copied().with_context(|| {
            format!("{}: no weight for image {}; write it again with the folds", path.display(), entry.image_id)
        })
    };
    training.entries().iter().map(of).collect::<anyhow::Result<Vec<f64>>>().map(Some)
}

/// Removes what an earlier run of the name left and writes the configuration as run.
fn start_anew(folder: &RunFolder, config: &TrainConfig) -> Result<(), TrainError> {
    let io = |path: &Path| {
        let path = path.to_owned();
        move |source| TrainError::Io { path, source }
    };
    let path = folder.path();
    std::fs::create_dir_all(path).map_err(io(path))?;
    for entry in std::fs::read_dir(path).map_err(io(path))? {
        let entry = entry.map_err(io(path))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        // Only what a run writes: the folder may hold notes.
        const FILES: [&str; 7] = [
            "last.safetensors",
            "best.safetensors",
            "log.csv",
            "config.toml",
            "summary.json",
            "predictions.csv",
            "per_image_dice.csv",
        ];
        if FILES.contains(&name.as_str()) || name.starts_with("events.out.tfevents.") {
            std::fs::remove_file(entry.path()).map_err(io(&entry.path()))?;
        } else if name == "pictures" {
            std::fs::remove_dir_all(entry.path()).map_err(io(&entry.path()))?;
        }
    }
    let file = path.join("config.toml");
    write_atomically(&file, |out| std::io::Write::write_all(out, config.to_toml().as_bytes())).map_err(io(&file))
}

/// Predicts the held-out images with the best weights and scores them at their own size.
fn score_best(
    config: &TrainConfig,
    folder: &RunFolder,
    device: tch::Device,
    entries: &[ImageEntry],
    ui: &Ui,
) -> anyhow::Result<Summary> {
    let predictor = Predictor::open(&folder.best(), device, false)?;
    let entries: Vec<&ImageEntry> = entries.iter().collect();
    let prediction = predict(&predictor, &config.data.root, &entries, config.batch, ui)?;
    let path = folder.path().join("predictions.csv");
    submission::write(&path, &prediction.images)?;
    let scoring = scores::score_files(&config.data.root, &entries, (&[], ""), (&path, &prediction.images), ui)?;
    scores::write_scores(&folder.path().join("per_image_dice.csv"), &scoring.scores)?;
    Ok(Summary::of(&scoring.scores))
}

pub(super) fn write_json(path: &Path, value: &impl Serialize) -> anyhow::Result<()> {
    write_atomically(path, |out| serde_json::to_writer_pretty(out, value).map_err(Into::into))
        .with_context(|| path.display().to_string())
}
