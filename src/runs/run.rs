use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use super::{HELD_OUT, RunError};
use crate::bones;
use crate::bounded::{self, Csv};
use crate::scores::{ImageScore, Summary, read_scores};
use crate::tables::{HeldOutRow, read_csv};

/// One epoch as logged. A figure that the log does not hold is absent.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Epoch {
    /// Name of the stage; empty where the run has none.
    pub stage: String,
    /// As logged.
    pub epoch: usize,
    /// Optimiser steps done.
    pub step: Option<u64>,
    /// Base rate of the last step.
    pub lr: Option<f64>,
    /// Mean training loss.
    pub train_loss: Option<f64>,
    /// Mean validation loss.
    pub valid_loss: Option<f64>,
    /// Mean validation Dice at the model's size, of averaged weights where there are any.
    pub valid_dice: Option<f64>,
    /// The same of the weights as trained, where others are averaged.
    pub valid_dice_raw: Option<f64>,
    /// Training images a second.
    pub images_per_second: Option<f64>,
    /// Share of the training time spent waiting for data.
    pub waiting: Option<f64>,
    /// Memory, MiB.
    pub memory_mb: Option<f64>,
    /// Validation Dice by channel.
    pub per_class: [Option<f64>; bones::COUNT],
}

/// `summary.json`, which a finished run has.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// The best epoch, from 1.
    pub best_epoch: usize,
    /// Its validation Dice at the model's size.
    pub best_dice_at_model_size: f64,
    /// Whether it ended before its time.
    #[serde(default)]
    pub stopped_early: bool,
    /// Images learnt from.
    pub training_images: Option<usize>,
    /// Images held out.
    pub validation_images: Option<usize>,
    /// Seconds in all.
    pub seconds: Option<f64>,
    /// Scores of the held-out images at their own size.
    pub held_out: Option<Summary>,
}

/// What a training run left in its folder.
#[derive(Clone, Debug)]
pub struct Run {
    /// Name of the folder.
    pub name: String,
    /// The folder.
    pub path: PathBuf,
    /// Configuration as run.
    pub config: Table,
    /// Epochs done.
    pub epochs: Vec<Epoch>,
    /// How it ended; absent while it has not.
    pub outcome: Option<Outcome>,
    /// Dice of the held-out images; empty where they were not scored.
    pub scores: Vec<ImageScore>,
    /// Patient of each held-out image; empty in runs of versions that did not write it.
    pub patients: HashMap<String, String>,
    /// One sentence a file that is there and cannot be read.
    pub problems: Vec<String>,
}

impl Run {
    /// Reads a folder. Only the configuration must be there; another file that cannot be read becomes a problem.
    ///
    /// # Errors
    /// No `config.toml`, or one that is no TOML.
    pub fn read(path: &Path) -> Result<Run, RunError> {
        let file = path.join("config.toml");
        if !file.is_file() {
            return Err(RunError::NoConfig { path: path.into() });
        }
        let text = bounded::read_text(&file, bounded::MAX_CONFIG)
            .map_err(|source| RunError::Io { path: file.clone(), source })?;
        let config =
            text.parse().map_err(|e: toml::de::Error| RunError::Content { path: file, reason: e.to_string() })?;
        let mut problems = Vec::new();
        let mut kept = |result: Result<(), RunError>| problems.extend(result.err().map(|e| e.to_string()));
        let (mut epochs, mut outcome, mut scores, mut patients) = (Vec::new(), None, Vec::new(), HashMap::new());
        let file = path.join("metrics.csv");
        if file.is_file() {
            kept(read_epochs(&file).map(|read| epochs = read));
        }
        let file = path.join("summary.json");
        if file.is_file() {
            kept(read_outcome(&file).map(|read| outcome = Some(read)));
        }
        let file = path.join("per_image_dice.csv");
        if file.is_file() {
            let read = read_scores(&file).map_err(|e| RunError::Content { path: file, reason: e.to_string() });
            kept(read.map(|read| scores = read));
        }
        let file = path.join(HELD_OUT);
        if file.is_file() {
            let read = read_csv::<HeldOutRow>(&file).map_err(|e| RunError::Compare(e.to_string()));
            kept(read.map(|rows| patients.extend(rows.into_iter().map(|row| (row.image_id, row.patient_id)))));
        }
        let name = path.canonicalize().unwrap_or_else(|_| path.into());
        let name = name.file_name().map_or_else(|| path.display().to_string(), |n| n.to_string_lossy().into_owned());
        Ok(Run { name, path: path.into(), config, epochs, outcome, scores, patients, problems })
    }

