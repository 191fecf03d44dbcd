//! What the page shows of the findings, an image and its references, as JSON.

use axum::body::Bytes;
use serde_json::{Value, json};

use super::Review;
use super::decide::{Judged, judged, version};
use super::judgement::{is_disputed, outcome};
use super::ledger::Snapshot;
use super::reference::TypicalHand;
use super::refusal::Refusal;
use crate::audit::CHECKS;
use crate::bones::Bone;
use crate::dataset::annotation::Annotation;
use crate::dataset::corrections::{Decision, State, Target};
use crate::dataset::{ImageEntry, ProblemSeverity, Side};

/// Margin around a bone in its reference pictures, as a share of its extent.
const REFERENCE_MARGIN: f64 = 0.6;

impl Review {
    /// Everything that does not change while the page is open, as JSON: findings, checks, bones.
    pub(super) fn queue(&self) -> Bytes {
        self.queue.get_or_init(|| Bytes::from(self.queue_content().to_string())).clone()
    }

    fn queue_content(&self) -> Value {
        let finding = |finding: &super::ListedFinding| {
            let row = &finding.row;
            // A proposal that cannot be read is not offered; the audit's table is not changed by people.
            let proposal = row.proposed_labels().unwrap_or_default();
            let proposal: serde_json::Map<String, Value> =
                proposal.into_iter().map(|(old, new)| (old, new.name().into())).collect();
            json!({
                "id": finding.id, "image": finding.image_id, "patient": row.patient_id, "check": row.check.name,
                "labels": finding.labels().collect::<Vec<_>>(), "severity": row.severity.name(), "score": row.score,
                "message": row.message, "suggestion": row.suggestion, "proposal": proposal,
                "in_data": self.data.find(&finding.image_id).is_some(),
            })
        };
        let neighbours = |bone: Bone| bone.neighbours().iter().map(|bone| bone.index()).collect::<Vec<_>>();
        let bone = |bone: Bone| json!({ "name": bone.name(), "colour": bone.colour(), "neighbours": neighbours(bone) });
        json!({
            "data": self.data.root(), "corrections": self.ledger.path(), "author": self.author,
            "bones": Bone::all().map(bone).collect::<Vec<_>>(),
            "checks": CHECKS.iter().map(|check| json!({ "name": check.name, "about": check.about })).collect::<Vec<_>>(),
            "findings": self.findings.iter().map(finding).collect::<Vec<_>>(),
        })
    }

    /// The judgements of the findings that have any, if they changed since the version that the page has.
    /// Always with the images of which the curator has a draft.
    pub(super) fn states(&self, since: Option<u64>, author: &str) -> Result<Value, Refusal> {
        let snapshot = self.snapshot()?;
        let drafts = self.drafts.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let drafts = json!(drafts.images(author));
        if since == Some(snapshot.version) {
            return Ok(json!({ "version": snapshot.version, "drafts": drafts }));
        }
        let judged = self.findings.iter().zip(&snapshot.judgements).filter(|(_, judgements)| !judgements.is_empty());
        let state = |(finding, judgements): (&super::ListedFinding, &Vec<super::judgement::Judgement>)| {
            let state = json!({
                "state": outcome(judgements), "disputed": is_disputed(judgements), "judgements": judgements,
            });
            (finding.id.clone(), state)
        };
        let states: serde_json::Map<String, Value> = judged.map(state).collect();
        Ok(json!({
            "version": snapshot.version, "states": states, "drafts": drafts,
            "bad_lines": snapshot.corrections.problems().iter().take(5).map(|p| json!({
                "place": p.place, "reason": p.reason,
            })).collect::<Vec<_>>(),
        }))
    }

    /// An image: size, patient, shapes after corrections, decisions about it, and the curator's draft.
    pub(super) fn image_detail(&self, id: &str, author: &str) -> Result<Value, Refusal> {
        let entry = self.entry(id)?;
        let snapshot = self.snapshot()?;
        let (width, height) = self.data.dimensions(entry).map_err(Refusal::failed)?;
        let (judged, unreadable) = match judged(&self.data, entry, &snapshot.corrections) {
            Ok(judged) => (judged, None),
            Err(error) => (None, Some(error.to_string())),
        };
        let version = match &judged {
            Some(judged) => judged.version.clone(),
            None => version(entry, &snapshot.corrections, ""),
        };
        let others =
            self.data.images().iter().filter(|e| e.patient_id == entry.patient_id && e.image_id != entry.image_id);
        let side = snapshot.corrections.side(&entry.image_id).or(entry.side);
        let drafts = self.drafts.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let patient = self.tables.patient(&entry.patient_id);
        Ok(json!({
            "image": entry.image_id, "patient": entry.patient_id, "side": side, "subset": entry.subset,
            "width": width, "height": height, "version": version,
            "annotated": judged.is_some(), "unreadable": unreadable,
            "annotation_sha256": judged.as_ref().map(|judged| judged.now.sha256.clone()),
            "shapes": judged.as_ref().map(shapes_of).unwrap_or_default(),
            "problems": judged.as_ref().map(problems_of).unwrap_or_default(),
            "decisions": decisions_of(entry, &snapshot),
            "excluded": snapshot.corrections.excludes(&entry.image_id, &entry.patient_id),
            "others": others.map(|e| json!({ "image": e.image_id, "side": e.side })).collect::<Vec<_>>(),
            "person": patient.map(|p| json!({
                "sex": p.sex, "age": p.age, "height_cm": p.height_cm, "weight_kg": p.weight_kg, "note": p.note,
            })),
            "draft": drafts.get(author, id),
        }))
    }

