//! The corrections file: people's decisions about images, shapes and metadata. One JSON object per line, append-only,
//! suited to version control. The original data is never changed; corrections are applied when it is read.
//!
//! ```json
//! {"version":2,"image_id":"image1661130828152_R","action":{"do":"exclude"},"reason":"ring","author":"kim","time":"2026-11-29T10:00:00Z"}
//! {"version":2,"patient_id":"040","action":{"do":"set-metadata","field":"age","value":41},"reason":"typing error","author":"kim","time":"2026-11-29"}
//! ```
//!
//! `carpus list corrections` prints every action. To make a decision inactive, add an `undo` of its id; lines are never
//! edited, and an undo can be undone. Ids come from the content of a line, so the files of two people can be
//! concatenated; a line that occurs twice counts once.

mod action;
mod apply;
mod decision;
mod file;
mod relabelling;
#[cfg(test)]
mod tests;
mod time;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::Path;

use serde::Serialize;
use serde_json::Value;

use super::{Problem, ProblemSeverity, Side, image_id};
use crate::bounded;
use crate::digest::sha256;

pub use action::{ACTIONS, Action, CorrectableField, Relabel, ShapeRef, unknown_label};
pub use decision::{Decision, Target, VERSION};
pub use file::{CorrectionsError, append};
pub use relabelling::{other_relabelling, relabelling, shapes_labelled};

/// Longest line read, in bytes: an outline of 50,000 points.
const MAX_LINE: usize = 1 << 20;
/// Bytes of a longer line that are shown in its problem.
const SHOWN_OF_LONG_LINE: usize = 200;

/// Whether a decision is applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It is applied.
    #[serde(rename = "in-force")]
    Active,
    /// An active undo refers to it.
    Undone,
    /// An earlier line is equal.
    Repeated,
}

impl State {
    /// The key of `carpus corrections stats --json`.
    pub fn name(self) -> &'static str {
        match self {
            State::Active => "in force", // word-list: allow
            State::Undone => "undone",
            State::Repeated => "repeated",
        }
    }
}

/// A corrections file as read; the default is empty.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Corrections {
    file: String,
    sha256: String,
    lines: usize,
    /// Lines that are decisions, including undos of unknown decisions.
    readable: usize,
    decisions: Vec<(Decision, State)>,
    problems: Vec<Problem>,
    /// Active decisions by image and by patient, without undos.
    images: HashMap<String, Vec<usize>>,
    patients: HashMap<String, Vec<usize>>,
}

impl Corrections {
    /// Reads a file. Invalid lines become problems, the others are used.
    ///
    /// # Errors
    /// The file cannot be read, or it has lines of which none is a decision.
    pub fn read(path: &Path) -> Result<Corrections, CorrectionsError> {
        let read = Corrections::read_any(path)?;
        match read.problems.first() {
            Some(first) if read.readable == 0 => {
                Err(CorrectionsError::NoDecision { path: path.into(), reason: first.reason.clone() })
            }
            _ => Ok(read),
        }
    }

