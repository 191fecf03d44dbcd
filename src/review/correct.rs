//! Corrections of an annotation: what a curator changed on the page becomes relabel, drop and replace decisions.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use serde::Deserialize;
use serde_json::{Value, json};

use super::Review;
use super::decide::{Judged, Signature, changed, judged, new_decision};
use super::refusal::Refusal;
use crate::bones::Bone;
use crate::dataset::annotation::{Annotation, Shape};
use crate::dataset::corrections::{Action, Decision, Relabel, ShapeRef, Target, unknown_label};
use crate::mask::RunMask;

/// Most vertices of an outline: its line must be read again, and lines have at most 1 MiB.
const MAX_VERTICES: usize = 50_000;

/// What is different about one shape.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShapeChange {
    /// Position of the shape in the annotation file.
    pub index: usize,
    /// Its new label, one of the 29.
    #[serde(default)]
    pub label: Option<String>,
    /// Its new outline, in pixels of the image.
    #[serde(default)]
    pub points: Option<Vec<[i32; 2]>>,
    /// Whether it is left out.
    #[serde(default)]
    pub drop: bool,
}

/// The changes to the annotation of an image.
#[derive(Debug, Deserialize)]
pub struct CorrectRequest {
    /// Id of the image.
    pub image: String,
    /// The version of the image that the curator changed.
    pub version: String,
    /// One entry per changed shape.
    pub changes: Vec<ShapeChange>,
    #[serde(flatten)]
    pub by: Signature,
}

/// An outline whose mask is wanted.
#[derive(Debug, Deserialize)]
pub struct MaskRequest {
    /// Id of the image.
    pub image: String,
    /// The outline.
    pub points: Vec<[i32; 2]>,
}

impl Review {
    /// Appends the decisions that make the changes, all or none, and returns their ids.
    pub(super) fn correct(&self, request: &CorrectRequest) -> Result<Vec<String>, Refusal> {
        let by = request.by.checked()?;
        let entry = self.entry(&request.image)?;
        let _writing = self.writing.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let snapshot = self.snapshot()?;
        let judged = judged(&self.data, entry, &snapshot.corrections)?;
        let judged = judged.ok_or_else(|| Refusal::invalid("the image has no annotation"))?;
        if judged.version != request.version {
            return Err(changed(&entry.image_id, &entry.patient_id, &snapshot.corrections));
        }
        let size = self.data.dimensions(entry).map_err(Refusal::failed)?;
        let shapes = &judged.now.annotation.shapes;
        check(&request.changes, shapes, size)?;
        let actions = actions(&request.changes, shapes);
        if actions.is_empty() {
            return Err(Refusal::invalid("nothing was changed"));
        }
        let time = snapshot.corrections.new_time();
        let target = Target::Image(entry.image_id.clone());
        let hash = Some(judged.now.sha256.clone());
        let decision = |action| {
            let new = new_decision(target.clone(), action, hash.clone(), &by, &snapshot);
            Decision { time: time.clone(), ..new }
        };
        let decisions: Vec<Decision> = actions.into_iter().map(decision).collect();
        let after = snapshot.corrections.with(&decisions);
        self.check_result(&entry.image_id, &judged, &after, &request.changes)?;
        self.ledger.append(&decisions)?;
        Ok(decisions.iter().map(Decision::id).collect())
    }

    /// Checks that the annotation after the new decisions is the one that the curator wants.
    fn check_result(
        &self,
        image_id: &str,
        judged: &Judged,
        after: &crate::dataset::Corrections,
        changes: &[ShapeChange],
    ) -> Result<(), Refusal> {
        let mut result: Annotation = judged.stored.clone();
        let problems = after.apply(image_id, Some(&judged.now.sha256), &mut result);
        let key = |shapes: &[Shape]| -> BTreeMap<usize, (String, Vec<[i32; 2]>)> {
            shapes.iter().map(|s| (s.index, (s.label.clone(), s.points.clone()))).collect()
        };
        if key(&result.shapes) == key(&changed_shapes(changes, &judged.now.annotation.shapes)) {
            return Ok(());
        }
        let reason = problems.last().map_or("they contradict earlier decisions", |problem| &problem.reason);
        Err(Refusal::invalid(format!("the changes cannot be saved: {reason}")))
    }

