//! Decisions about findings: keep, exclude, accept the proposal, flag; undo.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::json;

use super::Review;
use super::judgement::ListedFinding;
use super::ledger::Snapshot;
use super::refusal::Refusal;
use crate::bones::Bone;
use crate::dataset::annotation::Annotation;
use crate::dataset::corrections::{
    Action, Corrections, Decision, Relabel, State, Target, other_relabelling, relabelling,
};
use crate::dataset::{Dataset, ImageEntry, ReadAnnotation, Side};
use crate::digest::sha256;

/// Longest name of a curator, in characters.
const MAX_AUTHOR: usize = 100;
/// Longest reason, in characters.
const MAX_REASON: usize = 2000;
/// Most findings that one request may keep.
const MAX_BULK: usize = 100_000;

/// Who decides and why.
#[derive(Debug, Deserialize)]
pub struct Signature {
    /// Name of the curator.
    pub author: String,
    /// The reason; may be empty.
    #[serde(default)]
    pub reason: String,
}

impl Signature {
    /// The signature without spaces at its ends.
    pub fn checked(&self) -> Result<Signature, Refusal> {
        let (author, reason) = (self.author.trim(), self.reason.trim());
        if author.is_empty() {
            return Err(Refusal::invalid("the name of the curator is empty"));
        }
        if author.chars().count() > MAX_AUTHOR || author.contains(char::is_control) {
            return Err(Refusal::invalid(format!(
                "the name of the curator has more than {MAX_AUTHOR} characters, or control characters"
            )));
        }
        if reason.chars().count() > MAX_REASON {
            return Err(Refusal::invalid(format!("the reason has more than {MAX_REASON} characters")));
        }
        Ok(Signature { author: author.to_owned(), reason: reason.to_owned() })
    }
}

/// What a curator decides about a finding.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum Choice {
    /// The annotation is correct.
    Keep,
    /// Leave the image (or the patient) out.
    Exclude,
    /// Relabel as the finding proposes.
    Accept,
    /// Have another person look at it.
    Flag,
    /// The image shows a left hand.
    SideL,
    /// The image shows a right hand.
    SideR,
}

/// A decision about one finding.
#[derive(Debug, Deserialize)]
pub struct DecideRequest {
    /// Id of the finding.
    pub finding: String,
    /// The decision.
    pub choice: Choice,
    /// The version of the image that the curator sees; absent for a finding without image.
    #[serde(default)]
    pub version: Option<String>,
    #[serde(flatten)]
    pub by: Signature,
}

/// Keeping many findings.
#[derive(Debug, Deserialize)]
pub struct BulkRequest {
    /// Ids of the findings.
    pub findings: Vec<String>,
    #[serde(flatten)]
    pub by: Signature,
}

/// Undoing a decision.
#[derive(Debug, Deserialize)]
pub struct UndoRequest {
    /// Id of the decision.
    pub decision: String,
    #[serde(flatten)]
    pub by: Signature,
}

/// The annotation of an image as it was judged.
pub struct Judged {
    /// As stored, without corrections.
    pub stored: Annotation,
    /// After the decisions.
    pub now: ReadAnnotation,
    /// Changes when a decision changes what the image is or its annotation contains.
    pub version: String,
}

/// The annotation of an image, and its version.
pub fn judged(data: &Dataset, entry: &ImageEntry, corrections: &Corrections) -> Result<Option<Judged>, Refusal> {
    let failed = |error| Refusal::failed(format!("cannot read the annotation of {}: {error}", entry.image_id));
    let Some(stored) = data.annotation(entry).map_err(failed)? else { return Ok(None) };
    let mut now = stored.clone();
    now.problems.extend(corrections.apply(&entry.image_id, Some(&now.sha256), &mut now.annotation));
    let version = version(entry, corrections, &now.sha256);
    Ok(Some(Judged { stored: stored.annotation, now, version }))
}

/// A hash of what decisions make of an image. Decisions to keep or flag it do not change it.
pub fn version(entry: &ImageEntry, corrections: &Corrections, annotation_sha256: &str) -> String {
    let changes = |decision: &&Decision| {
        decision.action.is_about_shapes() || matches!(decision.action, Action::Exclude {} | Action::SetSide { .. })
    };
    let is_about = |decision: &&Decision| match &decision.target {
        Target::Image(id) => *id == entry.image_id,
        Target::Patient(id) => *id == entry.patient_id,
    };
    let ids = corrections.decisions().filter(is_about).filter(changes).map(Decision::id);
    let text = ids.fold(annotation_sha256.to_owned(), |text, id| text + " " + &id);
    sha256(text.as_bytes())[..12].to_owned()
}

