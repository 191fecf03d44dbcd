use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::note::current_notes;
use super::{HELD_OUT, Leaderboard, RunError, RunNote, RunSummary};
use crate::bounded;
use crate::scores::{ImageScore, read_scores};
use crate::tables::{EpochRow, HeldOutRow, read_csv};

/// The files of a training run.
#[derive(Clone, Debug)]
pub struct Run {
    /// Name of the folder.
    pub name: String,
    /// The folder.
    pub path: PathBuf,
    /// Configuration with all defaults.
    pub config: Table,
    /// Log by epoch.
    pub epochs: Vec<EpochRow>,
    /// Summary; absent until the run has ended.
    pub summary: Option<RunSummary>,
    /// Dice of the held-out images; empty if they were not scored.
    pub scores: Vec<ImageScore>,
    /// Whether `per_image_dice.csv` exists but has no usable scores. The mean of the summary is then not used either.
    pub scores_unusable: bool,
    /// Patient of each held-out image; empty in runs of versions that did not write it.
    pub patients: HashMap<String, String>,
    /// Notes that were added with `carpus runs note`, without scores of an earlier training in this folder.
    pub notes: Vec<RunNote>,
    /// One sentence per file that exists but cannot be read.
    pub problems: Vec<String>,
}

/// The epoch of a run with the best validation Dice.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BestEpoch {
    /// Its number over all stages, from 1.
    pub epoch: usize,
    /// Its Dice at the model's input size.
    pub dice: f64,
}

impl Run {
    /// Reads a folder. Only the configuration is required; any other file that cannot be read becomes a problem.
    ///
    /// # Errors
    /// `config.toml` is missing, cannot be read, or is not valid TOML.
    pub fn read(path: &Path) -> Result<Run, RunError> {
        let file = path.join("config.toml");
        if !file.is_file() {
            return Err(RunError::NoConfig { path: path.into() });
        }
        let text = bounded::read_text(&file, bounded::MAX_CONFIG)
            .map_err(|source| RunError::Io { path: file.clone(), source })?;
        let config =
            text.parse().map_err(|e: toml::de::Error| RunError::Content { path: file, reason: e.to_string() })?;
        let (mut problems, mut scores_unusable) = (Vec::new(), false);
        let mut record = |result: Result<(), RunError>| problems.extend(result.err().map(|e| e.to_string()));
        let (mut epochs, mut summary, mut scores, mut patients) = (Vec::new(), None, Vec::new(), HashMap::new());
        let file = path.join("metrics.csv");
        if file.is_file() {
            record(read_csv(&file).map(|read| epochs = read).map_err(RunError::from));
        }
        let file = path.join(RunSummary::FILE);
        if file.is_file() {
            record(RunSummary::read(&file).map(|read| summary = Some(read)));
        }
        let file = path.join("per_image_dice.csv");
        if file.is_file() {
            record(read_some_scores(&file).map(|read| scores = read));
            scores_unusable = scores.is_empty();
        }
        let file = path.join(HELD_OUT);
        if file.is_file() {
            let read = read_csv::<HeldOutRow>(&file).map_err(RunError::from);
            record(read.map(|rows| patients.extend(rows.into_iter().map(|row| (row.image_id, row.patient_id)))));
        }
        let mut notes = Vec::new();
        match current_notes(path) {
            Ok((current, outdated)) => {
                notes = current;
                problems.extend(outdated);
            }
            Err(error) => problems.push(error.to_string()),
        }
        let name = path.canonicalize().unwrap_or_else(|_| path.into());
        let name = name.file_name().map_or_else(|| path.display().to_string(), |n| n.to_string_lossy().into_owned());
        Ok(Run { name, path: path.into(), config, epochs, summary, scores, scores_unusable, patients, notes, problems })
    }

