use std::collections::HashSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail, ensure};
use serde_json::{Map, Value, json};

use super::{By, Place, now, print};
use crate::audit::CheckKind;
use crate::cli::data::read_corrections;
use crate::cli::eda::read_findings;
use crate::cli::{Status, Ui};
use crate::dataset::corrections::{Action, Corrections, Decision, State, Target, append};
use crate::dataset::{Dataset, Problem, image_id};

/// Actions that name shapes, which are looked up in the data.
const ABOUT_SHAPES: [&str; 3] = ["relabel", "drop", "replace"];
/// Actions that findings can be answered with.
const FOR_FINDINGS: [&str; 3] = ["exclude", "flag", "keep"];

/// Add decisions about images or a patient, checked against the data where --data is given
#[derive(clap::Args, Debug)]
#[command(
    group(clap::ArgGroup::new("about").required(true).args(["image", "patient", "from"])),
    after_help = "\
Example:
  carpus corrections add --image image1661130828152_R --action exclude --reason ring
  carpus corrections add --patient 040 --action set-metadata --field height_cm --value 171.5
  carpus corrections add --data data --image image1661130828152_R --action relabel \\
      --shape 3 --to finger-2
  carpus corrections add --data data --image image1661130828152_R --action replace \\
      --shape 3 --points '10,20 30,20 20,40'
  carpus corrections add --from audit --check low_dice --top 10 --action flag --dry-run

The flags after --action are the fields of the action: `carpus list corrections` prints them."
)]
pub struct Args {
    #[command(flatten)]
    place: Place,
    /// Data folder: images, shapes and annotation hashes are looked up in it
    #[arg(long)]
    data: Option<PathBuf>,
    /// Image to decide about, by its id; may be repeated
    #[arg(long, value_name = "ID")]
    image: Vec<String>,
    /// Patient to decide about
    #[arg(long, value_name = "ID")]
    patient: Option<String>,
    /// Findings that `carpus audit` wrote (its folder, or the CSV or Parquet in it): one decision per image of --check
    #[arg(long, value_name = "FINDINGS", requires = "check")]
    from: Option<PathBuf>,
    /// With --from: the first N images, worst first
    #[arg(long, value_name = "N", requires = "from")]
    top: Option<usize>,
    /// What is decided
    #[arg(long, value_parser = ["exclude", "relabel", "drop", "replace", "set-side", "set-metadata", "keep", "note", "flag"])]
    action: String,
    /// relabel: old and new labels, all renamed at once
    #[arg(long, value_name = "OLD=NEW", value_delimiter = ',')]
    labels: Vec<String>,
    /// relabel: exchange two labels, short for --labels A=B,B=A
    #[arg(long, value_name = "A,B", value_delimiter = ',', conflicts_with = "labels")]
    swap: Vec<String>,
    /// relabel, drop, replace: place of the shape in the annotation, from 0
    #[arg(long, value_name = "N")]
    shape: Option<usize>,
    /// relabel: new label of the shape
    #[arg(long, value_name = "LABEL")]
    to: Option<String>,
    /// replace: outline of the shape, "x,y x,y …"
    #[arg(long, allow_hyphen_values = true, value_parser = points)]
    points: Option<Points>,
    /// set-side: L or R
    #[arg(long)]
    side: Option<String>,
    /// set-metadata: sex, age, height_cm, weight_kg or note
    #[arg(long)]
    field: Option<String>,
    /// set-metadata: the value; an empty one empties the field
    #[arg(long, allow_hyphen_values = true)]
    value: Option<String>,
    /// keep, flag: name of the check that found it (`carpus list checks`)
    #[arg(long, value_parser = check)]
    check: Option<String>,
    /// keep, flag: label that was found, several joined by `|`
    #[arg(long)]
    label: Option<String>,
    /// note: where in the image
    #[arg(long, value_name = "X,Y", allow_hyphen_values = true, value_parser = point)]
    point: Option<Point>,
    #[command(flatten)]
    by: By,
    /// Print what would be added and write nothing
    #[arg(long)]
    dry_run: bool,
}

type Point = [i32; 2];
/// clap takes a plain `Vec` for a flag that may be repeated.
type Points = Box<[Point]>;

