use unicode_normalization::UnicodeNormalization;

use super::{Action, Corrections, Decision, Relabel, ShapeRef};
use crate::bones::Bone;
use crate::dataset::Problem;
use crate::dataset::annotation::{Annotation, Shape};

impl Corrections {
    /// Applies the decisions about the image's shapes in their order, and returns those that do not fit as problems. A
    /// decision that does not fit changes nothing. It is no problem if an equal decision was applied before: two people
    /// agree.
    ///
    /// `content_hash` is that of the original annotation. Decisions about another content are not applied, because the
    /// shapes may differ; the shapes of a crop contain the corrections already. If it is `None`, no decision is
    /// applied.
    pub fn apply(&self, image_id: &str, content_hash: Option<&str>, annotation: &mut Annotation) -> Vec<Problem> {
        let mut done: Vec<&Decision> = Vec::new();
        let mut problems = Vec::new();
        for decision in self.about_shapes(image_id) {
            let applied = match content_hash {
                None => Err("the content hash of the annotation is unknown".to_owned()),
                Some(hash) if decision.annotation_sha256.as_deref() != Some(hash) => {
                    Err("the annotation has changed since this was decided; check it and decide again".to_owned())
                }
                Some(_) => match apply_one(&mut annotation.shapes, &decision.action, &done) {
                    Err(_) if done.iter().any(|earlier| earlier.action == decision.action) => Ok(()),
                    applied => applied.map(|()| done.push(decision)),
                },
            };
            problems.extend(applied.err().map(|reason| self.problem(decision, reason)));
        }
        problems
    }
}

/// Applies one action; `done` are the decisions applied before.
fn apply_one(shapes: &mut Vec<Shape>, action: &Action, done: &[&Decision]) -> Result<(), String> {
    match action {
        Action::Relabel(Relabel::Shape { shape, to }) => {
            let at = find(shapes, shape, done)?;
            rename(&mut shapes[at], to);
        }
        Action::Relabel(Relabel::Labels { labels, shapes: about }) => {
            rename_all(shapes, &labels.iter().collect::<Vec<_>>(), about)?;
        }
        Action::Drop { shape } => {
            let at = find(shapes, shape, done)?;
            shapes.remove(at);
        }
        Action::Replace { shape, points } => {
            let at = find(shapes, shape, done)?;
            shapes[at].points.clone_from(points);
        }
        _ => {}
    }
    Ok(())
}

/// Position of the shape in `shapes`; an error if it has another label.
fn find(shapes: &[Shape], ShapeRef { index, label }: &ShapeRef, done: &[&Decision]) -> Result<usize, String> {
    let drops = |d: &&&Decision| matches!(&d.action, Action::Drop { shape } if shape.index == *index);
    let absent = || match done.iter().find(drops) {
        Some(drop) => format!("shape {index} was dropped by line {}", drop.line),
        None => format!("the annotation has no shape {index}"),
    };
    let at = shapes.iter().position(|s| s.index == *index).ok_or_else(absent)?;
    let found = &shapes[at].label;
    if same(found, label) { Ok(at) } else { Err(format!("shape {index} is labelled {found:?}, expected {label:?}")) }
}

/// Whether two labels are equal after Unicode composition (NFC).
pub(super) fn same(a: &str, b: &str) -> bool {
    a == b || a.nfc().eq(b.nfc())
}

fn rename(shape: &mut Shape, label: &str) {
    shape.label = label.to_owned();
    shape.bone = Bone::from_name(label);
}

/// Renames all labels at once, so that swaps and cycles work.
pub(super) fn rename_all(shapes: &mut [Shape], pairs: &[(&String, &String)], about: &[ShapeRef]) -> Result<(), String> {
    let absent: Vec<&str> = pairs
        .iter()
        .map(|(from, _)| from.as_str())
        .filter(|from| !shapes.iter().any(|s| same(&s.label, from)))
        .collect();
    if !absent.is_empty() {
        return Err(format!("no shape is labelled {}", absent.join(", ")));
    }
    let is_named = |shape: &&Shape| pairs.iter().any(|(from, _)| same(&shape.label, from));
    let found: Vec<&Shape> = shapes.iter().filter(is_named).collect();
    let is_expected = |shape: &&Shape| about.iter().any(|a| a.index == shape.index && same(&a.label, &shape.label));
    if found.len() != about.len() || !found.iter().all(is_expected) {
        let found: Vec<String> = found.iter().map(|s| format!("{} {}", s.index, s.label)).collect();
        let about: Vec<String> = about.iter().map(|s| format!("{} {}", s.index, s.label)).collect();
        return Err(format!("the shapes with these labels are {}; expected {}", found.join(", "), about.join(", ")));
    }
    let renamed: Vec<Option<&String>> =
        shapes.iter().map(|s| pairs.iter().find(|(from, _)| same(&s.label, from)).map(|(_, to)| *to)).collect();
    for (from, to) in pairs {
        // Compared by class, not by label: another spelling of the target is the same bone.
        let stays = |(shape, to_label): (&Shape, &Option<&String>)| {
            to_label.is_none() && shape.bone.is_some() && shape.bone == Bone::from_name(to)
        };
        if shapes.iter().zip(&renamed).any(stays) {
            return Err(format!("{from} would merge with the shapes labelled {to}, which are not renamed"));
        }
    }
    for (shape, to) in shapes.iter_mut().zip(renamed) {
        if let Some(to) = to {
            rename(shape, to);
        }
    }
    Ok(())
}
