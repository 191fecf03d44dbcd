use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use anyhow::{anyhow, bail, ensure};
use serde_json::json;

use super::{By, Place, counted, may_write, print, undo_command, unknown_checks};
use crate::audit::{Check, FindingRow};
use crate::bones::Bone;
use crate::cli::data::{read_corrections, warn_all};
use crate::cli::eda::read_findings;
use crate::cli::{Status, Ui};
use crate::dataset::corrections::{Action, Corrections, Decision, State, Target, append};
use crate::dataset::{Dataset, Problem, ProblemSeverity, image_id};

/// Add decisions about images or a patient to a corrections file
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
  carpus corrections add --data data --from audit --check swapped_labels \\
      --action relabel --dry-run

relabel, drop and replace need --data; `carpus corrections shapes` prints the numbers for --shape. \
With --from, relabel takes the labels that the findings propose: those of swapped_labels and unknown_label. \
Without --data, decisions are not checked against the data. `carpus list corrections` shows all \
actions in the format of the file."
)]
pub struct CorrectionsAddArgs {
    #[command(flatten)]
    pub(super) place: Place,
    /// Data folder, to check the decisions against; needed for actions on shapes
    #[arg(long, value_name = "DIR")]
    pub(super) data: Option<PathBuf>,
    /// Id of an image; may be repeated
    #[arg(long, value_name = "ID")]
    pub(super) image: Vec<String>,
    /// Id of a patient
    #[arg(long, value_name = "ID")]
    pub(super) patient: Option<String>,
    /// Findings that `carpus audit` wrote (the folder, or the CSV or Parquet file in it): one decision per image with a
    /// finding of --check; relabel: one per finding
    #[arg(long, value_name = "FINDINGS", requires = "check")]
    pub(super) from: Option<PathBuf>,
    /// With --from: only the N worst images
    #[arg(long, value_name = "N", requires = "from")]
    top: Option<usize>,
    /// Action to record
    #[arg(long, value_parser = ["exclude", "relabel", "drop", "replace", "set-side", "set-metadata", "keep", "note", "flag"])]
    pub(super) action: String,
    /// relabel: old and new labels, renamed at the same time
    #[arg(long, value_name = "OLD=NEW", value_delimiter = ',')]
    pub(super) labels: Vec<String>,
    /// relabel: swap two labels, short for --labels A=B,B=A
    #[arg(long, value_name = "A,B", value_delimiter = ',', conflicts_with = "labels")]
    pub(super) swap: Vec<String>,
    /// relabel, drop, replace: number of the shape in the annotation, from 0 (see `carpus corrections shapes`)
    #[arg(long, value_name = "N")]
    pub(super) shape: Option<String>,
    /// relabel: new label of the shape
    #[arg(long, value_name = "LABEL")]
    pub(super) to: Option<String>,
    /// replace: new outline of the shape, "x,y x,y …"
    #[arg(long, allow_hyphen_values = true, value_parser = points)]
    pub(super) points: Option<PointArguments>,
    /// set-side: L or R
    #[arg(long)]
    pub(super) side: Option<String>,
    /// set-metadata: sex, age, height_cm, weight_kg or note
    #[arg(long)]
    pub(super) field: Option<String>,
    /// set-metadata: the new value; '' clears the field
    #[arg(long, allow_hyphen_values = true)]
    pub(super) value: Option<String>,
    /// keep, flag, --from: name of the check (`carpus list checks`)
    #[arg(long, value_parser = check)]
    pub(super) check: Option<String>,
    /// keep, flag, --from: label of the finding, several joined by `|`
    #[arg(long)]
    pub(super) label: Option<String>,
    /// note: position in the image
    #[arg(long, value_name = "X,Y", allow_hyphen_values = true, value_parser = point)]
    pub(super) point: Option<PointArgument>,
    /// Reason for the decision
    #[arg(long)]
    pub(super) reason: Option<String>,
    #[command(flatten)]
    pub(super) by: By,
    /// Print the decisions, but do not add them
    #[arg(long)]
    dry_run: bool,
}

