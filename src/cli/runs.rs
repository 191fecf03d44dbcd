mod note;
mod subgroups;

use std::path::PathBuf;

use serde_json::json;

use super::{Status, Ui, columns};
use crate::artefact::kind;
use crate::report;
use crate::runs::{
    Comparison, Difference, Estimate, Leaderboard, Measure, NOISE_UNKNOWN, Run, RunError, RunGroup, RunListing,
    compare, find, noise_text, seed_noise,
};

/// Scores of the held-out images that `carpus train` writes.
const PER_IMAGE_DICE: &str = "per_image_dice.csv";

/// List training runs, compare them, keep leaderboard scores, or write a report of one
#[derive(clap::Args, Debug)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
Example:
  carpus runs                                  # the runs in runs/
  carpus runs compare runs/fpn-fold* runs/fpn-ema-fold*
  carpus runs report runs/fpn-fold0            # writes its report.html
  carpus runs note runs/fpn-fold0 --public .9728 --private .9729
  carpus runs subgroups runs/fpn-fold* --tables tables

Runs that differ only in fold and seed belong to one experiment. gap: validation Dice (of the held-out \
images, or else the best one) minus the leaderboard score that was added with `carpus runs note`."
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
    /// Keep leaderboard scores or a text with a run: `carpus runs` then shows the gap between validation and leaderboard
    Note(note::Note),
    /// Mean Dice by sex, rotation, age, height and fold, with 95 % confidence intervals over patients
    Subgroups(subgroups::SubgroupsArgs),
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

/// Lists runs, compares them, adds a note or writes a report.
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
        Some(What::Note(args)) => note::run(args, ui),
        Some(What::Subgroups(args)) => subgroups::run(args, ui),
        Some(What::Report(args)) => {
            ui.outputs().of_run(&args.run).file(&args.run.join("report.html"), &kind::PAGE)?;
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

/// A number with some decimals; a dash if there is none.
fn figure(value: Option<f64>, decimals: usize) -> String {
    value.map_or("–".into(), |v| format!("{v:.decimals$}"))
}

/// A difference with its sign; a dash if there is none.
fn signed(value: Option<f64>) -> String {
    value.map_or("–".into(), |v| format!("{v:+.4}"))
}

/// The columns of the leaderboards.
const BOARDS: [&str; 4] = ["public", "private", "gap public", "gap private"];

/// The cells of these columns.
fn board_cells(score: Leaderboard, gap: Leaderboard) -> [String; 4] {
    [figure(score.public, 4), figure(score.private, 4), signed(gap.public), signed(gap.private)]
}

/// Removes the columns `from` to `until` if they have no values.
fn without_empty(rows: &mut [Vec<String>], columns: std::ops::Range<usize>) {
    for column in columns.rev() {
        if rows[1..].iter().all(|row| matches!(row[column].as_str(), "" | "–")) {
            rows.iter_mut().for_each(|row| drop(row.remove(column)));
        }
    }
}

/// Prints the noise between seeds, or how it becomes known.
fn show_noise(noise: Option<&crate::stats::PooledSd>, ui: &Ui) {
    match noise {
        Some(noise) => ui.line(noise_text(noise)),
        None => ui.note(NOISE_UNKNOWN),
    }
}

fn list(RunListing { runs, skipped }: &RunListing, ui: &Ui) -> anyhow::Result<Status> {
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
    let first = ["run", "epochs", "stages", "fold", "seed", "best Dice", "held out"];
    let header = first.iter().chain(&BOARDS).chain(&["images/s"]);
    let mut rows = vec![header.map(|name| (*name).to_owned()).collect::<Vec<_>>()];
    for run in runs {
        let asked = run.epochs_asked().map_or(String::new(), |n| format!("/{n}"));
        let mut row = vec![
            run.name.clone(),
            format!("{}{asked}", run.epochs.len()),
            stages(run),
            setting(run, "data.fold"),
            setting(run, "seed"),
            run.best().map_or("–".into(), |best| format!("{:.4} ({})", best.dice, best.epoch)),
            figure(run.held_out(), 4),
        ];
        row.extend(board_cells(run.leaderboard(), run.leaderboard().gap(run.validation())));
        row.push(figure(run.images_per_second(), 1));
        rows.push(row);
    }
    without_empty(&mut rows, first.len()..first.len() + BOARDS.len());
    if rows[1..].iter().all(|row| row[2].is_empty()) {
        rows.iter_mut().for_each(|row| drop(row.remove(2)));
    }
    columns::print(&rows, ui);
    let noise = seed_noise(runs);
    show_noise(noise.as_ref(), ui);
    let items: Vec<_> = runs
        .iter()
        .map(|run| {
            json!({
                "name": run.name, "path": run.path, "stages": stages(run), "epochs": run.epochs.len(),
                "epochs_asked": run.epochs_asked(),
                "fold": run.setting("data.fold").and_then(toml::Value::as_integer),
                "seed": run.setting("seed").and_then(toml::Value::as_integer),
                "best_epoch": run.best().map(|b| b.epoch), "best_dice": run.best().map(|b| b.dice),
                "held_out_dice": run.held_out(), "leaderboard": run.leaderboard(),
                "gap": run.leaderboard().gap(run.validation()), "notes": run.notes, "seed_noise": noise,
                "images_per_second": run.images_per_second(),
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
    let first = ["experiment", "runs", dice, "difference"];
    let mut rows = vec![first.iter().chain(&BOARDS).map(|name| (*name).to_owned()).collect::<Vec<_>>()];
    for (i, group) in comparison.groups.iter().enumerate() {
        let sd = group.sd_over_runs.map_or(String::new(), |sd| format!(" ± {sd:.4}"));
        let mean = group.mean_dice.map_or("–".into(), |dice| format!("{dice:.4}{sd}"));
        let difference = i.checked_sub(1).map_or(String::new(), |i| comparison.differences[i].text());
        let mut row = vec![group.name.clone(), group.runs.len().to_string(), mean, difference];
        row.extend(board_cells(group.leaderboard, group.gap));
        rows.push(row);
    }
    without_empty(&mut rows, first.len()..first.len() + BOARDS.len());
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
    if !comparison.differences.is_empty() {
        show_noise(comparison.seed_noise.as_ref(), ui);
    }
    for Difference { group, over_runs, over_images, seed_noise, difference, .. } in &comparison.differences {
        if let (Some(noise), Some(difference)) = (seed_noise, difference) {
            let verdict = if noise.is_smaller { "smaller" } else { "not smaller" };
            ui.line(format_args!(
                "{group}, noise between seeds: {difference:+.4} compared with ±{:.4}: difference {verdict} than the noise between \
                 seeds",
                noise.bound
            ));
        }
        for (of, estimate) in [("over runs", over_runs), ("over images", over_images)] {
            let Some(Estimate { difference, ci, method }) = estimate else { continue };
            ui.line(format_args!("{group}, {of}: {difference:+.4} [{:+.4}, {:+.4}]  {method}", ci.low, ci.high));
        }
    }
    for note in &comparison.remarks {
        ui.note(note);
    }
}
