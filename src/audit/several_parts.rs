//! Reports bones drawn in several separate parts.
//!
//! Why it matters: a bone is one region in a radiograph; a second large part is usually another bone or a drawing error.
//!
//! Example: Scaphoid is in 2 parts, with 5 % of its area in the smaller one.

use polars::prelude::PolarsResult;

use super::duplicate_label::in_parts;
use super::{AuditContext, Check, Detection, EvidenceKind, Finding, Severity};
use crate::bones::{Bone, COUNT};
use crate::tables::BoneRow;

/// Parts that are reported; smaller ones are reported by `tiny_parts`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SeveralPartsThresholds {
    /// Smallest share of a bone's area in all parts but the largest.
    pub part_share: f64,
}

impl Default for SeveralPartsThresholds {
    fn default() -> Self {
        SeveralPartsThresholds { part_share: 0.01 }
    }
}

pub(super) const CHECK: Check = Check {
    name: "several_parts",
    about: "a bone drawn in several separate parts",
    ceiling: Severity::Medium,
    evidence: EvidenceKind::Bones,
    faults: &[("several_parts", Detection::AnyBone)],
    find,
};

fn find(context: &AuditContext) -> PolarsResult<Vec<Finding>> {
    let parts = bones_in_parts(context).filter(|part| part.minor_share >= context.settings.several_parts.part_share);
    parts
        .map(|BoneInParts { image, bone: b, row, minor_share: share }| {
            let message = format!(
                "{b} is drawn in {} separate parts; {:.1} % of its area is outside the largest",
                row.n_parts,
                100.0 * share
            );
            let suggestion = "join the parts, or delete those that are not the bone";
            Ok(Finding::of_image(&CHECK, image, 1.4 + share, message, suggestion).with_bones([b]))
        })
        .collect()
}

/// One bone drawn in several parts.
pub(super) struct BoneInParts<'a> {
    /// Index in the images table.
    pub image: usize,
    /// The bone.
    pub bone: Bone,
    /// Its row of the bones table.
    pub row: &'a BoneRow,
    /// Share of its area in all parts but the largest.
    pub minor_share: f64,
}

/// Bones drawn in several parts, without those of `duplicate_label`.
pub(super) fn bones_in_parts<'a>(context: &'a AuditContext) -> impl Iterator<Item = BoneInParts<'a>> + 'a {
    let in_parts = |image: usize, row: &BoneRow| {
        let any_missing = || context.bones[image].iter().filter(|r| r.area_px > 0).count() < COUNT;
        row.n_parts > 1 && (row.n_shapes <= 1 || in_parts(row, any_missing()))
    };
    let found = context.outlines().filter(move |(image, _, row)| in_parts(*image, row));
    found.map(|(image, bone, row)| {
        let minor_share = row.minor_parts_px as f64 / row.area_px.max(1) as f64;
        BoneInParts { image, bone, row, minor_share }
    })
}

#[cfg(test)]
mod tests {
    use super::super::synthetic::{Population, found};
    use super::super::{outside_image, self_intersection, tiny_parts};
    use super::*;

    #[test]
    fn crossings_outside_vertices_and_parts_are_distinguished() {
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