    /// The same run with its scores from the file `name` in its folder, as `carpus evaluate` writes it.
    ///
    /// # Errors
    /// No such file, or one that holds no scores.
    pub fn scored_by(mut self, name: &str) -> Result<Run, RunError> {
        let file = self.path.join(name);
        if !file.is_file() {
            let reason = format!(
                "no such file; `carpus evaluate --predictions {} --data DATA --out {}` writes it, with --band PX for the outlines",
                self.path.join("predictions.csv").display(),
                file.display()
            );
            return Err(RunError::Content { path: file, reason });
        }
        let read = read_scores(&file).map_err(|e| RunError::Compare(e.to_string()))?;
        if read.is_empty() {
            return Err(RunError::Content { path: file, reason: "holds no image".into() });
        }
        self.scores = read;
        Ok(self)
    }

    /// A setting by its dotted key.
    pub fn setting(&self, key: &str) -> Option<&Value> {
        let mut parts = key.split('.');
        let first = self.config.get(parts.next()?)?;
        parts.try_fold(first, |value, part| value.get(part))
    }

    /// The epoch of the best validation Dice, and that.
    pub fn best(&self) -> Option<(usize, f64)> {
        let logged = self.epochs.iter().enumerate().filter_map(|(i, e)| Some((i + 1, e.valid_dice?)));
        // The first of equals, as the trainer keeps it.
        let logged = logged.fold(None, |best: Option<(usize, f64)>, e| best.filter(|b| b.1 >= e.1).or(Some(e)));
        self.outcome.as_ref().map(|o| (o.best_epoch, o.best_dice_at_model_size)).or(logged)
    }

    /// Mean Dice of the held-out images at their own size.
    pub fn held_out(&self) -> Option<f64> {
        let of_scores = || self.scores.iter().map(ImageScore::mean).sum::<f64>() / self.scores.len() as f64;
        let summarised = self.outcome.as_ref().and_then(|o| o.held_out.as_ref()).map(|s| s.mean_dice);
        if self.scores.is_empty() { summarised } else { Some(of_scores()) }
    }

    /// Median of the epochs' training images a second.
    pub fn images_per_second(&self) -> Option<f64> {
        let rates: Vec<f64> = self.epochs.iter().filter_map(|e| e.images_per_second).collect();
        crate::stats::summary(&rates).map(|s| s.median)
    }

    /// Epochs that the configuration asks for, over all stages.
    pub fn epochs_asked(&self) -> Option<usize> {
        let number = |value: &Value| value.as_integer().and_then(|n| usize::try_from(n).ok());
        let base = self.config.get("epochs").and_then(number);
        match self.config.get("stages").and_then(Value::as_array).filter(|s| !s.is_empty()) {
            Some(stages) => stages.iter().map(|s| s.get("epochs").map_or(base, number)).sum(),
            None => base,
        }
    }
}

/// Runs that were found, and what was not one.
#[derive(Debug, Default)]
pub struct Found {
    /// Each once.
    pub runs: Vec<Run>,
    /// Paths that are no run and hold none, and runs whose configuration cannot be read.
    pub skipped: Vec<RunError>,
}

/// The runs at these paths: of a folder of runs, those in it by name. A pattern of the shell (`runs/fpn-fold*`) also
/// names what is no run; that is skipped.
///
/// # Errors
/// A path does not exist, or no run is left.
pub fn find(paths: &[PathBuf]) -> Result<Found, RunError> {
    let mut found = Found::default();
    let mut known = HashSet::new();
    for path in paths {
        match candidates(path) {
            Err(RunError::Io { path, source }) => return Err(RunError::Io { path, source }),
            Err(error) => found.skipped.push(error),
            Ok(folders) => {
                for folder in folders {
                    if !known.insert(folder.canonicalize().unwrap_or_else(|_| folder.clone())) {
                        continue;
                    }
                    match Run::read(&folder) {
                        Ok(run) => found.runs.push(run),
                        Err(error) => found.skipped.push(error),
                    }
                }
            }
        }
    }
    if found.runs.is_empty() {
        return Err(match (found.skipped.pop(), paths) {
            (Some(only), [_]) if found.skipped.is_empty() => only,
            _ => RunError::NoneLeft { paths: paths.to_vec() },
        });
    }
    Ok(found)
}

/// The folder itself where it is a run, else the runs in it by name.
fn candidates(path: &Path) -> Result<Vec<PathBuf>, RunError> {
    if path.join("config.toml").is_file() {
        return Ok(vec![path.into()]);
    }
    let io = |source| RunError::Io { path: path.into(), source };
    if path.is_file() {
        return Err(RunError::NotAFolder { path: path.into() });
    }
    let mut folders = Vec::new();
    for entry in std::fs::read_dir(path).map_err(io)? {
        let folder = entry.map_err(io)?.path();
        if folder.join("config.toml").is_file() {
            folders.push(folder);
        }
    }
    folders.sort();
    if folders.is_empty() { Err(RunError::NoRuns { path: path.into() }) } else { Ok(folders) }
}

