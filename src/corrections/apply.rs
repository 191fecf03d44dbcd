use std::collections::{HashMap, HashSet};

use super::{Action, Entry, Field, Target};
use crate::bones::Bone;
use crate::dataset::annotation::{Annotation, Shape};
use crate::dataset::{Problem, Severity};
use crate::tables::{ImageRow, PatientRow};

/// The entries about an image's shapes, in order: the ones that [`apply`] looks at.
pub fn for_image<'a>(entries: &'a [Entry], image_id: &str) -> Vec<&'a Entry> {
    let shapes = |entry: &&Entry| {
        let about = matches!(&entry.correction.target, Target::Image(id) if id == image_id);
        about
            && matches!(
                entry.correction.action,
                Action::Relabel { .. }
                    | Action::Swap { .. }
                    | Action::Permute { .. }
                    | Action::DropShape { .. }
                    | Action::ReplacePoints { .. }
            )
    };
    entries.iter().filter(shapes).collect()
}

/// The annotation with the entries applied in their order. An entry that does not fit is a problem and changes nothing.
///
/// `entries` are those of [`for_image`]; `annotation_sha256` is the hash of the annotation file where it is known; `file` names the
/// corrections file in problems.
pub fn apply(
    annotation: &Annotation,
    annotation_sha256: Option<&str>,
    entries: &[&Entry],
    file: &str,
) -> (Annotation, Vec<Problem>) {
    let mut corrected = annotation.clone();
    let mut problems = Vec::new();
    for entry in entries {
        let judged = entry.correction.annotation_sha256.as_deref();
        let changed = judged.zip(annotation_sha256).is_some_and(|(judged, now)| judged != now);
        let outcome = if changed {
            Err("the annotation file has changed since it was judged; look at it again".to_owned())
        } else {
            apply_one(&mut corrected.shapes, &entry.correction.action)
        };
        if let Err(reason) = outcome {
            problems.push(problem(file, entry, reason));
        }
    }
    (corrected, problems)
}

fn apply_one(shapes: &mut Vec<Shape>, action: &Action) -> Result<(), String> {
    match action {
        Action::Relabel { shape, from, to } => {
            let at = find(shapes, *shape, from)?;
            rename(&mut shapes[at], to);
        }
        Action::DropShape { shape, label } => {
            let at = find(shapes, *shape, label)?;
            shapes.remove(at);
        }
        Action::ReplacePoints { shape, label, points } => {
            let at = find(shapes, *shape, label)?;
            shapes[at].points.clone_from(points);
        }
        Action::Swap { a, b } => rename_all(shapes, &[(a, b), (b, a)])?,
        Action::Permute { mapping } => rename_all(shapes, &mapping.iter().collect::<Vec<_>>())?,
        Action::Exclude {}
        | Action::Include {}
        | Action::SetSide { .. }
        | Action::SetMetadata { .. }
        | Action::Accept { .. } => {}
    }
    Ok(())
}

/// Place of the shape, which must have the label.
fn find(shapes: &[Shape], index: usize, label: &str) -> Result<usize, String> {
    let at = shapes.iter().position(|s| s.index == index).ok_or_else(|| format!("there is no shape {index}"))?;
    let found = &shapes[at].label;
    if found == label { Ok(at) } else { Err(format!("shape {index} is labelled {found:?}, expected {label:?}")) }
}

fn rename(shape: &mut Shape, label: &str) {
    shape.label = label.to_owned();
    shape.bone = Bone::from_name(label);
}

/// Renames all at once, so that rings work.
fn rename_all(shapes: &mut [Shape], pairs: &[(&String, &String)]) -> Result<(), String> {
    let absent: Vec<&str> =
        pairs.iter().map(|(from, _)| from.as_str()).filter(|from| !shapes.iter().any(|s| s.label == *from)).collect();
    if !absent.is_empty() {
        return Err(format!("no shape is labelled {}", absent.join(", ")));
    }
    for shape in shapes {
        if let Some((_, to)) = pairs.iter().find(|(from, _)| **from == shape.label) {
            rename(shape, to);
        }
    }
    Ok(())
}