    /// The mask of an outline as OpenCV fills it: its box and the runs `[first pixel of the row's start, length]`.
    pub(super) fn mask(&self, request: &MaskRequest) -> Result<Value, Refusal> {
        let entry = self.entry(&request.image)?;
        let (width, height) = self.data.dimensions(entry).map_err(Refusal::failed)?;
        if request.points.len() > MAX_VERTICES {
            return Err(Refusal::invalid(format!("an outline has at most {MAX_VERTICES} points")));
        }
        let mask = RunMask::from_polygon(&request.points, width, height);
        let rows: Vec<[u32; 3]> = mask.rows().map(|(y, start, end)| [y, start, end]).collect();
        Ok(json!({ "rows": rows, "area": mask.area() }))
    }
}

/// Checks that the changes are possible for the shapes.
fn check(changes: &[ShapeChange], shapes: &[Shape], (width, height): (u32, u32)) -> Result<(), Refusal> {
    let mut seen = HashSet::new();
    for change in changes {
        let index = change.index;
        if !seen.insert(index) {
            return Err(Refusal::invalid(format!("shape {index} is changed twice")));
        }
        if !shapes.iter().any(|shape| shape.index == index) {
            return Err(Refusal::invalid(format!("the annotation has no shape {index}")));
        }
        if let Some(label) = change.label.as_ref().filter(|label| Bone::from_name(label).is_none()) {
            return Err(Refusal::invalid(unknown_label(label)));
        }
        let Some(points) = &change.points else { continue };
        if points.len() > MAX_VERTICES {
            return Err(Refusal::invalid(format!("an outline has at most {MAX_VERTICES} points")));
        }
        if points.iter().collect::<BTreeSet<_>>().len() < 3 {
            return Err(Refusal::invalid(format!("the outline of shape {index} has fewer than 3 different points")));
        }
        let is_outside = |[x, y]: &[i32; 2]| *x < 0 || *y < 0 || *x as u32 >= width || *y as u32 >= height;
        if let Some([x, y]) = points.iter().copied().find(is_outside) {
            return Err(Refusal::invalid(format!("the point {x},{y} lies outside the image of {width} x {height} px")));
        }
    }
    Ok(())
}

/// The shapes after the changes.
fn changed_shapes(changes: &[ShapeChange], shapes: &[Shape]) -> Vec<Shape> {
    let change_of = |shape: &Shape| changes.iter().find(|change| change.index == shape.index);
    let with = |shape: &Shape| {
        let Some(change) = change_of(shape) else { return Some(shape.clone()) };
        let label = change.label.clone().unwrap_or_else(|| shape.label.clone());
        let points = change.points.clone().unwrap_or_else(|| shape.points.clone());
        (!change.drop).then(|| Shape { index: shape.index, bone: Bone::from_name(&label), label, points })
    };
    shapes.iter().filter_map(with).collect()
}

/// The actions that make the changes, in an order in which each fits: outlines and drops name the labels of before.
fn actions(changes: &[ShapeChange], shapes: &[Shape]) -> Vec<Action> {
    let of = |change: &ShapeChange| shapes.iter().find(|shape| shape.index == change.index);
    let named = |shape: &Shape| ShapeRef { index: shape.index, label: shape.label.clone() };
    let (mut actions, mut renamed) = (Vec::new(), Vec::new());
    let mut kept: Vec<&Shape> = shapes.iter().collect();
    for change in changes {
        let Some(shape) = of(change) else { continue };
        if change.drop {
            actions.push(Action::Drop { shape: named(shape) });
            kept.retain(|other| other.index != shape.index);
            continue;
        }
        if let Some(points) = change.points.as_ref().filter(|points| **points != shape.points) {
            actions.push(Action::Replace { shape: named(shape), points: points.clone() });
        }
        if let Some(label) = change.label.as_ref().filter(|label| **label != shape.label) {
            renamed.push((shape, label));
        }
    }
    match together(&renamed, &kept) {
        Some(relabel) => actions.push(Action::Relabel(relabel)),
        None => actions.extend(
            renamed
                .iter()
                .map(|(shape, label)| Action::Relabel(Relabel::Shape { shape: named(shape), to: (*label).clone() })),
        ),
    }
    actions
}