fn point(text: &str) -> Result<Point, String> {
    let parsed = text.split_once(',').and_then(|(x, y)| Some([x.trim().parse().ok()?, y.trim().parse().ok()?]));
    parsed.ok_or_else(|| format!("{text:?}: expected x,y in whole pixels"))
}

fn points(text: &str) -> Result<Points, String> {
    text.split_whitespace().map(point).collect()
}

fn check(text: &str) -> Result<String, String> {
    let known = CheckKind::from_name(text).map(|kind| kind.name().to_owned());
    known.ok_or_else(|| format!("no check {text:?}; `carpus list checks` names them"))
}

/// Makes the decisions, checks them and adds them.
pub fn run(args: &Args, ui: &Ui) -> anyhow::Result<Status> {
    let path = args.place.path();
    let there = path.exists().then_some(path);
    let (before, status) = read_corrections(there, ui)?;
    let data = match &args.data {
        Some(root) => Some(Dataset::open(root)?.with_corrections(before.clone())),
        None => None,
    };
    let author = args.by.author(ui)?;
    let targets = match &args.from {
        Some(findings) => of_findings(args, findings, &before, ui)?,
        None => {
            let reason = args.by.reason.clone().unwrap_or_default();
            let images = args.image.iter().map(|id| Target::Image(image_id(id)));
            images.chain(args.patient.clone().map(Target::Patient)).map(|target| (target, reason.clone())).collect()
        }
    };
    let time = now();
    let mut decisions = Vec::new();
    for (target, reason) in targets {
        let (action, annotation_sha256) = args.action_for(&target, data.as_ref())?;
        let decision =
            Decision { line: 0, target, action, annotation_sha256, reason, author: author.clone(), time: time.clone() };
        // As it will be read.
        decisions.push(Decision::parse(decision.to_line().as_bytes(), 0).map_err(|reason| anyhow!(reason))?);
    }
    let after = before.with(&decisions);
    let mut added: Vec<Decision> = after.history()[before.history().len()..].iter().map(|(d, _)| d.clone()).collect();
    let mut unfit = match data {
        Some(data) => data.with_corrections(after).check_corrections()?,
        None => Vec::new(),
    };
    // What did not fit before is not the fault of these.
    let new = |p: &Problem| added.iter().any(|decision| p.place == format!("line {}", decision.line));
    unfit.retain(new);
    if !unfit.is_empty() {
        let reasons: Vec<&str> = unfit.iter().map(|p| p.reason.as_str()).collect();
        bail!("nothing was added: {}", reasons.join("; "));
    }
    if !args.dry_run && !decisions.is_empty() {
        let first = append(path, &decisions)?;
        added.iter_mut().enumerate().for_each(|(i, decision)| decision.line = first + i);
    }
    let rows = print(added.iter().map(|decision| (decision, State::InForce)), ui);
    ui.line(format_args!(
        "{} decisions {} {}",
        rows.len(),
        if args.dry_run { "would be added to" } else { "added to" },
        path.display()
    ));
    ui.json(&json!({"file": path, "dry_run": args.dry_run, "added": rows}))?;
    Ok(status)
}

/// The images of the findings and what was found, less those decided like this already.
fn of_findings(args: &Args, findings: &Path, before: &Corrections, ui: &Ui) -> anyhow::Result<Vec<(Target, String)>> {
    ensure!(
        FOR_FINDINGS.contains(&args.action.as_str()),
        "--from takes --action {}: the other actions need to know more than what a finding holds",
        FOR_FINDINGS.join(", ")
    );
    let (rows, _) = read_findings(findings)?;
    let check = args.check.as_deref().unwrap_or_default();
    let mut seen = HashSet::new();
    let of_check = rows.iter().filter(|row| {
        row.check == check
            && args.label.as_ref().is_none_or(|label| *label == row.label)
            && !row.image_id.is_empty()
            && seen.insert(image_id(&row.image_id))
    });
    let chosen: Vec<_> = of_check.take(args.top.unwrap_or(usize::MAX)).collect();
    let action = args.action_for(&Target::Image(String::new()), None)?.0;
    let same = before.decisions().filter(|d| d.action == action).map(|d| d.target.id());
    let decided: HashSet<&str> = same.collect();
    let is_decided =
        |id: &str, patient: &str| decided.contains(id) || action == Action::Exclude {} && before.excludes(id, patient);
    let found = chosen.len();
    let targets: Vec<(Target, String)> = chosen
        .into_iter()
        .map(|row| (image_id(&row.image_id), row))
        .filter(|(id, row)| !is_decided(id, &row.patient_id))
        .map(|(id, row)| (Target::Image(id), args.by.reason.clone().unwrap_or_else(|| row.message.clone())))
        .collect();
    ui.note(format_args!("{found} images with findings of {check}, {} decided already", found - targets.len()));
    Ok(targets)
}