/// Applies sides and metadata to the tables' rows, and tells of corrections whose image or patient the tables do not have.
pub fn apply_to_tables(
    entries: &[Entry],
    images: &mut [ImageRow],
    patients: &mut [PatientRow],
    file: &str,
) -> Vec<Problem> {
    let image_at: HashMap<String, usize> = images.iter().enumerate().map(|(at, i)| (i.image_id.clone(), at)).collect();
    let with_images: HashSet<String> = images.iter().map(|i| i.patient_id.clone()).collect();
    let mut problems = Vec::new();
    for entry in entries {
        match (&entry.correction.target, &entry.correction.action) {
            (Target::Image(id), action) => match image_at.get(id) {
                None => problems.push(problem(file, entry, format!("the tables have no image {id}"))),
                Some(at) => {
                    if let Action::SetSide { side } = action {
                        images[*at].side = Some(side.name().to_owned());
                    }
                }
            },
            (Target::Patient(id), action) => {
                let row = patients.iter_mut().find(|p| p.patient_id == *id);
                match (row, action) {
                    (Some(row), Action::SetMetadata { field, value }) => set_field(row, *field, value),
                    (None, Action::SetMetadata { .. }) => {
                        problems.push(problem(file, entry, format!("the tables have no patient {id}")));
                    }
                    (None, _) if !with_images.contains(id) => {
                        problems.push(problem(file, entry, format!("the tables have no patient {id}")));
                    }
                    _ => {}
                }
            }
        }
    }
    problems
}

fn set_field(row: &mut PatientRow, field: Field, value: &serde_json::Value) {
    let text = value.as_str().map(str::to_owned);
    match field {
        Field::Sex => row.sex = text,
        Field::Age => row.age = value.as_f64(),
        Field::HeightCm => row.height_cm = value.as_f64(),
        Field::WeightKg => row.weight_kg = value.as_f64(),
        Field::Note => row.note = text.unwrap_or_default(),
    }
}

