//! Several folds, trained one after another, and the scores of their held-out images together.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use std::sync::atomic::AtomicBool;

use serde::Serialize;

use super::data::read_folds;
use super::{Experiment, ExperimentError, Observer, RunRole, dice_summary, phantom, write_json};
use crate::artefact::write_atomically;
use crate::bounded::Csv;
use crate::dataset::{Dataset, image_id};
use crate::runs::RunSummary;
use crate::scores::{self, DiceSummary, ImageScore};
use crate::train::{Fold, TrainConfig};

/// The folds to train: `all`, or numbers joined by commas.
#[derive(Clone, Debug, PartialEq)]
pub enum Folds {
    /// Every fold of the folds file.
    All,
    /// The folds with these numbers.
    Some(Vec<u32>),
}

impl FromStr for Folds {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "all" {
            return Ok(Folds::All);
        }
        let numbers = text.split(',').map(|n| n.trim().parse::<u32>());
        let mut folds: Vec<u32> =
            numbers.collect::<Result<_, _>>().map_err(|_| format!("{text:?}; expected all, or numbers as in 0,2"))?;
        folds.sort_unstable();
        folds.dedup();
        Ok(Folds::Some(folds))
    }
}

/// Summary of one fold.
#[derive(Clone, Debug, Serialize)]
pub struct FoldSummary {
    /// Number of the fold.
    pub fold: u32,
    /// Folder of its run.
    pub run: PathBuf,
    /// Number of held-out images.
    pub images: usize,
    /// Number of the best epoch, from 1.
    pub best_epoch: Option<usize>,
    /// Mean validation Dice of the best epoch at the model's size, 0 to 1.
    pub best_dice_at_model_size: Option<f64>,
    /// Mean Dice of the held-out images at their original size, 0 to 1.
    pub mean_dice: f64,
}

/// `summary.json` of several folds.
#[derive(Clone, Debug, Serialize)]
pub struct FoldsSummary {
    /// Folder of the out-of-fold predictions.
    #[serde(skip)]
    pub folder: PathBuf,
    /// Each fold.
    pub folds: Vec<FoldSummary>,
    /// Mean Dice over the folds.
    pub mean: f64,
    /// Standard deviation over the folds; absent for one fold.
    pub sd: Option<f64>,
    /// Dice of all images, each predicted by the run that held it out.
    pub out_of_fold: DiceSummary,
}

impl Experiment {
    /// Trains each fold as the run `NAME-foldK` and collects the out-of-fold predictions in `NAME-folds`. With
    /// [`Existing::Resume`](super::Existing::Resume) finished folds are skipped, also those that another process
    /// trained. `None` if it was asked to stop.
    ///
    /// # Errors
    /// A fold is not in the folds file, `evaluate` is false, or one of [`Experiment::run_fold`].
    pub fn run_folds(
        &self,
        folds: &Folds,
        stop: &AtomicBool,
        observer: &dyn Observer,
    ) -> Result<Option<FoldsSummary>, ExperimentError> {
        let config = &self.config;
        if !config.evaluate {
            return Err(ExperimentError::NotEvaluated);
        }
        let prepared = if phantom::is_used(config) { phantom::prepare(config, observer)? } else { config.clone() };
        let mut found: Vec<u32> = read_folds(&prepared)?.iter().map(|row| row.fold).collect();
        found.sort_unstable();
        found.dedup();
        let folds = match folds {
            Folds::All => found,
            Folds::Some(folds) => match folds.iter().find(|f| !found.contains(f)) {
                Some(fold) => {
                    let path = prepared.data.folds;
                    return Err(ExperimentError::NoFold { fold: *fold, path, found });
                }
                None => folds.clone(),
            },
        };
        let name = config.output.name.clone().unwrap_or_else(|| self.default_name());
        let mut runs = Vec::new();
        for fold in folds {
            observer.result(&format!("fold {fold}"));
            let mut of_fold = config.clone();
            of_fold.data.fold = Fold::Number(fold);
            of_fold.output.name = Some(format!("{name}-fold{fold}"));
            let Some(summary) = self.train_fold(of_fold, RunRole::Member, stop, observer)? else { return Ok(None) };
            runs.push((fold, summary));
        }
        collect(&prepared, &config.output.runs.join(format!("{name}-folds")), runs).map(Some)
    }
}

fn collect(config: &TrainConfig, folder: &Path, runs: Vec<(u32, RunSummary)>) -> Result<FoldsSummary, ExperimentError> {
    let place: HashMap<String, usize> =
        Dataset::open(&config.data.root)?.images().iter().map(|e| e.image_id.clone()).zip(0..).collect();
    let mut all: Vec<ImageScore> = Vec::new();
    let mut lines: Vec<csv::StringRecord> = Vec::new();
    let mut folds = Vec::new();
    for (fold, summary) in runs {
        let run = &summary.run;
        let of_fold = scores::read_scores(&run.join("per_image_dice.csv"))?;
        let of_run = dice_summary(config, &of_fold);
        folds.push(FoldSummary {
            fold,
            run: run.clone(),
            images: of_run.images,
            best_epoch: summary.best_epoch,
            best_dice_at_model_size: summary.best_dice_at_model_size,
            mean_dice: of_run.mean_dice,
        });
        all.extend(of_fold);
        let path = run.join("predictions.csv");
        let wrong = |e: csv::Error| ExperimentError::Content { path: path.clone(), reason: e.to_string() };
        let mut reader = Csv::open_masks(&path).map_err(wrong)?;
        for record in reader.records() {
            lines.push(record.map_err(wrong)?);
        }
    }
    // Images are in the order of the data for any folds. Classes keep their order because the sort is stable.
    let at = |image: &str| place.get(image).copied().unwrap_or(usize::MAX);
    all.sort_by_key(|score| at(&score.image_id));
    lines.sort_by_key(|line| at(&image_id(line.get(0).unwrap_or_default())));
    let path = folder.join("predictions.csv");
    write_atomically(&path, |out| {
        let mut csv = csv::Writer::from_writer(out);
        csv.write_record(["image_name", "class", "rle"])?;
        lines.iter().try_for_each(|line| csv.write_record(line))?;
        csv.flush()
    })
    .map_err(|source| ExperimentError::Io { path: path.clone(), source })?;
    scores::write_scores(&folder.join("per_image_dice.csv"), &all)?;
    let means: Vec<f64> = folds.iter().map(|f| f.mean_dice).collect();
    let n = means.len() as f64;
    let mean = means.iter().sum::<f64>() / n;
    let sd = (means.len() > 1).then(|| (means.iter().map(|m| (m - mean).powi(2)).sum::<f64>() / (n - 1.0)).sqrt());
    let together = FoldsSummary { folder: folder.into(), folds, mean, sd, out_of_fold: dice_summary(config, &all) };
    write_json(&folder.join("summary.json"), &together)?;
    Ok(together)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folds_are_all_or_numbers() {
        assert_eq!("all".parse(), Ok(Folds::All));
        assert_eq!("2, 0,2".parse(), Ok(Folds::Some(vec![0, 2])));
        assert!("0,x".parse::<Folds>().unwrap_err().contains("as in 0,2"));
    }
}