pub(super) type PointArgument = [i32; 2];
/// A box, because clap takes a plain `Vec` for an option that may be repeated.
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
    known.ok_or_else(|| format!("unknown check {text:?}; `carpus list checks` lists the checks"))
}

/// Makes the decisions, checks them against the data and adds them to the file.
pub fn run(args: &CorrectionsAddArgs, ui: &Ui) -> anyhow::Result<Status> {
    let path = args.place.path();
    may_write(path, None, ui)?;
    args.check_flags()?;
    let data = args.data.as_deref().map(Dataset::open).transpose()?;
    may_write(path, data.as_ref(), ui)?;
    let (before, mut status) = match path.exists() {
        // A file that is not a corrections file is only written to with --force.
        true if ui.force() => (Corrections::read_any(path)?, Status::Done),
        true => read_corrections(Some(path), ui)?,
        false => (Corrections::parse(&path.display().to_string(), b""), Status::Done),
    };
    let data = data.map(|data| data.with_corrections(before.clone()));
    let author = args.by.author(ui)?;
    let drafts = match &args.from {
        Some(findings) => of_findings(args, findings, &before, ui)?.unwrap_or_else(|| {
            status = Status::DoneWithProblems;
            Vec::new()
        }),
        None => {
            let reason = args.reason.clone().unwrap_or_default();
            let images = args.image.iter().map(|id| Target::Image(image_id(id)));
            let mut seen = HashSet::new();
            let targets = images.chain(args.patient.clone().map(Target::Patient)).filter(|t| seen.insert(t.clone()));
            targets.map(|target| Draft { target, reason: reason.clone(), labels: None }).collect()
        }
    };
    let time = before.new_time();
    let (all, mut already_decided) = (drafts.len(), Vec::new());
    let mut decisions: Vec<Decision> = Vec::new();
    for Draft { target, reason, labels } in drafts {
        let (action, annotation_sha256) = match &labels {
            None => args.action_for(&target, data.as_ref(), &before)?,
            Some(labels) => match args.relabel_as_proposed(labels, &target, data.as_ref(), &before) {
                Ok(action) => action,
                Err(reason) => {
                    ui.warn(format_args!("image {}: {reason:#}; finding skipped", target.id()));
                    status = Status::DoneWithProblems;
                    continue;
                }
            },
        };
        let decision =
            Decision { line: 0, target, action, annotation_sha256, reason, author: author.clone(), time: time.clone() };
        let decision = decision.normalised();
        if let Some(earlier) = before.decided_by(&decision) {
            already_decided.push(earlier.line);
            continue;
        }
        // Two findings can propose the same: a label that two shapes have.
        if decisions.iter().any(|earlier| (&earlier.target, &earlier.action) == (&decision.target, &decision.action)) {
            continue;
        }
        // In the form in which it will be read.
        decisions.push(Decision::parse(decision.to_line().as_bytes(), 0).map_err(|reason| anyhow!(reason))?);
    }
    if let ([line], 1, None) = (&already_decided[..], all, &args.from) {
        bail!("line {line} already holds this decision; nothing was added ({} cancels it)", undo_command(path, *line));
    }
    if !already_decided.is_empty() {
        ui.note(format_args!("{} of {all} already decided and skipped", already_decided.len()));
    }
    let after = before.with(&decisions);
    let mut added: Vec<Decision> = after.history()[before.history().len()..].iter().map(|(d, _)| d.clone()).collect();
    let mut problems = after.contradictions();
    problems.extend(unknown_checks(&after));
    if let Some(data) = data {
        problems.extend(data.with_corrections(after).check_corrections()?);
    }
    // Only problems of the new decisions.
    problems.retain(|p: &Problem| added.iter().any(|decision| p.place == format!("line {}", decision.line)));
    let reasons: Vec<&str> =
        problems.iter().filter(|p| p.severity == ProblemSeverity::Error).map(|p| p.reason.as_str()).collect();
    ensure!(reasons.is_empty(), "nothing was added: {}", reasons.join("; "));
    if !args.dry_run && !decisions.is_empty() {
        let first = append(path, &decisions)?;
        added.iter_mut().enumerate().for_each(|(i, decision)| decision.line = first + i);
    }
    warn_all(&problems, ui);
    let rows = print(added.iter().map(|decision| (decision, State::Active)), ui);
    ui.line(format_args!(
        "{} {} {}",
        counted(rows.len(), "decision", "decisions"),
        if args.dry_run { "would be added to" } else { "added to" },
        path.display()
    ));
    ui.json(
        &json!({"file": path, "dry_run": args.dry_run, "added": rows, "decided_already": already_decided, "warnings": problems}),
    )?;
    Ok(status)
}