impl Args {
    /// The action by the flags, and for one about shapes the hash of the image's annotation.
    fn action_for(&self, target: &Target, data: Option<&Dataset>) -> anyhow::Result<(Action, Option<String>)> {
        let mut fields = self.fields()?;
        let mut hash = None;
        if ABOUT_SHAPES.contains(&self.action.as_str()) {
            let data = data.with_context(|| {
                format!("{} needs --data DATA: the shape and the annotation's hash are looked up in it", self.action)
            })?;
            ensure!(
                !data.is_copy(),
                "{} is a copy with corrections applied; decide on the original data",
                data.root().display()
            );
            let entry = data.find(target.id()).with_context(|| format!("the data has no image {}", target.id()))?;
            let read = data.annotation(entry)?.with_context(|| format!("image {} has no annotation", target.id()))?;
            if let Some(index) = self.shape {
                // With the label that it has after the decisions before this one.
                let shape = read.annotation.shapes.iter().find(|s| s.index == index);
                let shape = shape.with_context(|| format!("image {} has no shape {index}", target.id()))?;
                fields.insert("shape".into(), json!({"index": index, "label": shape.label}));
            }
            hash = Some(read.sha256);
        } else if let Some(index) = self.shape {
            fields.insert("shape".into(), index.into());
        }
        let action = serde_json::from_value(Value::Object(fields))
            .map_err(|e| anyhow!("{}: {e}; `carpus list corrections` prints the fields of each action", self.action))?;
        Ok((action, hash))
    }

    /// The fields that were given, but for the shape.
    fn fields(&self) -> anyhow::Result<Map<String, Value>> {
        let mut labels = Map::new();
        for pair in &self.labels {
            let (old, new) = pair.split_once('=').with_context(|| format!("--labels {pair}: expected OLD=NEW"))?;
            ensure!(labels.insert(old.into(), new.into()).is_none(), "--labels renames {old} twice");
        }
        match &self.swap[..] {
            [] => {}
            [a, b] => labels.extend([(a.clone(), b.as_str().into()), (b.clone(), a.as_str().into())]),
            other => bail!("--swap {}: expected two labels", other.join(",")),
        }
        let number = |text: &String| text.parse::<f64>().ok().and_then(|_| serde_json::from_str(text).ok());
        let value = self.value.as_ref().map(|text| match self.field.as_deref() {
            _ if text.is_empty() => Value::Null,
            Some("note" | "sex") => Value::from(text.as_str()),
            _ => number(text).unwrap_or_else(|| text.as_str().into()),
        });
        let text = |text: &Option<String>| text.clone().map(Value::from);
        let fields = [
            ("do", Some(self.action.as_str().into())),
            ("labels", (!labels.is_empty()).then_some(Value::Object(labels))),
            ("to", text(&self.to)),
            ("points", self.points.as_ref().map(|points| json!(points))),
            ("side", text(&self.side)),
            ("field", text(&self.field)),
            ("value", value),
            ("check", text(&self.check)),
            ("label", text(&self.label)),
            ("point", self.point.map(|point| json!(point))),
        ];
        // `--check` with `--from` says which findings; an exclusion has no field for it.
        let is_selection =
            |name: &str| self.from.is_some() && self.action == "exclude" && ["check", "label"].contains(&name);
        let given = fields.into_iter().filter(|(name, _)| !is_selection(name));
        Ok(given.filter_map(|(name, value)| Some((name.to_owned(), value?))).collect())
    }
}
