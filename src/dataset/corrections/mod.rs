//! The corrections file: what people decided about images, shapes and metadata. One JSON object per line, append-only,
//! kept under version control. The original data is never changed; corrections are applied on reading.
//!
//! ```json
//! {"version":2,"image_id":"image1661130828152_R","action":{"do":"exclude"},"reason":"ring","author":"kim","time":"2026-11-29T10:00:00Z"}
//! {"version":2,"patient_id":"040","action":{"do":"set-metadata","field":"age","value":41},"reason":"typing error","author":"kim","time":"2026-11-29"}
//! ```
//!
//! `carpus list corrections` prints every action. A decision is put out of force by a later `undo` of its id, never by
//! editing its line; an undo can be undone. Ids come from the content of a line, so the files of two people can be
//! joined one after the other; a line that is there twice counts once.

mod action;
mod apply;
mod decision;
mod file;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::path::Path;

use serde::Serialize;
use serde_json::Value;

use super::{Problem, ProblemSeverity, Side, image_id};
use crate::bounded;
use crate::digest::sha256;

pub use action::{ACTIONS, Action, CorrectableField, Relabel, ShapeRef, no_label};
pub use decision::{Decision, Target, VERSION};
pub use file::{CorrectionsError, append};

/// Longest line read, in bytes: an outline of 50,000 points.
const MAX_LINE: usize = 1 << 20;
/// Bytes of a longer one that its problem shows.
const RAW: usize = 200;

/// Whether a decision counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It does.
    InForce,
    /// An undo in force names it.
    Undone,
    /// An earlier line is the same.
    Repeated,
}

impl State {
    /// `in force`, `undone`, `repeated`.
    pub fn name(self) -> &'static str {
        match self {
            State::InForce => "in force",
            State::Undone => "undone",
            State::Repeated => "repeated",
        }
    }
}

/// A corrections file as read; the default holds none.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Corrections {
    file: String,
    sha256: String,
    lines: usize,
    /// Lines that are decisions, if perhaps undos of none.
    readable: usize,
    decisions: Vec<(Decision, State)>,
    problems: Vec<Problem>,
    /// Decisions in force by image and by patient, undos left out.
    images: HashMap<String, Vec<usize>>,
    patients: HashMap<String, Vec<usize>>,
}

impl Corrections {
    /// Reads a file. Bad lines become problems, the others are used.
    ///
    /// # Errors
    /// The file cannot be read, or there are lines in it and none is a decision.
    pub fn read(path: &Path) -> Result<Corrections, CorrectionsError> {
        let read = Corrections::read_any(path)?;
        match read.problems.first() {
            Some(first) if read.readable == 0 => {
                Err(CorrectionsError::NoDecision { path: path.into(), reason: first.reason.clone() })
            }
            _ => Ok(read),
        }
    }

    /// As [`Corrections::read`], and a file in which no line is a decision is none of its errors.
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

    /// As [`Corrections::read`], from the bytes of the file called `file`.
    pub fn parse(file: &str, bytes: &[u8]) -> Corrections {
        let mut read = Corrections { file: file.to_owned(), sha256: sha256(bytes), ..Corrections::default() };
        let mut decisions = Vec::new();
        let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        // Line by line from bytes: a line that is not UTF-8 must not spoil the others.
        for (i, line) in text.split_inclusive(|b| *b == b'\n').enumerate() {
            read.lines = i + 1;
            if line.trim_ascii().is_empty() {
                continue;
            }
            if line.len() > MAX_LINE {
                let reason = format!("{} bytes, more than the {MAX_LINE} of a line that are read", line.len());
                read.problems.push(read.bad_line(i + 1, &line[..RAW], reason));
                continue;
            }
            match Decision::parse(line, i + 1) {
                Ok(decision) => decisions.push(decision),
                Err(reason) => read.problems.push(read.bad_line(i + 1, line, reason)),
            }
        }
        read.readable = decisions.len();
        read.settle(decisions);
        read
    }

    /// These and, after them, `added` on the lines that follow. The hash stays that of the file.
    pub fn with(&self, added: &[Decision]) -> Corrections {
        let mut all = self.decisions.iter().map(|(d, _)| d.clone()).collect::<Vec<_>>();
        let at = |(i, decision): (usize, &Decision)| Decision { line: self.lines + 1 + i, ..decision.clone() };
        all.extend(added.iter().enumerate().map(at));
        let (images, patients) = (HashMap::new(), HashMap::new());
        let (lines, readable) = (self.lines + added.len(), self.readable + added.len());
        let mut with = Corrections { lines, readable, decisions: Vec::new(), images, patients, ..self.clone() };
        with.settle(all);
        with
    }

