//! Relabellings of all shapes with given labels, as people and findings state them.

use std::collections::BTreeMap;

use super::apply::rename_all;
use super::{Action, Decision, Relabel, ShapeRef};
use crate::bones::Bone;
use crate::dataset::annotation::{Annotation, Shape};

/// The relabelling of all shapes with these old labels to these bones, on `annotation`, which has the `earlier`
/// decisions about the image applied. If the shapes already have their new labels, it is the earlier decision.
///
/// # Errors
/// The reason: no shape has one of the labels, a label occurs twice, or the new labels cannot be applied, for instance
/// because another shape keeps one of them.
pub fn relabelling(
    pairs: &[(&str, Bone)],
    annotation: &Annotation,
    image: &str,
    earlier: &[&Decision],
) -> Result<Action, String> {
    let mut labels = BTreeMap::new();
    let mut absent = Vec::new();
    for (old, new) in pairs {
        // In the spelling of the annotation file.
        let found = shapes_labelled(old, annotation).first().map(|shape| shape.label.clone());
        if found.is_none() {
            absent.push(*old);
        }
        let key = found.or_else(|| Some(Bone::read(old)?.name().to_owned())).unwrap_or_else(|| (*old).to_owned());
        if labels.insert(key, new.name().to_owned()).is_some() {
            return Err(format!("{old} would be renamed twice; name each old label once"));
        }
    }
    // If the shapes already have their new labels, this is the same decision again; the caller reports it.
    let done = earlier.iter().rev().map(|d| &d.action);
    let mut done = done.filter(|a| matches!(a, Action::Relabel(Relabel::Labels { labels: l, .. }) if *l == labels));
    match (absent.first(), done.next()) {
        (Some(_), Some(same)) => return Ok(same.clone()),
        (Some(old), None) => {
            let names = annotation.shapes.iter().filter_map(|s| s.bone);
            let meant =
                Bone::nearest(old).filter(|bone| Bone::read(old).is_none() && names.clone().any(|b| b == *bone));
            let meant = meant.map(|bone| format!("; did you mean {bone}?")).unwrap_or_default();
            return Err(format!("no shape is labelled {old} in image {image}{meant}"));
        }
        (None, _) => {}
    }
    let is_about = |shape: &&Shape| labels.contains_key(&shape.label);
    let shapes = annotation.shapes.iter().filter(is_about);
    let shapes: Vec<ShapeRef> = shapes.map(|s| ShapeRef { index: s.index, label: s.label.clone() }).collect();
    // A decision that cannot be applied would be recorded and change nothing.
    let names: Vec<(&String, &String)> = labels.iter().collect();
    rename_all(&mut annotation.shapes.clone(), &names, &shapes)?;
    Ok(Action::Relabel(Relabel::Labels { labels, shapes }))
}

/// The last of the `earlier` decisions that relabels some of the same shapes in another way. A finding was made before
/// that decision, or after it; only a person can see which labels it is about.
pub fn other_relabelling<'a>(action: &Action, earlier: &[&'a Decision]) -> Option<&'a Decision> {
    earlier.iter().rfind(|decision| is_other(&decision.action, action)).copied()
}

/// Whether two relabellings have shapes in common and differ.
fn is_other(a: &Action, b: &Action) -> bool {
    let (Action::Relabel(a), Action::Relabel(b)) = (a, b) else { return false };
    let is_same = matches!(
        (a, b),
        (Relabel::Labels { labels: a, .. }, Relabel::Labels { labels: b, .. }) if a == b
    );
    !is_same && !a.indices().is_disjoint(&b.indices())
}

/// The shapes with this label; if there are none, those of the same bone in another spelling.
pub fn shapes_labelled<'a>(label: &str, annotation: &'a Annotation) -> Vec<&'a Shape> {
    let exact: Vec<&Shape> = annotation.shapes.iter().filter(|s| s.label == label).collect();
    match Bone::read(label) {
        Some(bone) if exact.is_empty() => annotation.shapes.iter().filter(|s| s.bone == Some(bone)).collect(),
        _ => exact,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_applied_is_not_decided() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let shape = |label: &str| format!(r#"{{"type":"poly_seg","label":"{label}","points":[[1,1],[9,1],[9,9]]}}"#);
        let text = format!(r#"{{"annotations":[{},{}]}}"#, shape("finger-142"), shape("finger-12"));
        std::fs::write(file.path(), text).unwrap();
        let annotation = crate::dataset::annotation::read(file.path(), "a.json").unwrap().content;
        let to = |bone: &str| relabelling(&[("finger-142", Bone::from_name(bone).unwrap())], &annotation, "a", &[]);
        let error = to("finger-12").unwrap_err();
        assert!(error.contains("finger-142 would merge with the shapes labelled finger-12"), "{error}");
        assert!(to("finger-14").is_ok());
    }
}