impl Review {
    /// Appends the decision about a finding. Returns the ids of the added decisions: none if the curator has decided the
    /// same before.
    pub(super) fn decide(&self, request: &DecideRequest) -> Result<Vec<String>, Refusal> {
        let by = request.by.checked()?;
        let finding = self.finding(&request.finding)?;
        let _writing = self.writing.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let snapshot = self.snapshot()?;
        let read = self.judged_of(finding, &snapshot)?;
        let version = read.as_ref().map(|(_, version)| version.clone());
        if version.is_some() && version != request.version {
            return Err(self.changed_since(finding, &snapshot));
        }
        let target = target(finding);
        let (action, annotation_sha256) = match request.choice {
            Choice::Keep => (keep(finding), None),
            Choice::Flag => (flag(finding), None),
            Choice::Exclude => (Action::Exclude {}, None),
            Choice::SideL => (Action::SetSide { side: Side::L }, None),
            Choice::SideR => (Action::SetSide { side: Side::R }, None),
            Choice::Accept => {
                let judged = read.and_then(|(judged, _)| judged);
                let judged = judged.ok_or_else(|| Refusal::invalid("the image has no annotation"))?;
                (self.proposal(finding, &judged, &snapshot)?, Some(judged.now.sha256))
            }
        };
        if matches!(target, Target::Patient(_)) && !matches!(action, Action::Exclude {}) {
            return Err(Refusal::invalid(
                "this finding is about a patient without images; only exclude is possible here",
            ));
        }
        let decision = new_decision(target, action, annotation_sha256, &by, &snapshot);
        if let Some(same) = own_equal(&snapshot.corrections, &decision) {
            return Err(Refusal::invalid(format!("you have decided this already (line {})", same.line)));
        }
        self.ledger.append(std::slice::from_ref(&decision))?;
        Ok(vec![decision.id()])
    }

    /// The annotation of a finding's image and the image's version; `None` for a finding without image in the data.
    fn judged_of(
        &self,
        finding: &ListedFinding,
        snapshot: &Snapshot,
    ) -> Result<Option<(Option<Judged>, String)>, Refusal> {
        let Some(entry) = self.data.find(&finding.image_id) else { return Ok(None) };
        // An annotation that cannot be read can still be excluded.
        let judged = judged(&self.data, entry, &snapshot.corrections).ok().flatten();
        let version = match &judged {
            Some(judged) => judged.version.clone(),
            None => version(entry, &snapshot.corrections, ""),
        };
        Ok(Some((judged, version)))
    }

    /// The relabelling that a finding proposes, on the annotation as it is now.
    fn proposal(&self, finding: &ListedFinding, judged: &Judged, snapshot: &Snapshot) -> Result<Action, Refusal> {
        let labels = finding.row.proposed_labels().map_err(Refusal::invalid)?;
        if labels.is_empty() {
            return Err(Refusal::invalid("the finding proposes no labels"));
        }
        let is_of_file = |d: &&Decision| d.annotation_sha256.as_ref() == Some(&judged.now.sha256);
        let earlier: Vec<&Decision> =
            snapshot.corrections.about_shapes(&finding.image_id).into_iter().filter(is_of_file).collect();
        // Accepted before: the same decision is agreement. Made again, it would exchange the labels back.
        let plain = |label: &String| Bone::read(label).map_or_else(|| label.clone(), |bone| bone.name().to_owned());
        let names: BTreeMap<String, String> = labels.iter().map(|(old, new)| (plain(old), new.name().into())).collect();
        let is_accepted = |decision: &&&Decision| match &decision.action {
            Action::Relabel(Relabel::Labels { labels, .. }) => {
                names == labels.iter().map(|(old, new)| (plain(old), new.clone())).collect::<BTreeMap<_, _>>()
            }
            _ => false,
        };
        if let Some(accepted) = earlier.iter().filter(|d| !self.scanned.contains(&d.id())).rfind(is_accepted) {
            return Ok(accepted.action.clone());
        }
        let pairs: Vec<(&str, Bone)> = labels.iter().map(|(old, new)| (old.as_str(), *new)).collect();
        let action =
            relabelling(&pairs, &judged.now.annotation, &finding.image_id, &earlier).map_err(Refusal::invalid)?;
        let new = earlier.iter().copied().filter(|d| !self.scanned.contains(&d.id())).collect::<Vec<_>>();
        match other_relabelling(&action, &new) {
            Some(other) => Err(Refusal::invalid(format!(
                "line {} by {} relabels these shapes already, in another way; undo it first",
                other.line, other.author
            ))),
            None => Ok(action),
        }
    }

    /// The refusal of a decision about an image that has changed since the curator saw it.
    fn changed_since(&self, finding: &ListedFinding, snapshot: &Snapshot) -> Refusal {
        changed(&finding.image_id, &finding.row.patient_id, &snapshot.corrections)
    }

