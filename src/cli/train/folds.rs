//! Several folds one after another, and what their held-out images say together.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, bail};
use serde::Serialize;

use super::{Args, RunSummary, Status, phantom, run_fold, write_json};
use crate::artefact::write_atomically;
use crate::bounded::Csv;
use crate::cli::Ui;
use crate::config::train::TrainConfig;
use crate::dataset::{Dataset, image_id};
use crate::scores::{self, ImageScore, Summary};
use crate::tables::{self, FoldRow};
use crate::wording::counted;

/// `all`, or numbers joined by commas.
#[derive(Clone, Debug, PartialEq)]
pub enum Folds {
    /// Every fold of the file.
    All,
    /// These.
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

#[derive(Serialize)]
struct FoldSummary {
    fold: u32,
    run: PathBuf,
    images: usize,
    best_epoch: usize,
    best_dice_at_model_size: f64,
    mean_dice: f64,
}

/// What `summary.json` of all folds holds.
#[derive(Serialize)]
struct Together {
    folds: Vec<FoldSummary>,
    /// Over folds.
    mean: f64,
    /// Over folds; absent for one.
    sd: Option<f64>,
    /// Every image scored by the run that held it out.
    out_of_fold: Summary,
}

/// Trains each fold as `NAME-foldK` and collects the out-of-fold predictions in `NAME-folds`. With `--resume` a fold that is
/// done is passed over, also one that another process trained.
pub fn run(args: &Args, folds: &Folds, config: &TrainConfig, stem: &str, ui: &Ui) -> anyhow::Result<Status> {
    if !config.evaluate {
        bail!("evaluate = false leaves no held-out predictions to collect; train the folds one by one with --fold");
    }
    let prepared = if phantom::is_meant(config) { phantom::prepare(config, ui)? } else { config.clone() };
    let rows: Vec<FoldRow> = tables::read(&prepared.data.folds).context("`carpus split` writes the folds")?;
    let mut found: Vec<u32> = rows.iter().map(|r| r.fold).collect();
    found.sort_unstable();
    found.dedup();
    let folds = match folds {
        Folds::All => found,
        Folds::Some(folds) => match folds.iter().find(|f| !found.contains(f)) {
            Some(fold) => bail!("there is no fold {fold}; {} has folds {found:?}", prepared.data.folds.display()),
            None => folds.clone(),
        },
    };
    let name = config.output.name.clone().unwrap_or_else(|| stem.to_owned());
    let mut status = Status::Done;
    let mut runs = Vec::new();
    for fold in folds {
        ui.line(format_args!("fold {fold}"));
        let mut of_fold = config.clone();
        of_fold.data.fold = fold;
        of_fold.output.name = Some(format!("{name}-fold{fold}"));
        let (ended, summary) = run_fold(args, of_fold, true, ui)?;
        let Some(summary) = summary else { return Ok(ended) };
        if ended != Status::Done {
            status = ended;
        }
        runs.push((fold, summary));
    }
    let folder = config.output.runs.join(format!("{name}-folds"));
    let together = collect(&prepared, &folder, runs)?;
    ui.line("fold  images  best epoch  Dice at the model's size  Dice at the images' size");
    for fold in &together.folds {
        ui.line(format_args!(
            "{:>4}  {:>6}  {:>10}  {:>24.4}  {:>24.4}",
            fold.fold, fold.images, fold.best_epoch, fold.best_dice_at_model_size, fold.mean_dice
        ));
    }
    let sd = together.sd.map(|sd| format!(" ± {sd:.4} (sd over folds)")).unwrap_or_default();
    ui.line(format_args!(
        "mean {:.4}{sd}; out of fold over {} {:.4} -> {}",
        together.mean,
        counted(together.out_of_fold.images, "image", "images"),
        together.out_of_fold.mean_dice,
        folder.display()
    ));
    ui.json(&together)?;
    Ok(status)
}

fn collect(config: &TrainConfig, folder: &Path, runs: Vec<(u32, RunSummary)>) -> anyhow::Result<Together> {
    let place: HashMap<String, usize> =
        Dataset::open(&config.data.root)?.images().iter().map(|e| e.image_id.clone()).zip(0..).collect();
    let mut all: Vec<ImageScore> = Vec::new();
    let mut lines: Vec<csv::StringRecord> = Vec::new();
    let mut folds = Vec::new();
    for (fold, summary) in runs {
        let run = &summary.run;
        let of_fold = scores::read_scores(&run.join("per_image_dice.csv"))?;
        let of_run = Summary::of(&of_fold);
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
        let mut reader = Csv::open_masks(&path).with_context(|| path.display().to_string())?;
        for record in reader.records() {
            lines.push(record.with_context(|| path.display().to_string())?);
        }
    }
    // In the order of the data, whatever the folds; classes keep theirs, the sort being stable.
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
    .with_context(|| path.display().to_string())?;
    scores::write_scores(&folder.join("per_image_dice.csv"), &all)?;
    let means: Vec<f64> = folds.iter().map(|f| f.mean_dice).collect();
    let n = means.len() as f64;
    let mean = means.iter().sum::<f64>() / n;
    let sd = (means.len() > 1).then(|| (means.iter().map(|m| (m - mean).powi(2)).sum::<f64>() / (n - 1.0)).sqrt());
    let together = Together { folds, mean, sd, out_of_fold: Summary::of(&all) };
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
