use std::path::PathBuf;

use serde_json::json;

use super::{Status, Ui, columns};
use crate::artefact::kind;
use crate::report;
use crate::runs::{Comparison, Difference, Estimate, Measure, Run, RunError, RunGroup, RunListing, compare, find};

/// Scores of the held-out images that `carpus train` writes.
const PER_IMAGE_DICE: &str = "per_image_dice.csv";

/// List training runs, compare them, or write a report of one
#[derive(clap::Args, Debug)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
Example:
  carpus runs                                  # the runs in runs/
  carpus runs compare runs/fpn-fold* runs/fpn-ema-fold*
  carpus runs report runs/fpn-fold0            # writes its report.html

Runs that differ only in fold and seed belong to one experiment."
)]
pub struct RunsArgs {
    /// Folder that holds the runs
    #[arg(default_value = "runs")]
    folder: PathBuf,
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(clap::Subcommand, Debug)]
enum What {
    /// Compare experiments with the first: changed settings, and mean difference in Dice with its 95 % confidence
    /// interval
    Compare(Compare),
    /// Write report.html of a run: learning curves, per-class Dice, worst images, confusion, errors at outlines,
    /// configuration
    Report(Report),
}

#[derive(clap::Args, Debug)]
#[command(after_help = "\
Example:
  carpus runs compare runs/fpn-fold* runs/fpn-ema-fold*
  carpus runs compare runs --scores band3_dice.csv

Paths that are not runs are skipped with a warning. --scores compares a file that \
`carpus evaluate` wrote into the folder of each run, for example with --band 3. The confidence \
interval over images resamples whole patients; held_out.csv of the run, or the folds file of its \
configuration, gives the patient of each image.")]
struct Compare {
    /// Runs, or folders of runs; the others are compared with the experiment of the first run
    #[arg(required = true)]
    runs: Vec<PathBuf>,
    /// Compare other scores: name of a file that `carpus evaluate` wrote into each run's folder
    #[arg(long, value_name = "NAME", default_value = PER_IMAGE_DICE, hide_default_value = true)]
    scores: String,
}

#[derive(clap::Args, Debug)]
#[command(after_help = "\
Example:
  carpus runs report runs/fpn-fold0
  carpus runs report runs/fpn-fold0 --data /mnt/data --pictures 10")]
struct Report {
    /// Folder of the run
    run: PathBuf,
    /// Data folder, if not the one in the run's configuration
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Number of worst images to draw
    #[arg(long, value_name = "N", default_value_t = report::run::PICTURES)]
    pictures: usize,
}

/// Lists runs, compares them or writes a report.
pub fn run(args: RunsArgs, ui: &Ui) -> anyhow::Result<Status> {
    match args.what {
        None => list(&find(&[args.folder])?, ui),
        Some(What::Compare(args)) => {
            let RunListing { mut runs, skipped } = find(&args.runs)?;
            if args.scores != PER_IMAGE_DICE {
                runs = runs.into_iter().map(|run| run.scored_by(&args.scores)).collect::<Result<_, _>>()?;
            }
            let comparison = compare(&runs)?;
            let status = warn(&runs, &skipped, ui);
            comparison.warnings.iter().for_each(|warning| ui.warn(warning));
            show(&comparison, &args.scores, ui);
            ui.json(&comparison)?;
            Ok(status)
        }
        Some(What::Report(args)) => {
            ui.outputs().file(&args.run.join("report.html"), &kind::PAGE)?;
            let written = report::run::write(&args.run, args.data.as_deref(), args.pictures, ui)?;
            for note in &written.notes {
                ui.warn(note);
            }
            ui.line(format_args!("report: {}", written.page.display()));
            ui.json(&written)?;
            Ok(if written.notes.is_empty() { Status::Done } else { Status::DoneWithProblems })
        }
    }
}

