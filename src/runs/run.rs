use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::{HELD_OUT, RunError, RunSummary};
use crate::bounded;
use crate::scores::{ImageScore, read_scores};
use crate::tables::{EpochRow, HeldOutRow, read_csv};

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
    pub epochs: Vec<EpochRow>,
    /// How it ended; absent while it has not.
    pub summary: Option<RunSummary>,
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
        let (mut epochs, mut summary, mut scores, mut patients) = (Vec::new(), None, Vec::new(), HashMap::new());
        let file = path.join("metrics.csv");
        if file.is_file() {
            kept(read_csv(&file).map(|read| epochs = read).map_err(RunError::from));
        }
        let file = path.join(RunSummary::FILE);
        if file.is_file() {
            kept(RunSummary::read(&file).map(|read| summary = Some(read)));
        }
        let file = path.join("per_image_dice.csv");
        if file.is_file() {
            let read = read_scores(&file).map_err(|e| RunError::Content { path: file, reason: e.to_string() });
            kept(read.map(|read| scores = read));
        }
        let file = path.join(HELD_OUT);
        if file.is_file() {
            let read = read_csv::<HeldOutRow>(&file).map_err(RunError::from);
            kept(read.map(|rows| patients.extend(rows.into_iter().map(|row| (row.image_id, row.patient_id)))));
        }
        let name = path.canonicalize().unwrap_or_else(|_| path.into());
        let name = name.file_name().map_or_else(|| path.display().to_string(), |n| n.to_string_lossy().into_owned());
        Ok(Run { name, path: path.into(), config, epochs, summary, scores, patients, problems })
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
        let logged = self.epochs.iter().enumerate().map(|(i, e)| (i + 1, e.valid_dice));
        // The first of equals, as the trainer keeps it.
        let logged = logged.fold(None, |best: Option<(usize, f64)>, e| best.filter(|b| b.1 >= e.1).or(Some(e)));
        self.summary.as_ref().map(|o| (o.best_epoch, o.best_dice_at_model_size)).or(logged)
    }

    /// Mean Dice of the held-out images at their own size.
    pub fn held_out(&self) -> Option<f64> {
        let of_scores = || self.scores.iter().map(ImageScore::mean).sum::<f64>() / self.scores.len() as f64;
        let summarised = self.summary.as_ref().and_then(|o| o.held_out.as_ref()).map(|s| s.mean_dice);
        if self.scores.is_empty() { summarised } else { Some(of_scores()) }
    }

    /// Median of the epochs' training images a second.
    pub fn images_per_second(&self) -> Option<f64> {
        let rates: Vec<f64> = self.epochs.iter().map(|e| e.images_per_second).collect();
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
pub struct RunListing {
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
pub fn find(paths: &[PathBuf]) -> Result<RunListing, RunError> {
    let mut found = RunListing::default();
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables::write_csv;

    fn run(files: &[(&str, &str)]) -> Run {
        let folder = tempfile::tempdir().unwrap();
        files.iter().for_each(|(name, text)| std::fs::write(folder.path().join(name), text).unwrap());
        Run::read(folder.path()).unwrap()
    }

    #[test]
    fn the_first_of_the_best_epochs_counts() {
        let folder = tempfile::tempdir().unwrap();
        let config = "epochs = 9\n[[stages]]\nepochs = 1\n[[stages]]\n";
        std::fs::write(folder.path().join("config.toml"), config).unwrap();
        let row = |epoch, valid_dice| EpochRow { epoch, valid_dice, dice: vec![0.5; 29], ..EpochRow::default() };
        write_csv(&folder.path().join("metrics.csv"), &[row(1, 0.5), row(2, 0.75), row(3, 0.75)]).unwrap();
        let run = Run::read(folder.path()).unwrap();
        assert_eq!((run.epochs.len(), run.best(), run.epochs_asked()), (3, Some((2, 0.75)), Some(10)));
        assert_eq!((run.held_out(), run.problems.len()), (None, 0));
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
        assert!(
            run.problems[0].contains("metrics.csv") && run.problems[0].contains("no column `stage`"),
            "{:?}",
            run.problems
        );
        assert_eq!(run.setting("data.fold").and_then(Value::as_integer), Some(3));
        assert_eq!(run.setting("data.fold.x"), None);
    }
}