    /// As [`Corrections::read`], but a file in which no line is a decision is no error.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn read_any(path: &Path) -> Result<Corrections, CorrectionsError> {
        let bytes = bounded::read(path, bounded::MAX_TEXT).map_err(|source| match source.kind() {
            std::io::ErrorKind::NotFound => CorrectionsError::Missing { path: path.into() },
            _ => CorrectionsError::Io { path: path.into(), source },
        })?;
        Ok(Corrections::parse(&path.display().to_string(), &bytes))
    }

    /// As [`Corrections::read_any`], from the bytes of the file called `file`.
    pub fn parse(file: &str, bytes: &[u8]) -> Corrections {
        let mut read = Corrections { file: file.to_owned(), sha256: sha256(bytes), ..Corrections::default() };
        let mut decisions = Vec::new();
        let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        // Line by line from bytes: a line that is not UTF-8 must not make the others unreadable.
        for (i, line) in text.split_inclusive(|b| *b == b'\n').enumerate() {
            read.lines = i + 1;
            if line.trim_ascii().is_empty() {
                continue;
            }
            if line.len() > MAX_LINE {
                let reason = format!("the line has {} bytes; at most {MAX_LINE} are read", line.len());
                read.problems.push(read.invalid_line(i + 1, &line[..SHOWN_OF_LONG_LINE], reason));
                continue;
            }
            match Decision::parse(line, i + 1) {
                Ok(decision) => decisions.push(decision),
                Err(reason) => read.problems.push(read.invalid_line(i + 1, line, reason)),
            }
        }
        read.readable = decisions.len();
        read.resolve(decisions);
        read
    }

    /// These decisions, followed by `added` on the next lines. The hash stays that of the file.
    pub fn with(&self, added: &[Decision]) -> Corrections {
        let mut all = self.decisions.iter().map(|(d, _)| d.clone()).collect::<Vec<_>>();
        let at = |(i, decision): (usize, &Decision)| Decision { line: self.lines + 1 + i, ..decision.clone() };
        all.extend(added.iter().enumerate().map(at));
        let (images, patients) = (HashMap::new(), HashMap::new());
        let (lines, readable) = (self.lines + added.len(), self.readable + added.len());
        let mut with = Corrections { lines, readable, decisions: Vec::new(), images, patients, ..self.clone() };
        with.resolve(all);
        with
    }

    /// Determines which decisions are active.
    fn resolve(&mut self, decisions: Vec<Decision>) {
        let mut first: HashMap<String, Target> = HashMap::new();
        for decision in decisions {
            let invalid = match &decision.action {
                Action::Undo { decision: id } => match first.get(id) {
                    None => Some(format!("undo of {id}: no earlier line has this id")),
                    Some(target) if *target != decision.target => {
                        Some(format!("undo of {id}, which is about {}", target.id()))
                    }
                    Some(_) => None,
                },
                _ => None,
            };
            if let Some(reason) = invalid {
                let line = decision.to_line();
                self.problems.push(self.invalid_line(decision.line, line.as_bytes(), reason));
                continue;
            }
            let repeated = first.insert(decision.id(), decision.target.clone()).is_some();
            self.decisions.push((decision, if repeated { State::Repeated } else { State::Active }));
        }
        // From the end: an undo is active unless a later active undo refers to it.
        let mut undone = HashSet::new();
        for (decision, state) in self.decisions.iter_mut().rev().filter(|(_, state)| *state == State::Active) {
            if undone.contains(&decision.id()) {
                *state = State::Undone;
            } else if let Action::Undo { decision } = &decision.action {
                undone.insert(decision.clone());
            }
        }
        for (at, (decision, state)) in self.decisions.iter().enumerate() {
            if *state == State::Active && !matches!(decision.action, Action::Undo { .. }) {
                let (index, id) = match &decision.target {
                    Target::Image(id) => (&mut self.images, id),
                    Target::Patient(id) => (&mut self.patients, id),
                };
                index.entry(id.clone()).or_default().push(at);
            }
        }
        self.problems.sort_by_key(|p| p.place.strip_prefix("line ").and_then(|line| line.parse::<usize>().ok()));
    }

    fn invalid_line(&self, line: usize, text: &[u8], reason: String) -> Problem {
        Problem::new(ProblemSeverity::Error, &self.file, reason, "line skipped")
            .at(format!("line {line}"))
            .raw(String::from_utf8_lossy(text.trim_ascii()).as_ref())
    }

    /// The name of the file as given; empty without a file.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// SHA-256 of the file's bytes in hex digits; empty without a file.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// Whether no decision is active.
    pub fn is_empty(&self) -> bool {
        self.images.is_empty() && self.patients.is_empty()
    }

    /// Lines that are not decisions, and undos of unknown decisions, in the order of the lines.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// The active decisions in order, without undos.
    pub fn decisions(&self) -> impl Iterator<Item = &Decision> {
        let is_applied = |d: &&(Decision, State)| d.1 == State::Active && !matches!(d.0.action, Action::Undo { .. });
        self.decisions.iter().filter(is_applied).map(|(decision, _)| decision)
    }

    /// Every valid line in order, including undone and repeated ones and undos.
    pub fn history(&self) -> &[(Decision, State)] {
        &self.decisions
    }

    /// The target and the line of each active decision, so that a caller can report targets that do not exist.
    pub fn targets(&self) -> impl Iterator<Item = (&Target, usize)> {
        self.decisions().map(|decision| (&decision.target, decision.line))
    }

    /// The active decisions about an image, in order.
    pub fn of_image(&self, id: &str) -> impl Iterator<Item = &Decision> {
        self.images.get(&image_id(id)).into_iter().flatten().map(|at| &self.decisions[*at].0)
    }

    fn of_patient(&self, id: &str) -> impl Iterator<Item = &Decision> {
        self.patients.get(&decision::patient_id(id)).into_iter().flatten().map(|at| &self.decisions[*at].0)
    }

    /// Whether the image, or its patient, is excluded.
    pub fn excludes(&self, image_id: &str, patient_id: &str) -> bool {
        self.of_image(image_id).chain(self.of_patient(patient_id)).any(|d| d.action == Action::Exclude {})
    }

    /// The active decisions that [`Corrections::apply`] applies to the image's annotation, in order.
    pub fn about_shapes(&self, image_id: &str) -> Vec<&Decision> {
        self.of_image(image_id).filter(|d| d.action.is_about_shapes()).collect()
    }

    /// The side that the last decision about it sets.
    pub fn side(&self, image_id: &str) -> Option<Side> {
        let stated = |d: &Decision| if let Action::SetSide { side } = d.action { Some(side) } else { None };
        self.of_image(image_id).filter_map(stated).last()
    }

    /// Cells of the patients table to set, in order.
    pub fn metadata<'a>(&'a self, patient_id: &str) -> Vec<(CorrectableField, &'a Value)> {
        let cell = |d: &'a Decision| match &d.action {
            Action::SetMetadata { field, value } => Some((*field, value)),
            _ => None,
        };
        self.of_patient(patient_id).filter_map(cell).collect()
    }

    /// Line of the last active decision that sets a metadata field of a patient.
    fn set_by(&self, patient_id: &str, field: CorrectableField) -> Option<usize> {
        let sets = |d: &&Decision| matches!(&d.action, Action::SetMetadata { field: f, .. } if *f == field);
        self.of_patient(patient_id).filter(sets).last().map(|d| d.line)
    }

    /// Marks a problem with a patient's metadata as settled if every field that it leaves in doubt is set by a
    /// decision: its severity becomes `info`, and its action names the lines of the decisions.
    pub fn settle(&self, problem: &mut Problem) {
        let (Some(patient_id), false) = (&problem.patient_id, problem.fields.is_empty()) else { return };
        let lines: Option<BTreeSet<usize>> = problem.fields.iter().map(|f| self.set_by(patient_id, *f)).collect();
        let Some(lines) = lines else { return };
        let noun = if lines.len() == 1 { "line" } else { "lines" };
        let lines: Vec<String> = lines.iter().map(usize::to_string).collect();
        problem.severity = ProblemSeverity::Info;
        problem.action = format!("set by {noun} {} of {}", lines.join(", "), self.file);
    }

    /// Whether a finding of `check` in the image was checked and accepted. `label` is that of the finding.
    pub fn keeps(&self, image_id: &str, check: &str, label: &str) -> bool {
        // Labels joined by `|` are a set.
        let set = |labels: &str| labels.split('|').map(str::to_owned).collect::<HashSet<String>>();
        let covers = |kept: &Option<String>, found: &str| kept.as_ref().is_none_or(|kept| set(kept) == set(found));
        self.of_image(image_id)
            .any(|d| matches!(&d.action, Action::Keep { check: c, label: l } if covers(c, check) && covers(l, label)))
    }

    /// The active decision that has the same effect as a new one and is not changed by a later one. `None` for notes
    /// and flags, which may be repeated.
    pub fn decided_by(&self, new: &Decision) -> Option<&Decision> {
        let earlier: Vec<&Decision> = match &new.target {
            Target::Image(id) => self.of_image(id).collect(),
            Target::Patient(id) => self.of_patient(id).collect(),
        };
        let is_equal = |d: &&&Decision| d.action == new.action;
        let last = |about: &dyn Fn(&Action) -> bool| earlier.iter().rfind(|d| about(&d.action)).copied();
        let last_of_shapes = |about: &dyn Fn(&Action) -> bool| {
            earlier.iter().rfind(|d| d.annotation_sha256 == new.annotation_sha256 && about(&d.action)).copied()
        };
        match &new.action {
            Action::Exclude {} | Action::Keep { .. } => earlier.iter().find(is_equal).copied(),
            Action::SetSide { .. } => last(&|a| matches!(a, Action::SetSide { .. })).filter(|d| d.action == new.action),
            Action::SetMetadata { field, value } => {
                let cell = last(&|a| matches!(a, Action::SetMetadata { field: f, .. } if f == field))?;
                matches!(&cell.action, Action::SetMetadata { value: v, .. } if is_same(v, value)).then_some(cell)
            }
            Action::Drop { shape } => {
                last_of_shapes(&|a| matches!(a, Action::Drop { shape: s } if s.index == shape.index))
            }
            Action::Replace { shape, points } => {
                let outline =
                    last_of_shapes(&|a| matches!(a, Action::Replace { shape: s, .. } if s.index == shape.index))?;
                matches!(&outline.action, Action::Replace { points: p, .. } if p == points).then_some(outline)
            }
            Action::Relabel(relabel) => {
                let indices = relabel.indices();
                let touches = |a: &Action| matches!(a, Action::Relabel(r) if !r.indices().is_disjoint(&indices));
                let named = last_of_shapes(&touches)?;
                let says_the_same = match (&named.action, relabel) {
                    (Action::Relabel(Relabel::Shape { to: a, .. }), Relabel::Shape { to: b, .. }) => a == b,
                    (Action::Relabel(old @ Relabel::Labels { labels: a, .. }), Relabel::Labels { labels: b, .. }) => {
                        a == b && old.indices() == indices
                    }
                    _ => false,
                };
                says_the_same.then_some(named)
            }
            Action::Note { .. } | Action::Flag { .. } | Action::Undo { .. } => None,
        }
    }

    /// Active decisions that set a cell or a side to another value than an earlier decision, or give a shape another
    /// outline than the earlier decision of another person. The last one counts.
    pub fn contradictions(&self) -> Vec<Problem> {
        let mut before: HashMap<(&Target, &str), (usize, Value)> = HashMap::new();
        let mut outlines: HashMap<(&Target, usize), &Decision> = HashMap::new();
        let mut problems = Vec::new();
        for decision in self.decisions() {
            let (what, value) = match &decision.action {
                Action::SetMetadata { field, value } => (field.name(), value.clone()),
                Action::SetSide { side } => ("the side", Value::from(side.name())),
                Action::Replace { shape, .. } => {
                    let earlier = outlines.insert((&decision.target, shape.index), decision);
                    problems.extend(earlier.and_then(|earlier| self.other_outline(earlier, decision)));
                    continue;
                }
                _ => continue,
            };
            if let Some((line, other)) = before.insert((&decision.target, what), (decision.line, value.clone()))
                && !is_same(&other, &value)
            {
                let reason = format!("{what} is set to {value} here and to {other} in line {line}");
                problems.push(self.warning(decision, reason, "the last one counts; undo the other"));
            }
        }
        problems
    }

    /// A warning if two people give a shape different outlines. The second outline of one person refines the first.
    fn other_outline(&self, earlier: &Decision, decision: &Decision) -> Option<Problem> {
        let (Action::Replace { shape, points }, Action::Replace { points: others, .. }) =
            (&decision.action, &earlier.action)
        else {
            return None;
        };
        let is_other = points != others
            && earlier.author != decision.author
            && earlier.annotation_sha256 == decision.annotation_sha256;
        let reason = || {
            let Decision { line, author, .. } = earlier;
            format!("shape {} gets another outline here than in line {line}, which is by {author}", shape.index)
        };
        is_other.then(|| self.warning(decision, reason(), "the last one counts; undo the other"))
    }

    /// A warning about a decision that is applied.
    pub fn warning(&self, decision: &Decision, reason: impl Into<String>, action: &str) -> Problem {
        Problem { severity: ProblemSeverity::Warning, action: action.to_owned(), ..self.problem(decision, reason) }
    }

    /// The error that a decision cannot be applied, as a problem of its line.
    pub fn problem(&self, decision: &Decision, reason: impl Into<String>) -> Problem {
        let action = serde_json::to_string(&decision.action).unwrap_or_default();
        let problem = Problem::new(ProblemSeverity::Error, &self.file, reason, "decision not applied")
            .at(format!("line {}", decision.line))
            .raw(&action);
        match &decision.target {
            Target::Image(id) => problem.of_image(id),
            Target::Patient(id) => problem.of_patient(id),
        }
    }
}

/// Whether two values of a cell are equal: 41 is 41.0.
fn is_same(a: &Value, b: &Value) -> bool {
    a == b || a.as_f64().is_some_and(|a| b.as_f64() == Some(a))
}
