//! `carpus corrections`: adds decisions to a corrections file, checks, counts and undoes them.

mod add;
mod apply;
mod flags;
mod shapes;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
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

The file holds one JSON object per line; `carpus list corrections` shows the format. Commands \
that read data take the file with --corrections FILE.")]
pub struct CorrectionsArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand, Debug)]
enum What {
    Add(Box<add::CorrectionsAddArgs>),
    Apply(apply::CorrectionsApplyArgs),
    /// Find invalid lines, contradictions and, with --data, decisions that do not fit the data; exit code 3 if any
    Check(Check),
    Shapes(shapes::CorrectionsShapesArgs),
    /// Count decisions by action, author and day
    Stats(Stats),
    Undo(Undo),
}

/// The default corrections file.
const DEFAULT: &str = "corrections.jsonl";

// The file, as an argument or with the option that other commands have.
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

// The author of a decision.
#[derive(clap::Args, Debug)]
struct By {
    /// Name of the person who decided [default: the user name of git, else of the system]
    #[arg(long)]
    author: Option<String>,
}

impl By {
    /// The given author, or the user name of git or the system, which is printed.
    fn author(&self, ui: &Ui) -> anyhow::Result<String> {
        if let Some(author) = &self.author {
            return Ok(author.clone());
        }
        let (author, source) = user_name(|name| std::env::var(name).ok(), output)
            .context("the author is unknown: give --author NAME, or run `git config --global user.name NAME`")?;
        ui.note(format_args!("author: {author} (from {source}; use --author to change it)"));
        Ok(author)
    }
}

/// Name of the user and where it was found: first that of git, then that of the system.
pub(super) fn user_name(
    variable: impl Fn(&str) -> Option<String>,
    output: impl Fn(&[&str]) -> Option<String>,
) -> Option<(String, &'static str)> {
    let from_variable = |name: &'static str| Some((variable(name)?, name));
    let from_command = |words: &[&str], name: &'static str| Some((output(words)?, name));
    let is_name = |found: &(String, &str)| !found.0.trim().is_empty();
    from_variable("GIT_AUTHOR_NAME")
        .filter(is_name)
        .or_else(|| from_command(&["git", "config", "user.name"], "git config user.name").filter(is_name))
        .or_else(|| ["USER", "LOGNAME", "USERNAME"].into_iter().filter_map(from_variable).find(is_name))
        .or_else(|| from_command(&["id", "-un"], "id -un").filter(is_name))
        .map(|(name, source)| (name.trim().to_owned(), source))
}

/// What a command prints; `None` if it cannot be started or fails.
pub(super) fn output(words: &[&str]) -> Option<String> {
    let output = std::process::Command::new(words[0]).args(&words[1..]).output().ok()?;
    String::from_utf8(output.stdout).ok().filter(|_| output.status.success())
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
    /// decisions that do not fit
    #[arg(long, value_name = "DIR")]
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

/// Cancel an earlier decision; its line stays in the file
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
    /// Line number of the decision, or its id of 12 characters
    #[arg(value_name = "LINE_OR_ID")]
    decision: String,
    /// Reason for the undo
    #[arg(long)]
    reason: Option<String>,
    #[command(flatten)]
    by: By,
}

/// Runs a subcommand.
pub fn run(args: CorrectionsArgs, ui: &Ui) -> anyhow::Result<Status> {
    match args.what {
        What::Add(args) => add::run(&args, ui),
        What::Apply(args) => apply::run(&args, ui),
        What::Check(args) => check(&args, ui),
        What::Shapes(args) => shapes::run(&args, ui),
        What::Stats(args) => stats(&args, ui),
        What::Undo(args) => undo(&args, ui),
    }
}

/// A decision in the JSON output.
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
        ui.line(format!("{text}  {}  {reason}", state_in_words(decision, state)).trim_end());
        row
    };
    decisions.map(row).collect()
}

/// State of a line, for people.
fn state_in_words(decision: &Decision, state: State) -> &'static str {
    match state {
        State::Active if is_undo(decision) => "undo",
        State::Active => "active",
        State::Undone => "undone",
        State::Repeated => "repeated",
    }
}

fn is_undo(decision: &Decision) -> bool {
    matches!(decision.action, Action::Undo { .. })
}

/// Counts of a file's decisions and undo lines, the same in all commands: `14 active decisions, 1 undo line`.
fn counts_in_words(read: &Corrections) -> String {
    let count = |wanted: fn(&Decision, State) -> bool| {
        read.history().iter().filter(|(decision, state)| wanted(decision, *state)).count()
    };
    let undone = count(|decision, state| state == State::Undone && !is_undo(decision));
    let undos = count(|decision, state| state != State::Repeated && is_undo(decision));
    let repeated = count(|_, state| state == State::Repeated);
    let mut parts = vec![counted(read.decisions().count(), "active decision", "active decisions")];
    parts.extend((undone > 0).then(|| format!("{undone} undone")));
    parts.extend((undos > 0).then(|| counted(undos, "undo line", "undo lines")));
    parts.extend((repeated > 0).then(|| counted(repeated, "repeated line", "repeated lines")));
    parts.join(", ")
}