/// A decision to be made.
struct Draft {
    target: Target,
    reason: String,
    /// The labels that a finding proposes.
    labels: Option<BTreeMap<String, Bone>>,
}

/// The images with findings and the message of each, without images that already have this decision; `None` if the
/// check has no findings. For relabel one draft per finding.
fn of_findings(
    args: &CorrectionsAddArgs,
    findings: &Path,
    before: &Corrections,
    ui: &Ui,
) -> anyhow::Result<Option<Vec<Draft>>> {
    let (rows, _) = read_findings(findings)?;
    let check = args.check.as_deref().unwrap_or_default();
    let label = args.found_label()?;
    let of_check = rows.iter().filter(|row| {
        row.check.name == check && label.as_ref().is_none_or(|label| *label == row.label) && !row.image_id.is_empty()
    });
    let all: Vec<&FindingRow> = of_check.collect();
    let mut seen = HashSet::new();
    let of_check: Vec<_> = all.iter().copied().filter(|row| seen.insert(image_id(&row.image_id))).collect();
    if of_check.is_empty() {
        let of = label.map(|label| format!(" of {label}")).unwrap_or_default();
        ui.warn(format_args!("{} has no findings of {check}{of}; nothing was added", findings.display()));
        return Ok(None);
    }
    let found = of_check.len();
    let taken: Vec<_> = of_check.into_iter().take(args.top.unwrap_or(usize::MAX)).collect();
    if args.action == "relabel" {
        let images: HashSet<&str> = taken.iter().map(|row| row.image_id.as_str()).collect();
        return proposals(args, findings, all.into_iter().filter(|row| images.contains(&*row.image_id))).map(Some);
    }
    let action = args.action_for(&Target::Image(String::new()), None, before)?.0;
    let same = before.decisions().filter(|d| d.action == action).map(|d| d.target.id());
    let decided: HashSet<&str> = same.collect();
    let is_decided =
        |id: &str, patient: &str| decided.contains(id) || action == Action::Exclude {} && before.excludes(id, patient);
    let chosen = taken.len();
    let undecided = taken.into_iter().filter(|row| !is_decided(&image_id(&row.image_id), &row.patient_id));
    let drafts: Vec<Draft> = undecided.map(|row| Draft::of_finding(args, row)).collect();
    ui.note(format_args!(
        "{chosen} of {} with findings of {check} selected, {} already decided",
        counted(found, "image", "images"),
        chosen - drafts.len()
    ));
    Ok(Some(drafts))
}

/// The relabellings that findings propose.
fn proposals<'a>(
    args: &CorrectionsAddArgs,
    findings: &Path,
    rows: impl Iterator<Item = &'a FindingRow>,
) -> anyhow::Result<Vec<Draft>> {
    let draft = |row: &FindingRow| {
        let labels = row.proposed_labels().map_err(|reason| anyhow!("{}: {reason}", findings.display()))?;
        Ok(Draft { labels: Some(labels), ..Draft::of_finding(args, row) })
    };
    let drafts = rows.map(draft).collect::<anyhow::Result<Vec<Draft>>>()?;
    let proposes = |draft: &Draft| draft.labels.as_ref().is_some_and(|labels| !labels.is_empty());
    ensure!(
        drafts.iter().any(proposes),
        "the findings of {} propose no labels; give --image with --labels, --swap or --shape and --to instead",
        args.check.as_deref().unwrap_or_default()
    );
    Ok(drafts)
}

impl Draft {
    fn of_finding(args: &CorrectionsAddArgs, row: &FindingRow) -> Draft {
        let reason = args.reason.clone().unwrap_or_else(|| row.message.clone());
        Draft { target: Target::Image(image_id(&row.image_id)), reason, labels: None }
    }
}
