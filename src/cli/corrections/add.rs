use std::collections::HashSet;
use std::path::{Path, PathBuf};

use anyhow::{anyhow, bail, ensure};
use serde_json::json;

use super::{By, Place, counted, may_write, now, print, undo_command, unknown_checks};
use crate::audit::Check;
use crate::cli::data::{read_corrections, warn_all};
use crate::cli::eda::read_findings;
use crate::cli::{Status, Ui};
use crate::dataset::corrections::{Action, Corrections, Decision, State, Target, append};
use crate::dataset::{Dataset, Problem, ProblemSeverity, image_id};

/// Add decisions about images or a patient, compared with the data where --data is given
#[derive(clap::Args, Debug)]
#[command(
    group(clap::ArgGroup::new("about").required(true).args(["image", "patient", "from"])),
    after_help = "\
Example:
  carpus corrections add --data data --image image1661130828152_R \\
      --action exclude --reason ring
  carpus corrections add --data data --patient 040 --action set-metadata \\
      --field height_cm --value 171.5
  carpus corrections add --data data --image image1661130828152_R \\
      --action relabel --shape 3 --to finger-2
  carpus corrections add --data data --image image1661130828152_R \\
      --action replace --shape 3 --points '10,20 30,20 20,40'
  carpus corrections add --from audit --check low_dice --top 10 \\
      --action flag --dry-run

relabel, drop and replace need --data; `carpus corrections shapes` prints the numbers for --shape. Without --data
nothing is compared with the data. `carpus list corrections` prints every action as it stands in the file."
)]
pub struct CorrectionsAddArgs {
    #[command(flatten)]
    pub(super) place: Place,
    /// Data folder: images, shapes and annotation hashes are looked up in it; without it, nothing is compared with the data
    #[arg(long)]
    pub(super) data: Option<PathBuf>,
    /// Image to decide about, by its id; may be repeated
    #[arg(long, value_name = "ID")]
    pub(super) image: Vec<String>,
    /// Patient to decide about
    #[arg(long, value_name = "ID")]
    pub(super) patient: Option<String>,
    /// Findings that `carpus audit` wrote (its folder, or the CSV or Parquet in it): one decision per image of --check
    #[arg(long, value_name = "FINDINGS", requires = "check")]
    pub(super) from: Option<PathBuf>,
    /// With --from: the first N images, worst first
    #[arg(long, value_name = "N", requires = "from")]
    top: Option<usize>,
    /// What is decided
    #[arg(long, value_parser = ["exclude", "relabel", "drop", "replace", "set-side", "set-metadata", "keep", "note", "flag"])]
    pub(super) action: String,
    /// relabel: old and new labels, all renamed at once
    #[arg(long, value_name = "OLD=NEW", value_delimiter = ',')]
    pub(super) labels: Vec<String>,
    /// relabel: exchange two labels, short for --labels A=B,B=A
    #[arg(long, value_name = "A,B", value_delimiter = ',', conflicts_with = "labels")]
    pub(super) swap: Vec<String>,
    /// relabel, drop, replace: number of the shape in the annotation, from 0 (see `carpus corrections shapes`)
    #[arg(long, value_name = "N")]
    pub(super) shape: Option<String>,
    /// relabel: new label of the shape
    #[arg(long, value_name = "LABEL")]
    pub(super) to: Option<String>,
    /// replace: outline of the shape, "x,y x,y …"
    #[arg(long, allow_hyphen_values = true, value_parser = points)]
    pub(super) points: Option<PointArguments>,
    /// set-side: L or R
    #[arg(long)]
    pub(super) side: Option<String>,
    /// set-metadata: sex, age, height_cm, weight_kg or note
    #[arg(long)]
    pub(super) field: Option<String>,
    /// set-metadata: the value; an empty one empties the field
    #[arg(long, allow_hyphen_values = true)]
    pub(super) value: Option<String>,
    /// keep, flag: name of the check that found it (`carpus list checks`)
    #[arg(long, value_parser = check)]
    pub(super) check: Option<String>,
    /// keep, flag: label that was found, several joined by `|`
    #[arg(long)]
    pub(super) label: Option<String>,
    /// note: where in the image
    #[arg(long, value_name = "X,Y", allow_hyphen_values = true, value_parser = point)]
    pub(super) point: Option<PointArgument>,
    #[command(flatten)]
    pub(super) by: By,
    /// Print what would be added and write nothing
    #[arg(long)]
    dry_run: bool,
}

pub(super) type PointArgument = [i32; 2];
/// clap takes a plain `Vec` for a flag that may be repeated.
pub(super) type PointArguments = Box<[PointArgument]>;

fn point(text: &str) -> Result<PointArgument, String> {
    let parsed = text.split_once(',').and_then(|(x, y)| Some([x.trim().parse().ok()?, y.trim().parse().ok()?]));
    parsed.ok_or_else(|| format!("{text:?}: expected x,y in whole pixels"))
}

fn points(text: &str) -> Result<PointArguments, String> {
    text.split_whitespace().map(point).collect()
}

fn check(text: &str) -> Result<String, String> {
    let known = Check::from_name(text).map(|check| check.name.to_owned());
    known.ok_or_else(|| format!("no check {text:?}; `carpus list checks` names them"))
}