/// `carpus list corrections FILE`.
pub(super) fn list(path: &Path, ui: &Ui) -> anyhow::Result<Status> {
    let (read, status) = read_corrections(Some(path), ui)?;
    let rows = print(read.history().iter().map(|(decision, state)| (decision, *state)), ui);
    ui.line(counts_in_words(&read));
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
        None => ui.note("not compared with the data; give --data DATA to do so"),
    }
    warn_all(&problems, ui);
    ui.line(format_args!("{}; {}", counts_in_words(&read), counted(problems.len(), "problem", "problems")));
    ui.json(&json!({"file": read.file(), "in_force": read.decisions().count(), "problems": problems}))?;
    Ok(if problems.is_empty() { Status::Done } else { Status::DoneWithProblems })
}

fn stats(args: &Stats, ui: &Ui) -> anyhow::Result<Status> {
    let (read, status) = read_corrections(Some(args.place.path()), ui)?;
    let count = |key: fn(&Decision) -> String| {
        let mut counts: BTreeMap<String, BTreeMap<&str, usize>> = BTreeMap::new();
        for (decision, state) in read.history() {
            // An undo line is not a decision about the data.
            let state = if is_undo(decision) && *state == State::Active { "undo" } else { state.name() };
            *counts.entry(key(decision)).or_default().entry(state).or_default() += 1;
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
            let active = State::Active.name();
            let in_words = |state: &str| if state == active { "active".to_owned() } else { state.to_owned() };
            let states: Vec<String> = states.iter().map(|(state, n)| format!("{n} {}", in_words(state))).collect();
            ui.line(format_args!("{what:<8} {name:<24} {}", states.join(", ")));
        }
    }
    ui.line(counts_in_words(&read));
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
        bail!("{}: there is no decision {}; `carpus list corrections {0}` lists them", path.display(), args.decision);
    };
    let id = decision.id();
    match state {
        State::Active => {}
        State::Undone => bail!("{id} is already undone; to restore it, undo the line that undid it"),
        State::Repeated => bail!("line {} repeats decision {id}; undo it by its id", decision.line),
    }
    let undo = Decision {
        line: 0,
        target: decision.target.clone(),
        action: Action::Undo { decision: id },
        annotation_sha256: None,
        reason: args.reason.clone().unwrap_or_default(),
        author: args.by.author(ui)?,
        time: read.new_time(),
    };
    let added = Decision { line: append(path, std::slice::from_ref(&undo))?, ..undo };
    let rows = print(std::iter::once((&added, State::Active)), ui);
    ui.line(format_args!("undone: line {}, {}", decision.line, in_words(decision)));
    let is_same = |d: &&Decision| {
        d.line != decision.line
            && (&d.target, &d.action, &d.annotation_sha256)
                == (&decision.target, &decision.action, &decision.annotation_sha256)
    };
    if let Some(other) = read.decisions().find(is_same) {
        ui.note(format_args!("line {} holds the same decision and stays active", other.line));
    }
    ui.json(&json!({"file": path, "added": rows, "undone": {"line": decision.line, "decision": in_words(decision)}}))?;
    Ok(status)
}

/// Checks that decisions may be added to the file: it is a corrections file or new, and not in the folders of the data.
pub(super) fn may_write(path: &Path, data: Option<&Dataset>, ui: &Ui) -> anyhow::Result<()> {
    ensure!(
        !path.exists() || path.is_file() || path.is_dir(),
        "{} is not a regular file; name a regular file for the corrections",
        path.display()
    );
    let outputs = ui.outputs().data(data.map(Dataset::folders).unwrap_or_default());
    match outputs.file(path, &kind::CORRECTIONS) {
        // If only the first line is invalid, it is still a corrections file.
        Err(OutputError::OtherFile { .. }) if Corrections::read(path).is_ok() => Ok(()),
        checked => Ok(checked?),
    }
}

/// A problem for each active decision about a check that does not exist.
fn unknown_checks(corrections: &Corrections) -> Vec<Problem> {
    let unknown = |decision: &Decision| match &decision.action {
        Action::Keep { check: Some(check), .. } | Action::Flag { check: Some(check), .. } => {
            let reason = format!("unknown check {check:?}; `carpus list checks` lists the checks");
            audit::Check::from_name(check).is_none().then(|| corrections.problem(decision, reason))
        }
        _ => None,
    };
    corrections.decisions().filter_map(unknown).collect()
}

/// The command that cancels the decision of a line.
fn undo_command(path: &Path, line: usize) -> String {
    if path == Path::new(DEFAULT) {
        format!("`carpus corrections undo {line}`")
    } else {
        format!("`carpus corrections undo {} {line}`", path.display())
    }
}

/// A short description of a decision: `set-metadata age = 44 of patient 001`.
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
