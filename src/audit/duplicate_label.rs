//! Labels that occur more than once in an image: another bone under the wrong name, or one bone drawn twice.
//! Shapes apart from each other in an image where no bone is missing are parts of one bone and specks beside
//! it, which is the outlines' check.

use polars::prelude::PolarsResult;

use super::population::SPECK_SHARE;
use super::{Answer, AuditContext, Check, EvidenceKind, Finding, Severity};
use crate::bones::Bone;
use crate::tables::BoneRow;
use crate::wording::counted;

const SCORE: f64 = 4.0;

/// Whether the shapes of one label are one bone in parts, rather than two bones or one drawn twice.
pub(super) fn in_parts(row: &BoneRow, any_missing: bool) -> bool {
    let apart = row.minor_parts_px as f64 / row.area_px.max(1) as f64;
    row.n_parts > 1 && (!any_missing || apart < SPECK_SHARE)
}

pub(super) const CHECK: Check = Check {
    name: "duplicate_label",
    about: "a label that occurs more than once in an image",
    ceiling: Severity::High,
    evidence: EvidenceKind::Bones,
    faults: &[("duplicate_label", Answer::One), ("tiny_part", Answer::One)],
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
            false => format!("one of the shapes may be {}, which is missing", absent.join(" or ")),
        };
        let parts = counted(row.n_parts.max(1) as usize, "part", "parts");
        let message = format!("{b} is drawn {} times, in {parts}", row.n_shapes);
        findings.push(Finding::of_image(&CHECK, i, SCORE, message, suggestion).with_bones([b]));
    }
    Ok(findings)
}

#[cfg(test)]
mod tests {
    use super::super::synthetic::{Population, found};
    use super::*;

    #[test]
    fn a_label_used_twice_is_found_and_its_missing_neighbour_suggested() {
        let mut population = Population::new(4, 3);
        population.remove(3, "Trapezoid");
        population.bone(3, "Trapezium").n_shapes = 2;
        assert_eq!(found(&population, &CHECK), vec![(3, "Trapezium".into())]);
        let findings = population.audit();
        let duplicate = findings.iter().find(|f| f.check == &CHECK).unwrap();
        assert!(duplicate.suggestion.contains("Trapezoid"), "{}", duplicate.suggestion);
    }
}
