//! Reports bones without an annotation. Severity is high for annotations and medium for predictions.
//!
//! Why it matters: every image shows all 29 bones. A missing bone teaches a model that the bone is background.
//!
//! Example: Pisiform has no shape because its shape has the label `Pisiforn`.

use std::collections::{BTreeSet, HashMap};

use polars::prelude::PolarsResult;

use super::context::{AuditContext, bone};
use super::{Check, Detection, EvidenceKind, Finding, Severity, unknown_label};
use crate::bones::{Bone, COUNT};
use crate::dataset::MaskSource;
use crate::dataset::annotation::UNKNOWN_LABEL;

/// With this many missing bones or more, one finding lists them all.
const MANY: usize = 6;
/// Unknown labels listed in a suggestion.
const MAX_UNKNOWN_LABELS: usize = 3;
const ANNOTATED: f64 = 4.0;
const PREDICTED: f64 = 1.5;

pub(super) const CHECK: Check = Check {
    name: "missing_label",
    about: "a bone without an annotation",
    ceiling: Severity::High,
    evidence: EvidenceKind::Neighbours,
    faults: &[
        ("missing_label", Detection::AnyBone),
        ("unknown_label", Detection::Consequence),
        ("duplicate_label", Detection::Consequence),
    ],
    find,
};

fn find(context: &AuditContext) -> PolarsResult<Vec<Finding>> {
    let unknown_labels = unknown_labels(context)?;
    let mut findings = Vec::new();
    for i in context.images() {
        let row = context.image(i);
        let score = match row.mask_source {
            MaskSource::Annotation => ANNOTATED,
            MaskSource::Prediction => PREDICTED,
            MaskSource::None => continue,
        };
        let mut drawn = [false; COUNT];
        let mut candidates = Vec::new();
        for b in context.bones[i].iter().filter(|b| (b.class as usize) < COUNT && b.area_px > 0) {
            drawn[b.class as usize] = true;
            if b.n_shapes > 1 {
                candidates.push(format!("one of the shapes labelled {}", b.label));
            }
        }
        candidates.extend(unknown_labels.get(&i).into_iter().flatten().take(MAX_UNKNOWN_LABELS).cloned());
        let absent: Vec<Bone> = (0..COUNT).filter(|b| !drawn[*b]).map(bone).collect();
        let names = absent.iter().map(|b| b.name()).collect::<Vec<_>>().join(", ");
        if absent.len() == COUNT {
            let message = "no bone is annotated".to_owned();
            findings.push(Finding::of_image(&CHECK, i, score, message, "annotate the image, or exclude it"));
        } else if absent.len() >= MANY {
            let message = format!("{} bones are missing: {names}", absent.len());
            let finding = Finding::of_image(&CHECK, i, score, message, "annotate them, or exclude the image");
            findings.push(finding.with_bones(absent));
        } else {
            for b in absent {
                let suggestion = match candidates.is_empty() {
                    true => format!("outline {b}"),
                    false => format!("outline {b}, or rename {} if it shows this bone", candidates.join(" or ")),
                };
                let finding = Finding::of_image(&CHECK, i, score, format!("{b} is missing"), suggestion);
                findings.push(finding.with_bones([b]));
            }
        }
    }
    Ok(findings)
}

/// Per image: its shapes with unknown labels, as `the shape labelled "1-regnif"`.
fn unknown_labels(context: &AuditContext) -> PolarsResult<HashMap<usize, BTreeSet<String>>> {
    let mut labels: HashMap<usize, BTreeSet<String>> = HashMap::new();
    for (problem, image) in unknown_label::label_problems(context, UNKNOWN_LABEL)? {
        if let Some(image) = image {
            labels.entry(image).or_default().insert(format!("the shape labelled {:?}", problem.raw));
        }
    }
    Ok(labels)
}

#[cfg(test)]
mod tests {
    use super::super::synthetic::{Population, found};
    use super::*;
    use crate::tables::ProblemRow;

    #[test]
    fn each_missing_bone_is_named() {
        let mut population = Population::new(4, 1);
        population.remove(2, "Lunate");
        population.remove(5, "finger-4");
        population.remove(5, "Ulna");
        let findings = found(&population, &CHECK);
        assert_eq!(findings, vec![(2, "Lunate".into()), (5, "Ulna".into()), (5, "finger-4".into())]);
    }

    #[test]
    fn shapes_with_an_unknown_or_repeated_label_are_suggested() {
        let mut population = Population::new(4, 4);
        population.remove(2, "finger-1");
        population.remove(3, "finger-1");
        population.remove(4, "finger-1");
        population.bone(3, "Trapezium").n_shapes = 2;
        population.tables.problems = vec![ProblemRow {
            image_id: Some(population.tables.images[2].image_id.clone()),
            place: "annotations[0].label".into(),
            raw: "1-regnif".into(),
            severity: crate::dataset::ProblemSeverity::Warning,
            reason: UNKNOWN_LABEL.into(),
            ..ProblemRow::default()
        }];
        let findings = population.audit();
        let suggestion = |i| &findings.iter().find(|f| f.check == &CHECK && f.image == Some(i)).unwrap().suggestion;
        let expected = "outline finger-1, or rename the shape labelled \"1-regnif\" if it shows this bone";
        assert_eq!(suggestion(2), expected);
        let expected = "outline finger-1, or rename one of the shapes labelled Trapezium if it shows this bone";
        assert_eq!(suggestion(3), expected);
        assert_eq!(suggestion(4), "outline finger-1");
    }

    #[test]
    fn an_empty_annotation_is_one_finding_and_no_annotation_none() {
        let mut population = Population::new(3, 2);
        for bone in Bone::all() {
            population.remove(1, bone.name());
            population.remove(4, bone.name());
        }
        population.tables.images[4].mask_source = MaskSource::None;
        assert_eq!(found(&population, &CHECK), vec![(1, String::new())]);
    }
}