fn problem(file: &str, entry: &Entry, reason: String) -> Problem {
    let (image_id, patient_id) = match &entry.correction.target {
        Target::Image(id) => (Some(id.clone()), None),
        Target::Patient(id) => (None, Some(id.clone())),
    };
    let raw = serde_json::to_string(&entry.correction.action).unwrap_or_default();
    Problem {
        file: file.to_owned(),
        place: format!("line {}", entry.line),
        image_id,
        patient_id,
        raw: raw.chars().take(200).collect(),
        reason,
        action: "correction not applied".to_owned(),
        severity: Severity::Error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::corrections::Correction;
    use crate::dataset::layout::Side;

    fn annotation(labels: &[&str]) -> Annotation {
        let shape = |(index, label): (usize, &&str)| Shape {
            index,
            label: (*label).to_owned(),
            bone: Bone::from_name(label),
            points: vec![[index as i32, 0], [9, 9], [0, 9]],
        };
        Annotation::new(labels.iter().enumerate().map(shape).collect())
    }

    fn entries(target: &Target, actions: Vec<Action>) -> Vec<Entry> {
        let entry = |(i, action)| Entry {
            line: i + 1,
            correction: Correction {
                target: target.clone(),
                action,
                annotation_sha256: None,
                reason: String::new(),
                author: String::new(),
                date: "2026-03-01".into(),
            },
        };
        actions.into_iter().enumerate().map(entry).collect()
    }

    fn labels(annotation: &Annotation) -> Vec<&str> {
        for shape in &annotation.shapes {
            assert_eq!(shape.bone, Bone::from_name(&shape.label), "label and bone agree");
        }
        annotation.shapes.iter().map(|s| s.label.as_str()).collect()
    }

    #[test]
    fn labels_and_shapes_are_corrected_in_order() {
        let target = Target::Image("a".into());
        let ring = [("Hamate", "Lunate"), ("Lunate", "Ulna"), ("Ulna", "Hamate")];
        let all = entries(
            &target,
            vec![
                Action::Swap { a: "Hamate".into(), b: "Lunate".into() },
                Action::Relabel { shape: 3, from: "finger-20".into(), to: "finger-2".into() },
                Action::DropShape { shape: 1, label: "Hamate".into() },
                Action::ReplacePoints { shape: 2, label: "Ulna".into(), points: vec![[5, 5]] },
                Action::SetSide { side: Side::L },
            ],
        );
        let before = annotation(&["Hamate", "Lunate", "Ulna", "finger-20"]);
        let chosen = for_image(&all, "a");
        assert_eq!(chosen.len(), 4);
        let (after, problems) = apply(&before, None, &chosen, "c.jsonl");
        assert_eq!(problems, []);
        assert_eq!(labels(&after), ["Lunate", "Ulna", "finger-2"]);
        assert_eq!(after.shapes[1].points, [[5, 5]]);
        assert!(for_image(&all, "b").is_empty());

        let mapping = ring.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
        let permuted = entries(&target, vec![Action::Permute { mapping }]);
        let (after, problems) = apply(&before, None, &for_image(&permuted, "a"), "c.jsonl");
        assert_eq!(problems, []);
        assert_eq!(labels(&after), ["Lunate", "Ulna", "Hamate", "finger-20"]);
    }

    #[test]
    fn what_does_not_fit_is_a_problem_and_changes_nothing() {
        let before = annotation(&["Hamate", "Lunate"]);
        let all = entries(
            &Target::Image("a".into()),
            vec![
                Action::Relabel { shape: 0, from: "Lunate".into(), to: "Ulna".into() },
                Action::DropShape { shape: 7, label: "Ulna".into() },
                Action::Swap { a: "Hamate".into(), b: "Ulna".into() },
            ],
        );
        let (after, problems) = apply(&before, None, &for_image(&all, "a"), "c.jsonl");
        assert_eq!(after, before);
        assert_eq!(problems.iter().map(|p| p.place.as_str()).collect::<Vec<_>>(), ["line 1", "line 2", "line 3"]);
        assert!(problems[0].reason.contains("is labelled \"Hamate\", expected \"Lunate\""), "{problems:?}");
    }

    #[test]
    fn a_changed_file_is_judged_again() {
        let before = annotation(&["Hamate", "Lunate"]);
        let mut all =
            entries(&Target::Image("a".into()), vec![Action::Swap { a: "Hamate".into(), b: "Lunate".into() }]);
        all[0].correction.annotation_sha256 = Some("old".into());
        let (after, problems) = apply(&before, Some("new"), &for_image(&all, "a"), "c.jsonl");
        assert_eq!((after, problems.len()), (before.clone(), 1));
        let (after, problems) = apply(&before, Some("old"), &for_image(&all, "a"), "c.jsonl");
        assert_eq!((labels(&after), problems.len()), (vec!["Lunate", "Hamate"], 0));
    }

    #[test]
    fn tables_get_sides_and_metadata() {
        let mut images = [ImageRow { image_id: "a".into(), patient_id: "1".into(), ..ImageRow::default() }];
        let mut patients = [PatientRow { patient_id: "1".into(), age: Some(300.0), ..PatientRow::default() }];
        let mut all = entries(
            &Target::Patient("1".into()),
            vec![
                Action::SetMetadata { field: Field::Age, value: 30.into() },
                Action::SetMetadata { field: Field::Sex, value: "F".into() },
            ],
        );
        all.extend(entries(&Target::Image("a".into()), vec![Action::SetSide { side: Side::R }]));
        all.extend(entries(&Target::Image("typo".into()), vec![Action::Exclude {}]));
        all.extend(entries(&Target::Patient("9".into()), vec![Action::Exclude {}]));
        let problems = apply_to_tables(&all, &mut images, &mut patients, "c.jsonl");
        assert_eq!((patients[0].age, patients[0].sex.as_deref()), (Some(30.0), Some("F")));
        assert_eq!(images[0].side.as_deref(), Some("R"));
        assert_eq!(problems.len(), 2);
    }
}