fn list(RunListing { runs, skipped }: &RunListing, ui: &Ui) -> anyhow::Result<Status> {
    let figure = |value: Option<f64>, decimals: usize| value.map_or("–".into(), |v| format!("{v:.decimals$}"));
    let setting = |run: &Run, key: &str| match run.setting(key) {
        Some(toml::Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
        None => "–".into(),
    };
    let stages = |run: &Run| {
        let names: Vec<&str> = run.epochs.iter().map(|e| e.stage.as_str()).collect();
        let mut names: Vec<&str> = names.into_iter().filter(|n| !n.is_empty()).collect();
        names.dedup();
        names.join(" ")
    };
    let mut rows = vec![
        ["run", "epochs", "stages", "fold", "seed", "best Dice", "held out", "images/s"].map(str::to_owned).to_vec(),
    ];
    for run in runs {
        let asked = run.epochs_asked().map_or(String::new(), |n| format!("/{n}"));
        rows.push(vec![
            run.name.clone(),
            format!("{}{asked}", run.epochs.len()),
            stages(run),
            setting(run, "data.fold"),
            setting(run, "seed"),
            run.best().map_or("–".into(), |best| format!("{:.4} ({})", best.dice, best.epoch)),
            figure(run.held_out(), 4),
            figure(run.images_per_second(), 1),
        ]);
    }
    if rows[1..].iter().all(|row| row[2].is_empty()) {
        rows.iter_mut().for_each(|row| drop(row.remove(2)));
    }
    columns::print(&rows, ui);
    let items: Vec<_> = runs
        .iter()
        .map(|run| {
            json!({
                "name": run.name, "path": run.path, "stages": stages(run), "epochs": run.epochs.len(),
                "epochs_asked": run.epochs_asked(),
                "fold": run.setting("data.fold").and_then(toml::Value::as_integer),
                "seed": run.setting("seed").and_then(toml::Value::as_integer),
                "best_epoch": run.best().map(|b| b.epoch), "best_dice": run.best().map(|b| b.dice),
                "held_out_dice": run.held_out(), "images_per_second": run.images_per_second(),
                "finished": run.summary.is_some(), "problems": run.problems,
            })
        })
        .collect();
    ui.json(&items)?;
    Ok(warn(runs, skipped, ui))
}

/// Warns about paths that are not runs and about files of runs that cannot be read.
fn warn(runs: &[Run], skipped: &[RunError], ui: &Ui) -> Status {
    skipped.iter().for_each(|error| ui.warn(format_args!("skipped: {error}")));
    runs.iter().flat_map(|run| &run.problems).for_each(|problem| ui.warn(problem));
    let clean = skipped.is_empty() && runs.iter().all(|run| run.problems.is_empty());
    if clean { Status::Done } else { Status::DoneWithProblems }
}

fn show(comparison: &Comparison, scores: &str, ui: &Ui) {
    let dice = match comparison.measure {
        Measure::HeldOut if scores != PER_IMAGE_DICE => scores,
        Measure::HeldOut => "held-out Dice",
        Measure::ModelSize => "best Dice",
    };
    let mut rows = vec![["experiment", "runs", dice, "difference"].map(str::to_owned).to_vec()];
    for (i, group) in comparison.groups.iter().enumerate() {
        let sd = group.sd_over_runs.map_or(String::new(), |sd| format!(" ± {sd:.4}"));
        let mean = group.mean_dice.map_or("–".into(), |dice| format!("{dice:.4}{sd}"));
        let difference = i.checked_sub(1).map_or(String::new(), |i| comparison.differences[i].text());
        rows.push(vec![group.name.clone(), group.runs.len().to_string(), mean, difference]);
    }
    columns::print(&rows, ui);
    if !comparison.changed.is_empty() {
        let value = |group: &RunGroup, key: &String| group.settings[key].clone().unwrap_or_else(|| "–".into());
        let row = |first: &str, cell: &dyn Fn(&RunGroup) -> String| {
            std::iter::once(first.to_owned()).chain(comparison.groups.iter().map(cell)).collect::<Vec<_>>()
        };
        let mut rows = vec![row("setting", &|group| group.name.clone())];
        rows.extend(comparison.changed.iter().map(|key| row(key, &|group| value(group, key))));
        ui.line("");
        columns::print(&rows, ui);
        ui.line("");
    }
    for Difference { group, over_runs, over_images, .. } in &comparison.differences {
        for (of, estimate) in [("over runs", over_runs), ("over images", over_images)] {
            let Some(Estimate { difference, ci, method }) = estimate else { continue };
            ui.line(format_args!("{group}, {of}: {difference:+.4} [{:+.4}, {:+.4}]  {method}", ci.low, ci.high));
        }
    }
    for note in &comparison.remarks {
        ui.note(note);
    }
}