/// Makes the decisions, compares them with the data and adds them.
pub fn run(args: &CorrectionsAddArgs, ui: &Ui) -> anyhow::Result<Status> {
    let path = args.place.path();
    may_write(path, None, ui)?;
    args.check_flags()?;
    let data = args.data.as_deref().map(Dataset::open).transpose()?;
    may_write(path, data.as_ref(), ui)?;
    let (before, mut status) = match path.exists() {
        // What is no corrections file is added to only by force.
        true if ui.force() => (Corrections::read_any(path)?, Status::Done),
        true => read_corrections(Some(path), ui)?,
        false => (Corrections::parse(&path.display().to_string(), b""), Status::Done),
    };
    let data = data.map(|data| data.with_corrections(before.clone()));
    let author = args.by.author(ui)?;
    let targets = match &args.from {
        Some(findings) => match of_findings(args, findings, &before, ui)? {
            Some(targets) => targets,
            None => {
                status = Status::DoneWithProblems;
                Vec::new()
            }
        },
        None => {
            let reason = args.by.reason.clone().unwrap_or_default();
            let images = args.image.iter().map(|id| Target::Image(image_id(id)));
            let mut seen = HashSet::new();
            let targets = images.chain(args.patient.clone().map(Target::Patient)).filter(|t| seen.insert(t.clone()));
            targets.map(|target| (target, reason.clone())).collect()
        }
    };
    let time = now();
    let (all, mut decided) = (targets.len(), Vec::new());
    let mut decisions = Vec::new();
    for (target, reason) in targets {
        let (action, annotation_sha256) = args.action_for(&target, data.as_ref(), &before)?;
        let decision =
            Decision { line: 0, target, action, annotation_sha256, reason, author: author.clone(), time: time.clone() };
        let decision = decision.normalised();
        if let Some(earlier) = before.decided_by(&decision) {
            decided.push(earlier.line);
            continue;
        }
        // As it will be read.
        decisions.push(Decision::parse(decision.to_line().as_bytes(), 0).map_err(|reason| anyhow!(reason))?);
    }
    if let ([line], 1, None) = (&decided[..], all, &args.from) {
        bail!(
            "line {line} decides this already; nothing was added ({} cancels that decision)",
            undo_command(path, *line)
        );
    }
    if !decided.is_empty() {
        ui.note(format_args!("{} of {all} decided already and left out", decided.len()));
    }
    let after = before.with(&decisions);
    let mut added: Vec<Decision> = after.history()[before.history().len()..].iter().map(|(d, _)| d.clone()).collect();
    let mut odd = after.contradictions();
    odd.extend(unknown_checks(&after));
    if let Some(data) = data {
        odd.extend(data.with_corrections(after).check_corrections()?);
    }
    // What did not fit before is not the fault of these.
    odd.retain(|p: &Problem| added.iter().any(|decision| p.place == format!("line {}", decision.line)));
    let reasons: Vec<&str> =
        odd.iter().filter(|p| p.severity == ProblemSeverity::Error).map(|p| p.reason.as_str()).collect();
    ensure!(reasons.is_empty(), "nothing was added: {}", reasons.join("; "));
    if !args.dry_run && !decisions.is_empty() {
        let first = append(path, &decisions)?;
        added.iter_mut().enumerate().for_each(|(i, decision)| decision.line = first + i);
    }
    warn_all(&odd, ui);
    let rows = print(added.iter().map(|decision| (decision, State::Active)), ui);
    ui.line(format_args!(
        "{} {} {}",
        counted(rows.len(), "decision", "decisions"),
        if args.dry_run { "would be added to" } else { "added to" },
        path.display()
    ));
    ui.json(
        &json!({"file": path, "dry_run": args.dry_run, "added": rows, "decided_already": decided, "warnings": odd}),
    )?;
    Ok(status)
}

/// The images of the findings and what was found, less those decided like this already; `None` where the check found nothing.
fn of_findings(
    args: &CorrectionsAddArgs,
    findings: &Path,
    before: &Corrections,
    ui: &Ui,
) -> anyhow::Result<Option<Vec<(Target, String)>>> {
    let (rows, _) = read_findings(findings)?;
    let check = args.check.as_deref().unwrap_or_default();
    let label = args.found_label()?;
    let mut seen = HashSet::new();
    let of_check = rows.iter().filter(|row| {
        row.check.name == check
            && label.as_ref().is_none_or(|label| *label == row.label)
            && !row.image_id.is_empty()
            && seen.insert(image_id(&row.image_id))
    });
    let of_check: Vec<_> = of_check.collect();
    if of_check.is_empty() {
        let of = label.map(|label| format!(" of {label}")).unwrap_or_default();
        ui.warn(format_args!("{} has no findings of {check}{of}; nothing was added", findings.display()));
        return Ok(None);
    }
    let found = of_check.len();
    let taken: Vec<_> = of_check.into_iter().take(args.top.unwrap_or(usize::MAX)).collect();
    let action = args.action_for(&Target::Image(String::new()), None, before)?.0;
    let same = before.decisions().filter(|d| d.action == action).map(|d| d.target.id());
    let decided: HashSet<&str> = same.collect();
    let is_decided =
        |id: &str, patient: &str| decided.contains(id) || action == Action::Exclude {} && before.excludes(id, patient);
    let chosen = taken.len();
    let targets: Vec<(Target, String)> = taken
        .into_iter()
        .map(|row| (image_id(&row.image_id), row))
        .filter(|(id, row)| !is_decided(id, &row.patient_id))
        .map(|(id, row)| (Target::Image(id), args.by.reason.clone().unwrap_or_else(|| row.message.clone())))
        .collect();
    ui.note(format_args!(
        "{chosen} of {} with findings of {check} taken, {} decided already",
        counted(found, "image", "images"),
        chosen - targets.len()
    ));
    Ok(Some(targets))
}