    /// Works out which decisions are in force.
    fn settle(&mut self, decisions: Vec<Decision>) {
        let mut first: HashMap<String, Target> = HashMap::new();
        for decision in decisions {
            let wrong = match &decision.action {
                Action::Undo { decision: id } => match first.get(id) {
                    None => Some(format!("undo of {id}: no earlier line has this id")),
                    Some(target) if *target != decision.target => {
                        Some(format!("undo of {id}, which is about {}", target.id()))
                    }
                    Some(_) => None,
                },
                _ => None,
            };
            if let Some(reason) = wrong {
                let line = decision.to_line();
                self.problems.push(self.bad_line(decision.line, line.as_bytes(), reason));
                continue;
            }
            let repeated = first.insert(decision.id(), decision.target.clone()).is_some();
            self.decisions.push((decision, if repeated { State::Repeated } else { State::InForce }));
        }
        // From the end: an undo counts unless a later one that counts names it.
        let mut undone = HashSet::new();
        for (decision, state) in self.decisions.iter_mut().rev().filter(|(_, state)| *state == State::InForce) {
            if undone.contains(&decision.id()) {
                *state = State::Undone;
            } else if let Action::Undo { decision } = &decision.action {
                undone.insert(decision.clone());
            }
        }
        for (at, (decision, state)) in self.decisions.iter().enumerate() {
            if *state == State::InForce && !matches!(decision.action, Action::Undo { .. }) {
                let (index, id) = match &decision.target {
                    Target::Image(id) => (&mut self.images, id),
                    Target::Patient(id) => (&mut self.patients, id),
                };
                index.entry(id.clone()).or_default().push(at);
            }
        }
        self.problems.sort_by_key(|p| p.place.strip_prefix("line ").and_then(|line| line.parse::<usize>().ok()));
    }

    fn bad_line(&self, line: usize, text: &[u8], reason: String) -> Problem {
        Problem::new(ProblemSeverity::Error, &self.file, reason, "line skipped")
            .at(format!("line {line}"))
            .raw(String::from_utf8_lossy(text.trim_ascii()).as_ref())
    }

    /// The name of the file as given; empty for none.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// SHA-256 of the file's bytes in hex digits; empty for none.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// Whether no decision is in force.
    pub fn is_empty(&self) -> bool {
        self.images.is_empty() && self.patients.is_empty()
    }

    /// Lines that are not decisions, and undos of unknown decisions, in the order of the lines.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// The decisions in force, in order; undos left out.
    pub fn decisions(&self) -> impl Iterator<Item = &Decision> {
        let counts = |d: &&(Decision, State)| d.1 == State::InForce && !matches!(d.0.action, Action::Undo { .. });
        self.decisions.iter().filter(counts).map(|(decision, _)| decision)
    }

    /// Every good line in order, undone ones, repeated ones and undos too.
    pub fn history(&self) -> &[(Decision, State)] {
        &self.decisions
    }

    /// What the decisions in force are about, with the line of each, so that a caller can report what does not exist.
    pub fn targets(&self) -> impl Iterator<Item = (&Target, usize)> {
        self.decisions().map(|decision| (&decision.target, decision.line))
    }

    /// The decisions in force about an image, in order.
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

    /// The decisions in force that [`Corrections::apply`] applies to the image's annotation, in order.
    pub fn about_shapes(&self, image_id: &str) -> Vec<&Decision> {
        self.of_image(image_id).filter(|d| d.action.is_about_shapes()).collect()
    }

    /// The hand that the last decision about it states.
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

    /// Whether a finding of `check` in the image was looked at and is fine. `label` is that of the finding.
    pub fn keeps(&self, image_id: &str, check: &str, label: &str) -> bool {
        // Labels joined by `|` are a set.
        let set = |labels: &str| labels.split('|').map(str::to_owned).collect::<HashSet<String>>();
        let covers = |kept: &Option<String>, found: &str| kept.as_ref().is_none_or(|kept| set(kept) == set(found));
        self.of_image(image_id)
            .any(|d| matches!(&d.action, Action::Keep { check: c, label: l } if covers(c, check) && covers(l, label)))
    }

    /// The decision in force that says the same as a new one, and that no later one has changed since. Of remarks and requests for a
    /// second reader there may be several.
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

    /// Decisions in force of which one sets a cell or a side otherwise than an earlier one. The last counts.
    pub fn contradictions(&self) -> Vec<Problem> {
        let mut before: HashMap<(&Target, &str), (usize, Value)> = HashMap::new();
        let mut problems = Vec::new();
        for decision in self.decisions() {
            let (what, value) = match &decision.action {
                Action::SetMetadata { field, value } => (field.name(), value.clone()),
                Action::SetSide { side } => ("the side", Value::from(side.name())),
                _ => continue,
            };
            if let Some((line, other)) = before.insert((&decision.target, what), (decision.line, value.clone()))
                && !is_same(&other, &value)
            {
                let reason = format!("{what} is {value} here and {other} by line {line}");
                problems.push(self.warning(decision, reason, "the last counts; undo the other"));
            }
        }
        problems
    }

    /// Something odd about a decision that is followed.
    pub fn warning(&self, decision: &Decision, reason: impl Into<String>, action: &str) -> Problem {
        Problem { severity: ProblemSeverity::Warning, action: action.to_owned(), ..self.problem(decision, reason) }
    }

    /// A decision that cannot be followed, as a problem of its line.
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

/// Whether two values of a cell are the same: 41 is 41.0.
fn is_same(a: &Value, b: &Value) -> bool {
    a == b || a.as_f64().is_some_and(|a| b.as_f64() == Some(a))
}