    /// The same run with scores from the file `name` in its folder, as `carpus evaluate` writes it, and without leaderboard
    /// scores, which they cannot be compared with.
    ///
    /// # Errors
    /// The file is missing or has no usable scores.
    pub fn scored_by(mut self, name: &str) -> Result<Run, RunError> {
        let file = self.path.join(name);
        if !file.is_file() {
            let reason = format!(
                "no such file; `carpus evaluate --predictions {} --data DATA --out {}` writes it (with --band PX: Dice near the \
                 outlines)",
                self.path.join("predictions.csv").display(),
                file.display()
            );
            return Err(RunError::Content { path: file, reason });
        }
        self.scores = read_some_scores(&file)?;
        self.scores_unusable = false;
        // The leaderboard's Dice is not of this kind.
        self.notes.clear();
        Ok(self)
    }

    /// A setting by its dotted key; `None` if the configuration does not have it.
    pub fn setting(&self, key: &str) -> Option<&Value> {
        let mut parts = key.split('.');
        let first = self.config.get(parts.next()?)?;
        parts.try_fold(first, |value, part| value.get(part))
    }

    /// Whether the run holds out a fold; without one it has no scores (`data.fold = "none"`).
    pub fn holds_out_fold(&self) -> bool {
        self.setting("data.fold").is_none_or(|fold| fold.as_str() != Some("none"))
    }

    /// The epoch with the best validation Dice; `None` without scores.
    pub fn best(&self) -> Option<BestEpoch> {
        let scored = |(row, epoch): (&EpochRow, usize)| Some(BestEpoch { epoch, dice: row.valid_dice? });
        let logged = self.epochs.iter().zip(1..).filter_map(scored);
        // Of equal epochs the first, as in training.
        let logged = logged.fold(None, |best: Option<BestEpoch>, e| best.filter(|b| b.dice >= e.dice).or(Some(e)));
        let of_summary = |o: &RunSummary| Some(BestEpoch { epoch: o.best_epoch?, dice: o.best_dice_at_model_size? });
        self.summary.as_ref().and_then(of_summary).or(logged)
    }

    /// Mean Dice of the held-out images at original size. It is that of the summary if `per_image_dice.csv` does not
    /// exist or the run is a specialist, whose mean is that of its bones, and `None` if the file exists but cannot be used.
    pub fn held_out(&self) -> Option<f64> {
        let of_scores = || self.scores.iter().map(ImageScore::mean).sum::<f64>() / self.scores.len() as f64;
        let of_summary = || self.summary.as_ref().and_then(|o| o.held_out.as_ref()).map(|s| s.mean_dice);
        match self.scores[..] {
            [] if self.scores_unusable => None,
            [] => of_summary(),
            _ if self.setting("specialist").is_some() => of_summary(),
            _ => Some(of_scores()),
        }
    }

    /// The Dice that the run promises: that of the held-out images at original size, or else the best of the validation at
    /// the model's input size.
    pub fn validation(&self) -> Option<f64> {
        self.held_out().or_else(|| self.best().map(|best| best.dice))
    }

    /// The noted leaderboard scores.
    pub fn leaderboard(&self) -> Leaderboard {
        Leaderboard::of(&self.notes)
    }

    /// Median over the epochs of training images per second.
    pub fn images_per_second(&self) -> Option<f64> {
        let rates: Vec<f64> = self.epochs.iter().map(|e| e.images_per_second).collect();
        crate::stats::summary(&rates).map(|s| s.median)
    }

    /// Number of epochs in the configuration, over all stages.
    pub fn epochs_asked(&self) -> Option<usize> {
        let number = |value: &Value| value.as_integer().and_then(|n| usize::try_from(n).ok());
        let base = self.config.get("epochs").and_then(number);
        match self.config.get("stages").and_then(Value::as_array).filter(|s| !s.is_empty()) {
            Some(stages) => stages.iter().map(|s| s.get("epochs").map_or(base, number)).sum(),
            None => base,
        }
    }
}

