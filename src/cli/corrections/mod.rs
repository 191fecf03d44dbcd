//! `carpus corrections`: adds decisions to a corrections file, checks and counts them, and undoes them.

mod add;
mod flags;
mod shapes;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, bail, ensure};
use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;
use serde_json::json;

use super::data::{read_corrections, warn_all};
use super::{Status, Ui};
use crate::artefact::{OutputError, kind};
use crate::audit;
use crate::dataset::corrections::{Action, Corrections, Decision, Relabel, State, Target, append};
use crate::dataset::{Dataset, Problem};
use crate::wording::counted;

/// Record decisions about images, shapes and patients in a corrections file
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Example:
  carpus corrections add --data data --image image1661130828152_R \\
      --action exclude --reason ring
  carpus corrections shapes --data data \\
      --image image1661130828152_R    # numbers for --shape
  carpus corrections add --data data --image image1661130828152_R \\
      --action relabel --swap Pisiform,Trapezoid --reason 'labels exchanged'
  carpus corrections add --from audit --check bright_pixels --top 20 \\
      --action exclude
  carpus corrections check --data data
  carpus corrections undo 3 --reason 'the ring is outside the hand'

The file holds one JSON object per line; `carpus list corrections` prints the schema. The commands
that read data take it by --corrections FILE.")]
pub struct CorrectionsArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand, Debug)]
enum What {
    Add(Box<add::CorrectionsAddArgs>),
    /// Find bad lines, contradictions and, with the data, decisions that do not fit it; exit code 3 if there are any
    Check(Check),
    Shapes(shapes::CorrectionsShapesArgs),
    /// Count decisions by action, author and day
    Stats(Stats),
    Undo(Undo),
}

/// The file where none is given.
const DEFAULT: &str = "corrections.jsonl";

// The file, as an argument or as the flag that other commands have.
#[derive(clap::Args, Debug)]
struct Place {
    /// Corrections file [default: corrections.jsonl]
    #[arg(conflicts_with = "corrections")]
    file: Option<PathBuf>,
    /// The same as FILE
    #[arg(long, value_name = "FILE")]
    corrections: Option<PathBuf>,
}

impl Place {
    fn path(&self) -> &Path {
        self.file.as_ref().or(self.corrections.as_ref()).map_or(Path::new(DEFAULT), PathBuf::as_path)
    }
}

// Who decides, and why.
#[derive(clap::Args, Debug)]
struct By {
    /// Why
    #[arg(long)]
    reason: Option<String>,
    /// Who decided [default: GIT_AUTHOR_NAME or USER of the environment]
    #[arg(long)]
    author: Option<String>,
}

impl By {
    /// The author as given, else by the environment, which is printed.
    fn author(&self, ui: &Ui) -> anyhow::Result<String> {
        if let Some(author) = &self.author {
            return Ok(author.clone());
        }
        let variables = ["GIT_AUTHOR_NAME", "USER", "USERNAME"];
        let found = variables.iter().find_map(|name| Some((std::env::var(name).ok().filter(|v| !v.is_empty())?, name)));
        let (author, name) =
            found.context("who decides is not known: give --author NAME, or set USER or GIT_AUTHOR_NAME")?;
        ui.note(format_args!("author: {author} (from {name}; --author names another)"));
        Ok(author)
    }
}

/// The current time as corrections have it.
fn now() -> String {
    DateTime::<Utc>::from(SystemTime::now()).to_rfc3339_opts(SecondsFormat::Secs, true)
}

#[derive(clap::Args, Debug)]
#[command(after_help = "\
Example:
  carpus corrections check --data data
  carpus corrections check decisions.jsonl --data data")]
struct Check {
    #[command(flatten)]
    place: Place,
    /// Data folder: also report unknown images and patients, changed annotations, points outside the image, and
    /// decisions that do not fit; without it, nothing is compared with the data
    #[arg(long)]
    data: Option<PathBuf>,
}

#[derive(clap::Args, Debug)]
#[command(after_help = "\
Example:
  carpus corrections stats corrections.jsonl")]
struct Stats {
    #[command(flatten)]
    place: Place,
}

/// Cancel an earlier decision; its line stays
#[derive(clap::Args, Debug)]
#[command(
    allow_missing_positional = true,
    after_help = "\
Example:
  carpus corrections undo 3 --reason 'the ring is outside the hand'
  carpus corrections undo decisions.jsonl 0f3a51c2d7e9"
)]
struct Undo {
    #[command(flatten)]
    place: Place,
    /// Line of the decision, or its id of 12 characters
    #[arg(value_name = "LINE_OR_ID")]
    decision: String,
    #[command(flatten)]
    by: By,
}