    /// Keeps findings in one step. Findings that the curator has kept already are skipped; an unknown id refuses all.
    pub(super) fn keep_all(&self, request: &BulkRequest) -> Result<Vec<String>, Refusal> {
        let by = request.by.checked()?;
        if request.findings.len() > MAX_BULK {
            return Err(Refusal::invalid(format!("at most {MAX_BULK} findings at once")));
        }
        let findings = request.findings.iter().map(|id| self.finding(id)).collect::<Result<Vec<_>, Refusal>>()?;
        let _writing = self.writing.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let snapshot = self.snapshot()?;
        let time = snapshot.corrections.new_time();
        let mut decisions: Vec<Decision> = Vec::new();
        for finding in findings.into_iter().filter(|finding| !finding.image_id.is_empty()) {
            let mut decision = new_decision(target(finding), keep(finding), None, &by, &snapshot);
            decision.time.clone_from(&time);
            let repeats = |earlier: &Decision| earlier.target == decision.target && earlier.action == decision.action;
            if own_equal(&snapshot.corrections, &decision).is_none() && !decisions.iter().any(repeats) {
                decisions.push(decision);
            }
        }
        if !decisions.is_empty() {
            self.ledger.append(&decisions)?;
        }
        Ok(decisions.iter().map(Decision::id).collect())
    }

    /// Makes a decision inactive; the undo of an undo restores the decision.
    pub(super) fn undo(&self, request: &UndoRequest) -> Result<String, Refusal> {
        let by = request.by.checked()?;
        let _writing = self.writing.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let snapshot = self.snapshot()?;
        let named =
            |(decision, state): &&(Decision, State)| *state != State::Repeated && decision.id() == request.decision;
        let found = snapshot.corrections.history().iter().find(named);
        let (decision, state) = found.ok_or_else(|| Refusal::missing(format!("no decision {:?}", request.decision)))?;
        if *state == State::Undone {
            return Err(Refusal::invalid("this decision is undone already"));
        }
        let action = Action::Undo { decision: request.decision.clone() };
        let undo = new_decision(decision.target.clone(), action, None, &by, &snapshot);
        self.ledger.append(std::slice::from_ref(&undo))?;
        Ok(undo.id())
    }
}

/// The refusal of a request about an image that has changed since the page read it: who changed it, and how.
pub fn changed(image_id: &str, patient_id: &str, corrections: &Corrections) -> Refusal {
    let is_about = |decision: &&Decision| match &decision.target {
        Target::Image(id) => id == image_id,
        Target::Patient(id) => id == patient_id,
    };
    match corrections.decisions().filter(is_about).last() {
        Some(last) => Refusal::conflict(
            format!("{} has decided about this image in the meantime; look at it again", last.author),
            json!({ "author": last.author, "time": last.time, "action": last.action, "reason": last.reason }),
        ),
        None => Refusal::conflict("the image has changed in the meantime; look at it again", json!({})),
    }
}

/// A decision that is new in the file.
pub fn new_decision(
    target: Target,
    action: Action,
    annotation_sha256: Option<String>,
    by: &Signature,
    snapshot: &Snapshot,
) -> Decision {
    let (author, reason) = (by.author.clone(), by.reason.clone());
    let time = snapshot.corrections.new_time();
    Decision { line: 0, target, action, annotation_sha256, reason, author, time }.normalised()
}

/// The active decision of the same curator that is equal. Another curator's equal decision is agreement.
fn own_equal<'a>(corrections: &'a Corrections, decision: &Decision) -> Option<&'a Decision> {
    let is_equal = |earlier: &&Decision| {
        (&earlier.target, &earlier.action, &earlier.author) == (&decision.target, &decision.action, &decision.author)
            && !matches!(earlier.action, Action::Flag { .. } | Action::Note { .. })
    };
    match &decision.target {
        Target::Image(id) => corrections.of_image(id).find(is_equal),
        Target::Patient(_) => corrections.decisions().find(is_equal),
    }
}

fn target(finding: &ListedFinding) -> Target {
    match finding.image_id.is_empty() {
        true => Target::Patient(finding.row.patient_id.clone()),
        false => Target::Image(finding.image_id.clone()),
    }
}

fn keep(finding: &ListedFinding) -> Action {
    Action::Keep { check: Some(finding.row.check.name.to_owned()), label: label(finding) }
}

fn flag(finding: &ListedFinding) -> Action {
    Action::Flag { check: Some(finding.row.check.name.to_owned()), label: label(finding) }
}

fn label(finding: &ListedFinding) -> Option<String> {
    (!finding.row.label.is_empty()).then(|| finding.row.label.clone())
}