/// All relabellings as one, if every shape with an old label gets the same new one and no two labels merge.
fn together(renamed: &[(&Shape, &String)], kept: &[&Shape]) -> Option<Relabel> {
    let mut labels = BTreeMap::new();
    for (shape, to) in renamed {
        if labels.insert(shape.label.clone(), (*to).clone()).is_some_and(|other| other != **to) {
            return None;
        }
    }
    let about: Vec<&&Shape> = kept.iter().filter(|shape| labels.contains_key(&shape.label)).collect();
    let targets: HashSet<&String> = labels.values().collect();
    let stays = |shape: &&&Shape| !labels.contains_key(&shape.label);
    let merges = kept
        .iter()
        .filter(stays)
        .any(|shape| shape.bone.is_some_and(|bone| targets.iter().any(|target| bone.name() == target.as_str())));
    if labels.len() < 2 || about.len() != renamed.len() || targets.len() != labels.len() || merges {
        return None;
    }
    let shapes = about.iter().map(|s| ShapeRef { index: s.index, label: s.label.clone() }).collect();
    Some(Relabel::Labels { labels, shapes })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shapes(labels: &[&str]) -> Vec<Shape> {
        let shape = |(index, label): (usize, &&str)| {
            let points = vec![[0, 0], [9, 0], [0, 9]];
            Shape { index, label: (*label).to_owned(), bone: Bone::from_name(label), points }
        };
        labels.iter().enumerate().map(shape).collect()
    }

    fn rename(index: usize, label: &str) -> ShapeChange {
        ShapeChange { index, label: Some(label.to_owned()), points: None, drop: false }
    }

    #[test]
    fn a_swap_is_one_decision_and_a_merge_is_one_per_shape() {
        let hand = shapes(&["Ulna", "Radius", "Lunate"]);
        let swap = actions(&[rename(0, "Radius"), rename(1, "Ulna")], &hand);
        assert!(
            matches!(&swap[..], [Action::Relabel(Relabel::Labels { labels, .. })] if labels.len() == 2),
            "{swap:?}"
        );
        let merge = actions(&[rename(0, "Lunate"), rename(1, "Lunate")], &hand);
        assert_eq!(merge.len(), 2);
        assert!(matches!(&merge[0], Action::Relabel(Relabel::Shape { to, .. }) if to == "Lunate"));
    }

    #[test]
    fn outlines_come_before_labels() {
        let mut change = rename(0, "Pisiform");
        change.points = Some(vec![[1, 1], [5, 1], [1, 5]]);
        let drop = ShapeChange { index: 2, label: None, points: None, drop: true };
        let found = actions(&[change, drop], &shapes(&["Ulna", "Radius", "Lunate"]));
        let names: Vec<String> = found.iter().map(Action::name).collect();
        assert_eq!(names, ["replace", "drop", "relabel"]);
    }

    #[test]
    fn impossible_changes_are_refused() {
        let hand = shapes(&["Ulna"]);
        let points = |points: &[[i32; 2]]| {
            check(&[ShapeChange { index: 0, label: None, points: Some(points.to_vec()), drop: false }], &hand, (20, 10))
        };
        assert!(points(&[[0, 0], [19, 0], [0, 9]]).is_ok());
        assert!(points(&[[0, 0], [20, 0], [0, 9]]).is_err());
        assert!(points(&[[0, 0], [0, 0], [0, 9]]).is_err());
        assert!(check(&[rename(1, "Ulna")], &hand, (20, 10)).is_err());
        assert!(check(&[rename(0, "Elbow")], &hand, (20, 10)).is_err());
    }
}
