use std::path::PathBuf;

use serde_json::json;

use super::{Status, Ui};
use crate::artefact::kind;
use crate::report;
use crate::runs::{Comparison, Difference, Estimate, Measure, Run, compare, find};

/// Scores of the held-out images that `carpus train` writes.
const PER_IMAGE_DICE: &str = "per_image_dice.csv";

/// List runs, compare them, report on one
#[derive(clap::Args, Debug)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
Example:
  carpus runs                                  # those in runs/
  carpus runs compare runs/fpn-fold* runs/fpn-ema-fold*
  carpus runs compare runs --scores band3_dice.csv   # by what `carpus evaluate --band 3` wrote in each
  carpus runs report runs/fpn-fold0            # writes runs/fpn-fold0/report.html

Runs whose configurations differ in fold and seed alone count as one experiment."
)]
pub struct Args {
    /// Folder of runs
    #[arg(default_value = "runs")]
    folder: PathBuf,
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(clap::Subcommand, Debug)]
enum What {
    /// Hold experiments against the first one: changed settings and the difference in mean Dice with its interval
    Compare(Compare),
    /// Write report.html of a run: curves, Dice by class, worst images, confusion, rim, configuration
    Report(Report),
}

#[derive(clap::Args, Debug)]
struct Compare {
    /// Runs, or folders of runs; the first run's experiment is what the others are held against
    #[arg(required = true)]
    runs: Vec<PathBuf>,
    /// Compare by these scores instead: a file in each run's folder that `carpus evaluate` wrote
    #[arg(long, value_name = "NAME", default_value = PER_IMAGE_DICE, hide_default_value = true)]
    scores: String,
}

#[derive(clap::Args, Debug)]
struct Report {
    /// Folder of the run
    run: PathBuf,
    /// Data folder if it is not where the configuration says
    #[arg(long)]
    data: Option<PathBuf>,
    /// Worst images that are drawn
    #[arg(long, value_name = "N", default_value_t = report::run::PICTURES)]
    pictures: usize,
}

/// Does one of the three.
pub fn run(args: Args, ui: &Ui) -> anyhow::Result<Status> {
    match args.what {
        None => list(&find(&args.folder)?, ui),
        Some(What::Compare(args)) => {
            let mut runs = Vec::new();
            for path in &args.runs {
                runs.extend(find(path)?);
            }
            if args.scores != PER_IMAGE_DICE {
                runs = runs.into_iter().map(|run| run.scored_by(&args.scores)).collect::<Result<_, _>>()?;
            }
            let comparison = compare(&runs)?;
            let status = tell_problems(&runs, ui);
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

fn list(runs: &[Run], ui: &Ui) -> anyhow::Result<Status> {
    let figure = |value: Option<f64>, decimals: usize| value.map_or("–".into(), |v| format!("{v:.decimals$}"));
    let setting = |run: &Run, key: &str| run.setting(key).map_or("–".into(), ToString::to_string);
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
            run.best().map_or("–".into(), |(epoch, dice)| format!("{dice:.4} ({epoch})")),
            figure(run.held_out(), 4),
            figure(run.images_per_second(), 1),
        ]);
    }
    if rows[1..].iter().all(|row| row[2].is_empty()) {
        rows.iter_mut().for_each(|row| drop(row.remove(2)));
    }
    print_columns(&rows, ui);
    let items: Vec<_> = runs
        .iter()
        .map(|run| {
            json!({
                "name": run.name, "path": run.path, "stages": stages(run), "epochs": run.epochs.len(),
                "epochs_asked": run.epochs_asked(),
                "fold": run.setting("data.fold").and_then(toml::Value::as_integer),
                "seed": run.setting("seed").and_then(toml::Value::as_integer),
                "best_epoch": run.best().map(|b| b.0), "best_dice": run.best().map(|b| b.1),
                "held_out_dice": run.held_out(), "images_per_second": run.images_per_second(),
                "finished": run.outcome.is_some(), "problems": run.problems,
            })
        })
        .collect();
    ui.json(&items)?;
    Ok(tell_problems(runs, ui))
}

fn tell_problems(runs: &[Run], ui: &Ui) -> Status {
    let problems: Vec<&String> = runs.iter().flat_map(|r| &r.problems).collect();
    problems.iter().for_each(|problem| ui.warn(problem));
    if problems.is_empty() { Status::Done } else { Status::DoneWithProblems }
}

fn show(comparison: &Comparison, scores: &str, ui: &Ui) {
    let dice = match comparison.measure {
        Measure::HeldOut if scores != PER_IMAGE_DICE => scores,
        Measure::HeldOut => "held-out Dice",
        Measure::ModelSize => "best Dice",
    };
    let mut rows = vec![vec!["experiment".to_owned(), "runs".to_owned()]];
    rows[0].extend(comparison.changed.iter().cloned());
    rows[0].extend([dice.to_owned(), "difference".to_owned()]);
    for (i, group) in comparison.groups.iter().enumerate() {
        let mut row = vec![group.name.clone(), group.runs.len().to_string()];
        row.extend(comparison.changed.iter().map(|key| match &group.settings[key] {
            Some(value) => value.clone(),
            None => "–".into(),
        }));
        let sd = group.sd_over_runs.map_or(String::new(), |sd| format!(" ± {sd:.4}"));
        row.push(group.mean_dice.map_or("–".into(), |dice| format!("{dice:.4}{sd}")));
        let difference = i.checked_sub(1).and_then(|i| comparison.differences[i].difference);
        row.push(difference.map_or(String::new(), |d| format!("{d:+.4}")));
        rows.push(row);
    }
    print_columns(&rows, ui);
    for Difference { group, over_runs, over_images, .. } in &comparison.differences {
        for (of, estimate) in [("over runs", over_runs), ("over images", over_images)] {
            let Some(Estimate { difference, ci, method }) = estimate else { continue };
            ui.line(format_args!("{group}, {of}: {difference:+.4} [{:+.4}, {:+.4}]  {method}", ci.low, ci.high));
        }
    }
    for remark in &comparison.remarks {
        ui.note(remark);
    }
}

/// Cells in columns as wide as their widest cell.
fn print_columns(rows: &[Vec<String>], ui: &Ui) {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    for row in rows {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        ui.line(cells.join("  ").trim_end());
    }
}