/// Runs a subcommand.
pub fn run(args: CorrectionsArgs, ui: &Ui) -> anyhow::Result<Status> {
    match args.what {
        What::Add(args) => add::run(&args, ui),
        What::Check(args) => check(&args, ui),
        What::Shapes(args) => shapes::run(&args, ui),
        What::Stats(args) => stats(&args, ui),
        What::Undo(args) => undo(&args, ui),
    }
}

/// A decision as it is printed.
#[derive(Serialize)]
struct Row<'a> {
    line: usize,
    id: String,
    state: State,
    #[serde(flatten)]
    decision: &'a Decision,
}

/// Prints decisions, one per line.
fn print<'a>(decisions: impl Iterator<Item = (&'a Decision, State)>, ui: &Ui) -> Vec<Row<'a>> {
    let row = |(decision, state): (&'a Decision, State)| {
        let mut action = serde_json::to_string(&decision.action).unwrap_or_default();
        if let Some((end, _)) = action.char_indices().nth(90) {
            action.truncate(end);
            action.push('…');
        }
        let row = Row { line: decision.line, id: decision.id(), state, decision };
        let Decision { author, time, reason, .. } = decision;
        let text = format!("{:>4}  {}  {}  {action}  {author}  {time}", row.line, row.id, decision.target.id());
        ui.line(format!("{text}  {}  {reason}", state.name()).trim_end());
        row
    };
    decisions.map(row).collect()
}

/// `carpus list corrections FILE`.
pub(super) fn list(path: &Path, ui: &Ui) -> anyhow::Result<Status> {
    let (read, status) = read_corrections(Some(path), ui)?;
    let rows = print(read.history().iter().map(|(decision, state)| (decision, *state)), ui);
    ui.json(&rows)?;
    Ok(status)
}

fn check(args: &Check, ui: &Ui) -> anyhow::Result<Status> {
    let read = Corrections::read(args.place.path())?;
    let mut problems = read.problems().to_vec();
    problems.extend(read.contradictions());
    problems.extend(unknown_checks(&read));
    match &args.data {
        Some(folder) => problems.extend(Dataset::open(folder)?.with_corrections(read.clone()).check_corrections()?),
        None => ui.note("not compared with the data: give --data DATA"),
    }
    warn_all(&problems, ui);
    let in_force = counted(read.decisions().count(), "decision", "decisions");
    ui.line(format_args!("{in_force} in force, {}", counted(problems.len(), "problem", "problems")));
    ui.json(&json!({"file": read.file(), "in_force": read.decisions().count(), "problems": problems}))?;
    Ok(if problems.is_empty() { Status::Done } else { Status::DoneWithProblems })
}

fn stats(args: &Stats, ui: &Ui) -> anyhow::Result<Status> {
    let (read, status) = read_corrections(Some(args.place.path()), ui)?;
    let count = |key: fn(&Decision) -> String| {
        let mut counts: BTreeMap<String, BTreeMap<&str, usize>> = BTreeMap::new();
        for (decision, state) in read.history() {
            *counts.entry(key(decision)).or_default().entry(state.name()).or_default() += 1;
        }
        counts
    };
    let counts = [
        ("action", count(|d| d.action.name())),
        ("author", count(|d| d.author.clone())),
        ("day", count(|d| d.time.chars().take(10).collect())),
    ];
    for (what, counts) in &counts {
        for (name, states) in counts {
            let states: Vec<String> = states.iter().map(|(state, n)| format!("{n} {state}")).collect();
            ui.line(format_args!("{what:<8} {name:<24} {}", states.join(", ")));
        }
    }
    let [(_, actions), (_, authors), (_, days)] = &counts;
    ui.json(&json!({
        "file": read.file(), "sha256": read.sha256(), "lines": read.history().len(),
        "bad_lines": read.problems().len(), "actions": actions, "authors": authors, "days": days,
    }))?;
    Ok(status)
}

