//! Bones drawn in several parts.

use polars::prelude::PolarsResult;

use super::duplicate_label::in_parts;
use super::{Answer, AuditContext, Check, EvidenceKind, Finding, Severity};
use crate::bones::{Bone, COUNT};
use crate::tables::BoneRow;

/// When parts are parts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SeveralPartsThresholds {
    /// Share of a bone's area in its minor parts from which they are parts of it and not specks.
    pub part_share: f64,
}

impl Default for SeveralPartsThresholds {
    fn default() -> Self {
        SeveralPartsThresholds { part_share: 0.01 }
    }
}

pub(super) const CHECK: Check = Check {
    name: "several_parts",
    about: "a bone in several parts",
    ceiling: Severity::Medium,
    evidence: EvidenceKind::Bones,
    faults: &[("several_parts", Answer::One)],
    find,
};

fn find(context: &AuditContext) -> PolarsResult<Vec<Finding>> {
    let parts = bones_in_parts(context).filter(|(_, _, _, share)| *share >= context.settings.several_parts.part_share);
    parts
        .map(|(image, b, row, share)| {
            let message = format!("{b} is in {} parts; {:.1} % of it is apart", row.n_parts, 100.0 * share);
            let suggestion = "join the parts or delete what is not the bone";
            Ok(Finding::of_image(&CHECK, image, 1.4 + share, message, suggestion).with_bones([b]))
        })
        .collect()
}

/// Image and bone of what is one bone in parts, and the share of its area in all but the largest.
pub(super) fn bones_in_parts<'a>(
    context: &'a AuditContext,
) -> impl Iterator<Item = (usize, Bone, &'a BoneRow, f64)> + 'a {
    let in_parts = |image: usize, row: &BoneRow| {
        let any_missing = || context.bones[image].iter().filter(|r| r.area_px > 0).count() < COUNT;
        row.n_parts > 1 && (row.n_shapes <= 1 || in_parts(row, any_missing()))
    };
    let found = context.outlines().filter(move |(image, _, row)| in_parts(*image, row));
    found.map(|(image, b, row)| (image, b, row, row.minor_parts_px as f64 / row.area_px.max(1) as f64))
}

#[cfg(test)]
mod tests {
    use super::super::synthetic::{Population, found};
    use super::super::{outside_image, self_intersection, tiny_parts};
    use super::*;

    #[test]
    fn crossings_outside_vertices_and_parts_are_told_apart() {
        let mut population = Population::new(4, 5);
        population.bone(0, "Hamate").n_crossings = 2;
        population.bone(1, "Lunate").n_outside = 1;
        let area = population.bone(2, "Scaphoid").area_px;
        (population.bone(2, "Scaphoid").n_parts, population.bone(2, "Scaphoid").minor_parts_px) = (2, area / 20);
        (population.bone(3, "Scaphoid").n_parts, population.bone(3, "Scaphoid").minor_parts_px) = (2, area / 500);
        assert_eq!(found(&population, &self_intersection::CHECK), vec![(0, "Hamate".into())]);
        assert_eq!(found(&population, &outside_image::CHECK), vec![(1, "Lunate".into())]);
        assert_eq!(found(&population, &CHECK), vec![(2, "Scaphoid".into())]);
        assert_eq!(found(&population, &tiny_parts::CHECK), vec![(3, "Scaphoid".into())]);
    }
}
