//! Reports labels that several shapes of an image have: one of the shapes is another bone with the wrong label, or
//! one bone was drawn twice. Separate shapes in an image without a missing bone are treated as parts of one bone;
//! `several_parts` and `tiny_parts` report those.
//!
//! Why it matters: the mask of the class contains two bones, and another bone has no mask.
//!
//! Example: two shapes are labelled Trapezium and no shape is labelled Trapezoid.

use polars::prelude::PolarsResult;

use super::population::TINY_PART_SHARE;
use super::{AuditContext, Check, Detection, EvidenceKind, Finding, Severity};
use crate::bones::Bone;
use crate::tables::BoneRow;

const SCORE: f64 = 4.0;

/// Whether the shapes of one label are parts of one bone, and not two bones or one bone drawn twice.
pub(super) fn in_parts(row: &BoneRow, any_missing: bool) -> bool {
    let minor_share = row.minor_parts_px as f64 / row.area_px.max(1) as f64;
    row.n_parts > 1 && (!any_missing || minor_share < TINY_PART_SHARE)
}

pub(super) const CHECK: Check = Check {
    name: "duplicate_label",
    about: "a label that several shapes of an image have",
    ceiling: Severity::High,
    evidence: EvidenceKind::Bones,
    faults: &[("duplicate_label", Detection::AnyBone), ("tiny_part", Detection::AnyBone)],
    find,
};

fn find(context: &AuditContext) -> PolarsResult<Vec<Finding>> {
    let mut findings = Vec::new();
    for (i, b, row) in context.outlines().filter(|(_, _, row)| row.n_shapes > 1) {
        let is_absent = |bone: &Bone| context.bones[i].iter().all(|r| r.class as usize != bone.index());
        let absent: Vec<&str> = Bone::all().filter(is_absent).map(|bone| bone.name()).collect();
        if in_parts(row, !absent.is_empty()) {
            continue;
        }
        let suggestion = match absent.is_empty() {
            true => format!("delete the shape that is not {b}"),
            false => {
                let is_missing = if absent.len() == 1 { "which is missing" } else { "which are missing" };
                format!("one of the shapes may be {}, {is_missing}", absent.join(" or "))
            }
        };
        let contact = match row.n_parts {
            0 | 1 => "they touch or overlap".to_owned(),
            parts if parts == row.n_shapes => "they do not touch".to_owned(),
            parts => format!("together they form {parts} separate parts"),
        };
        let message = format!("{} shapes are labelled {b}; {contact}", row.n_shapes);
        findings.push(Finding::of_image(&CHECK, i, SCORE, message, suggestion).with_bones([b]));
    }
    Ok(findings)
}

#[cfg(test)]
mod tests {
    use super::super::synthetic::{Population, found};
    use super::*;

    #[test]
    fn a_label_used_twice_is_found_and_the_missing_bone_suggested() {
        let mut population = Population::new(4, 3);
        population.remove(3, "Trapezoid");
        population.bone(3, "Trapezium").n_shapes = 2;
        assert_eq!(found(&population, &CHECK), vec![(3, "Trapezium".into())]);
        let findings = population.audit();
        let duplicate = findings.iter().find(|f| f.check == &CHECK).unwrap();
        assert!(duplicate.suggestion.contains("Trapezoid"), "{}", duplicate.suggestion);
        assert_eq!(duplicate.message, "2 shapes are labelled Trapezium; they touch or overlap");
    }
}