fn undo(args: &Undo, ui: &Ui) -> anyhow::Result<Status> {
    let path = args.place.path();
    may_write(path, None, ui)?;
    let (read, status) = read_corrections(Some(path), ui)?;
    let named = |(decision, state): &&(Decision, State)| match args.decision.parse::<usize>() {
        Ok(line) if args.decision.len() < 12 => decision.line == line,
        _ => *state != State::Repeated && decision.id() == args.decision,
    };
    let Some((decision, state)) = read.history().iter().find(named) else {
        bail!("{}: no decision {}; `carpus list corrections {0}` prints them", path.display(), args.decision);
    };
    let id = decision.id();
    match state {
        State::Active => {}
        State::Undone => bail!("{id} is undone already; to bring it back, undo the line that undid it"),
        State::Repeated => bail!("line {} repeats decision {id}; undo it by its id", decision.line),
    }
    let undo = Decision {
        line: 0,
        target: decision.target.clone(),
        action: Action::Undo { decision: id },
        annotation_sha256: None,
        reason: args.by.reason.clone().unwrap_or_default(),
        author: args.by.author(ui)?,
        time: now(),
    };
    let added = Decision { line: append(path, std::slice::from_ref(&undo))?, ..undo };
    let rows = print(std::iter::once((&added, State::Active)), ui);
    ui.line(format_args!("undone: line {}, {}", decision.line, in_words(decision)));
    let says_the_same = |d: &&Decision| {
        d.line != decision.line
            && (&d.target, &d.action, &d.annotation_sha256)
                == (&decision.target, &decision.action, &decision.annotation_sha256)
    };
    if let Some(other) = read.decisions().find(says_the_same) {
        ui.note(format_args!("line {} says the same and stays in force", other.line));
    }
    ui.json(&json!({"file": path, "added": rows, "undone": {"line": decision.line, "decision": in_words(decision)}}))?;
    Ok(status)
}

/// Whether decisions may be added to the file; with the data, also whether it lies in them.
fn may_write(path: &Path, data: Option<&Dataset>, ui: &Ui) -> anyhow::Result<()> {
    ensure!(
        !path.exists() || path.is_file() || path.is_dir(),
        "{} is not a regular file; decisions are kept in one",
        path.display()
    );
    let outputs = ui.outputs().data(data.map(Dataset::folders).unwrap_or_default());
    match outputs.file(path, &kind::CORRECTIONS) {
        // One bad line at the beginning makes it no other file.
        Err(OutputError::OtherFile { .. }) if Corrections::read(path).is_ok() => Ok(()),
        checked => Ok(checked?),
    }
}

/// Decisions in force about checks that do not exist.
fn unknown_checks(corrections: &Corrections) -> Vec<Problem> {
    let unknown = |decision: &Decision| match &decision.action {
        Action::Keep { check: Some(check), .. } | Action::Flag { check: Some(check), .. } => {
            let reason = format!("there is no check {check:?}; `carpus list checks` names them");
            audit::Check::from_name(check).is_none().then(|| corrections.problem(decision, reason))
        }
        _ => None,
    };
    corrections.decisions().filter_map(unknown).collect()
}

/// The command that puts the decision of a line out of force.
fn undo_command(path: &Path, line: usize) -> String {
    if path == Path::new(DEFAULT) {
        format!("`carpus corrections undo {line}`")
    } else {
        format!("`carpus corrections undo {} {line}`", path.display())
    }
}

/// A decision in a few words: `set-metadata age = 44 of patient 001`.
fn in_words(decision: &Decision) -> String {
    let of = match &decision.target {
        Target::Image(id) => format!("of image {id}"),
        Target::Patient(id) => format!("of patient {id}"),
    };
    let which = |check: &Option<String>, label: &Option<String>| {
        let words: Vec<&str> = [check, label].into_iter().flatten().map(String::as_str).collect();
        if words.is_empty() { "all findings".to_owned() } else { words.join(" ") }
    };
    let what = match &decision.action {
        Action::Exclude {} => return format!("exclude {}", of.trim_start_matches("of ")),
        Action::Relabel(Relabel::Shape { shape, to }) => format!("shape {} from {} to {to}", shape.index, shape.label),
        Action::Relabel(Relabel::Labels { labels, .. }) => {
            labels.iter().map(|(from, to)| format!("{from} to {to}")).collect::<Vec<_>>().join(", ")
        }
        Action::Drop { shape } | Action::Replace { shape, .. } => format!("shape {}, {},", shape.index, shape.label),
        Action::SetSide { side } => side.name().to_owned(),
        Action::SetMetadata { field, value } => format!("{} = {value}", field.name()),
        Action::Keep { check, label } | Action::Flag { check, label } => which(check, label),
        Action::Note { .. } => format!("{:?}", decision.reason),
        Action::Undo { decision } => decision.clone(),
    };
    format!("{} {what} {of}", decision.action.name())
}
