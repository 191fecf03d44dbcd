//! Bones that should be annotated and are not. Every image shows all 29, so one that is absent is an error
//! of the annotation: high for annotations, medium for predictions (where a model may have missed it).

use polars::prelude::PolarsResult;

use super::context::{AuditContext, bone};
use super::{Answer, Check, EvidenceKind, Finding, Severity};
use crate::bones::{Bone, COUNT};
use crate::dataset::MaskSource;

/// From this many on, one finding tells of all.
const MANY: usize = 6;
const ANNOTATED: f64 = 4.0;
const PREDICTED: f64 = 1.5;

pub(super) const CHECK: Check = Check {
    name: "missing_label",
    about: "a bone that should be annotated is not",
    ceiling: Severity::High,
    evidence: EvidenceKind::Neighbours,
    faults: &[
        ("missing_label", Answer::One),
        ("unknown_label", Answer::Consequence),
        ("duplicate_label", Answer::Consequence),
    ],
    find,
};

fn find(context: &AuditContext) -> PolarsResult<Vec<Finding>> {
    let mut findings = Vec::new();
    for i in context.images() {
        let row = context.image(i);
        let score = match row.mask_source {
            MaskSource::Annotation => ANNOTATED,
            MaskSource::Prediction => PREDICTED,
            MaskSource::None => continue,
        };
        let mut drawn = [false; COUNT];
        let mut twice = Vec::new();
        for b in context.bones[i].iter().filter(|b| (b.class as usize) < COUNT && b.area_px > 0) {
            drawn[b.class as usize] = true;
            if b.n_shapes > 1 {
                twice.push(b.label.as_str());
            }
        }
        let absent: Vec<Bone> = (0..COUNT).filter(|b| !drawn[*b]).map(bone).collect();
        let names = absent.iter().map(|b| b.name()).collect::<Vec<_>>().join(", ");
        if absent.len() == COUNT {
            let message = "no bone is annotated".to_owned();
            findings.push(Finding::of_image(&CHECK, i, score, message, "annotate the image or leave it out"));
        } else if absent.len() >= MANY {
            let message = format!("{} bones are missing: {names}", absent.len());
            let finding = Finding::of_image(&CHECK, i, score, message, "annotate them or leave the image out");
            findings.push(finding.with_bones(absent));
        } else {
            for b in absent {
                let suggestion = match twice.is_empty() {
                    true => format!("outline {b}"),
                    false => {
                        format!("outline {b}, or give its name to one of the shapes labelled {}", twice.join(", "))
                    }
                };
                let finding = Finding::of_image(&CHECK, i, score, format!("{b} is missing"), suggestion);
                findings.push(finding.with_bones([b]));
            }
        }
    }
    Ok(findings)
}

#[cfg(test)]
mod tests {
    use super::super::synthetic::{Population, found};
    use super::*;

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