    /// The bone in typical hands, and the hand nearest to the median; `image` is the image that is compared.
    pub(super) fn reference(&self, bone: &str, image: &str) -> Result<Value, Refusal> {
        let bone = Bone::from_name(bone).ok_or_else(|| Refusal::missing(format!("{bone:?} is not a bone")))?;
        let entry = self.entry(image)?;
        let snapshot = self.snapshot()?;
        let row = self.tables.images.iter().find(|row| row.image_id == entry.image_id);
        let side: Option<Side> = entry.side.or(row.and_then(|row| row.side_by_anatomy));
        let hands = self.typical.showing(bone, side, &entry.patient_id);
        let hands: Vec<Value> =
            hands.iter().filter_map(|hand| self.typical_hand(hand, Some(bone), &snapshot)).collect();
        let median = self.typical.median(side).and_then(|hand| self.typical_hand(&hand, None, &snapshot));
        Ok(json!({ "bone": bone.name(), "hands": hands, "median": median }))
    }

    /// A typical hand: its shapes and, of a bone, the box to show. `None` if it cannot be read.
    fn typical_hand(&self, hand: &TypicalHand, bone: Option<Bone>, snapshot: &Snapshot) -> Option<Value> {
        let entry = self.data.find(&hand.image_id)?;
        let judged = judged(&self.data, entry, &snapshot.corrections).ok()??;
        let (width, height) = self.data.dimensions(entry).ok()?;
        let points = |bone: Option<Bone>| -> Vec<[i32; 2]> {
            let shapes = judged.now.annotation.shapes.iter();
            shapes.filter(|s| bone.is_none_or(|b| s.bone == Some(b))).flat_map(|s| s.points.iter().copied()).collect()
        };
        let area = around(&points(bone), if bone.is_some() { REFERENCE_MARGIN } else { 0.05 }, (width, height))?;
        Some(json!({
            "image": hand.image_id, "mirrored": hand.mirrored, "width": width, "height": height, "box": area,
            "shapes": shapes_of(&judged),
        }))
    }
}

/// The square around points, with a margin, cut to the image: first column, first row, last column, last row.
fn around(points: &[[i32; 2]], margin: f64, (width, height): (u32, u32)) -> Option<[u32; 4]> {
    let range = |axis: usize| Some((points.iter().map(|p| p[axis]).min()?, points.iter().map(|p| p[axis]).max()?));
    let ((x0, x1), (y0, y1)) = (range(0)?, range(1)?);
    let half = f64::from((x1 - x0).max(y1 - y0)) * (0.5 + margin) + 1.0;
    let (x, y) = (f64::from(x0 + x1) / 2.0, f64::from(y0 + y1) / 2.0);
    let within = |v: f64, size: u32| v.round().clamp(0.0, f64::from(size - 1)) as u32;
    let found = [within(x - half, width), within(y - half, height), within(x + half, width), within(y + half, height)];
    (found[0] < found[2] && found[1] < found[3]).then_some(found)
}

fn shapes_of(judged: &Judged) -> Vec<Value> {
    let label_before = |index: usize, stored: &Annotation| {
        stored.shapes.iter().find(|shape| shape.index == index).map(|shape| shape.label.clone())
    };
    let shape = |shape: &crate::dataset::annotation::Shape| {
        json!({
            "index": shape.index, "label": shape.label, "bone": shape.bone.map(Bone::index), "points": shape.points,
            "stored_label": label_before(shape.index, &judged.stored),
        })
    };
    judged.now.annotation.shapes.iter().map(shape).collect()
}

fn problems_of(judged: &Judged) -> Vec<Value> {
    let shown = judged.now.problems.iter().filter(|problem| problem.severity > ProblemSeverity::Info);
    shown.map(|p| json!({ "place": p.place, "reason": p.reason, "action": p.action })).collect()
}

/// Every decision about the image or its patient, also undone ones.
fn decisions_of(entry: &ImageEntry, snapshot: &Snapshot) -> Vec<Value> {
    let is_about = |(decision, _): &&(Decision, State)| match &decision.target {
        Target::Image(id) => *id == entry.image_id,
        Target::Patient(id) => *id == entry.patient_id,
    };
    let row = |(decision, state): &(Decision, State)| {
        let mut action = serde_json::to_value(&decision.action).unwrap_or_default();
        // The page has the outline already.
        if let Some(points) = action.get_mut("points") {
            *points = json!(points.as_array().map_or(0, Vec::len));
        }
        json!({
            "id": decision.id(), "line": decision.line, "state": if *state == State::Active { "active" } else { "undone" },
            "action": action, "author": decision.author, "time": decision.time, "reason": decision.reason,
        })
    };
    let history = snapshot.corrections.history().iter();
    history.filter(is_about).filter(|(_, state)| *state != State::Repeated).map(row).collect()
}