/// The runs found at some paths, and the paths without a run.
#[derive(Debug, Default)]
pub struct RunListing {
    /// Each run once.
    pub runs: Vec<Run>,
    /// Paths that are neither a run nor a folder of runs, and runs whose configuration cannot be read.
    pub skipped: Vec<RunError>,
}

/// The runs at these paths. For a folder of runs, these are all runs in it, in the order of their names. Paths without a run,
/// which a shell pattern (`runs/fpn-fold*`) may include, are skipped.
///
/// # Errors
/// A path does not exist, or there is no run.
pub fn find(paths: &[PathBuf]) -> Result<RunListing, RunError> {
    let mut found = RunListing::default();
    let mut known = HashSet::new();
    for path in paths {
        match run_folders(path) {
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

/// The folder itself if it is a run, otherwise the runs in it, in the order of their names.
fn run_folders(path: &Path) -> Result<Vec<PathBuf>, RunError> {
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

/// Reads the scores of at least one image.
fn read_some_scores(file: &Path) -> Result<Vec<ImageScore>, RunError> {
    let scores = read_scores(file)?;
    if scores.is_empty() {
        let reason = "no rows; `carpus evaluate` writes one row per image".into();
        return Err(RunError::Content { path: file.into(), reason });
    }
    Ok(scores)
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
    fn of_equal_best_epochs_the_first_counts() {
        let folder = tempfile::tempdir().unwrap();
        let config = "epochs = 9\n[[stages]]\nepochs = 1\n[[stages]]\n";
        std::fs::write(folder.path().join("config.toml"), config).unwrap();
        let row = |epoch, valid_dice| EpochRow {
            epoch,
            valid_dice: Some(valid_dice),
            dice: vec![0.5; 29],
            ..EpochRow::default()
        };
        write_csv(&folder.path().join("metrics.csv"), &[row(1, 0.5), row(2, 0.75), row(3, 0.75)]).unwrap();
        let run = Run::read(folder.path()).unwrap();
        assert_eq!(
            (run.epochs.len(), run.best(), run.epochs_asked()),
            (3, Some(BestEpoch { epoch: 2, dice: 0.75 }), Some(10))
        );
        assert_eq!((run.held_out(), run.problems.len()), (None, 0));
    }

    #[test]
    fn a_damaged_file_is_reported_and_the_others_are_read() {
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

    #[test]
    fn unusable_scores_are_not_replaced_by_the_summary() {
        let summary = r#"{"run": "r", "best_epoch": 1, "best_dice_at_model_size": 0.9, "stopped_early": false,
            "training_images": 6, "validation_images": 2, "images_left_out": 0, "seconds": 1.0, "held_out": {"images": 2,
            "mean_dice": 0.87, "sd_over_images": null, "per_class": {}, "worst_images": []}}"#;
        let header = "image_id,".to_owned() + &crate::bones::NAMES.join(",");
        let row = |cell: &str| format!("image1{}\n", format!(",{cell}").repeat(crate::bones::COUNT));
        let of = |scores: Option<String>| {
            let mut files = vec![("config.toml", ""), ("summary.json", summary)];
            files.extend(scores.as_deref().map(|text| ("per_image_dice.csv", text)));
            run(&files)
        };
        assert_eq!(of(None).held_out(), Some(0.87));
        assert_eq!(of(Some(format!("{header}\n{}", row("0.5")))).held_out(), Some(0.5));
        for (text, reason) in [
            (format!("{header}\n"), "no rows"),
            (format!("{header}\n{}", row("nan")), "\"nan\" is not a Dice score"),
            (format!("{header}\n{}{}", row("0.5"), row("0.5")), "occurs twice"),
        ] {
            let run = of(Some(text));
            assert_eq!((run.held_out(), run.scores_unusable), (None, true), "{reason}");
            assert!(run.problems.len() == 1 && run.problems[0].contains(reason), "{:?}", run.problems);
        }
    }
}