fn read_outcome(path: &Path) -> Result<Outcome, RunError> {
    let bytes = bounded::read(path, bounded::MAX_TEXT).map_err(|source| RunError::Io { path: path.into(), source })?;
    serde_json::from_slice(&bytes).map_err(|e| RunError::Content { path: path.into(), reason: e.to_string() })
}

/// Columns by name, in any order; a column that is not there or a cell that is empty is absent.
fn read_epochs(path: &Path) -> Result<Vec<Epoch>, RunError> {
    let wrong = |reason: String| RunError::Content { path: path.into(), reason };
    let mut reader = Csv::open(path).map_err(|e| wrong(e.to_string()))?;
    let header = reader.headers().map_err(|e| wrong(e.to_string()))?.clone();
    let place = |name: &str| header.iter().position(|h| h == name);
    let class_places = bones::NAMES.map(|name| place(&format!("dice_{name}")));
    if place("epoch").is_none() {
        return Err(wrong("line 1: no column epoch".into()));
    }
    let mut epochs = Vec::new();
    for (row, record) in reader.records().enumerate() {
        let record = record.map_err(|e| wrong(e.to_string()))?;
        let number = |place: Option<usize>| -> Result<Option<f64>, RunError> {
            let text = place.and_then(|p| record.get(p)).unwrap_or_default().trim();
            let bad = |p: usize| wrong(format!("line {}, column {}: {text:?} is no number", row + 2, &header[p]));
            match place.filter(|_| !text.is_empty()) {
                Some(p) => text.parse().map(Some).map_err(|_| bad(p)),
                None => Ok(None),
            }
        };
        let of = |name: &str| number(place(name));
        let mut per_class = [None; bones::COUNT];
        for (value, place) in per_class.iter_mut().zip(class_places) {
            *value = number(place)?;
        }
        epochs.push(Epoch {
            stage: place("stage").and_then(|p| record.get(p)).unwrap_or_default().to_owned(),
            epoch: of("epoch")?.unwrap_or_default() as usize,
            step: of("step")?.map(|s| s as u64),
            lr: of("lr")?,
            train_loss: of("train_loss")?,
            valid_loss: of("valid_loss")?,
            valid_dice: of("valid_dice")?,
            valid_dice_raw: of("valid_dice_raw")?,
            images_per_second: of("images_per_second")?,
            waiting: of("waiting")?,
            memory_mb: of("memory_mb")?,
            per_class,
        });
    }
    Ok(epochs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(files: &[(&str, &str)]) -> Run {
        let folder = tempfile::tempdir().unwrap();
        files.iter().for_each(|(name, text)| std::fs::write(folder.path().join(name), text).unwrap());
        Run::read(folder.path()).unwrap()
    }

    #[test]
    fn columns_are_found_by_name_and_may_lack() {
        let log = "valid_dice,epoch,stage,dice_Ulna,lr\n0.5,1,warm,0.25,1e-3\n0.75,2,main,,\n0.75,3,main,0.5,1e-4\n";
        let run = run(&[("config.toml", "epochs = 9\n[[stages]]\nepochs = 1\n[[stages]]\n"), ("metrics.csv", log)]);
        assert_eq!((run.epochs.len(), run.best(), run.epochs_asked()), (3, Some((2, 0.75)), Some(10)));
        assert_eq!((run.epochs[0].per_class[28], run.epochs[1].per_class[28]), (Some(0.25), None));
        assert_eq!((run.epochs[0].lr, run.epochs[1].lr, run.epochs[0].train_loss), (Some(1e-3), None, None));
        assert_eq!((run.epochs[0].stage.as_str(), run.held_out(), run.problems.len()), ("warm", None, 0));
    }

    #[test]
    fn a_torn_file_is_told_and_the_rest_is_read() {
        let run = run(&[
            ("config.toml", "[data]\nfold = 3\n"),
            ("metrics.csv", "epoch,lr\n1,fast\n"),
            ("summary.json", "{"),
            ("per_image_dice.csv", "image_id\n"),
        ]);
        assert_eq!(run.problems.len(), 3, "{:?}", run.problems);
        assert!(run.problems[0].contains("line 2, column lr: \"fast\""), "{:?}", run.problems);
        assert_eq!(run.setting("data.fold").and_then(Value::as_integer), Some(3));
        assert_eq!(run.setting("data.fold.x"), None);
    }
}
