//! Reports tiny separate parts next to a bone.
//!
//! Why it matters: they are remains of the drawing tool. They hardly change Dice but distort the bounding box and
//! distances between outlines.
//!
//! Example: Scaphoid has a second part of 12 px.

use polars::prelude::PolarsResult;

use super::several_parts::{BoneInParts, bones_in_parts};
use super::{AuditContext, Check, Detection, EvidenceKind, Finding, Severity};
use crate::wording::counted;

pub(super) const CHECK: Check = Check {
    name: "tiny_parts",
    about: "a tiny separate part next to a bone",
    ceiling: Severity::Low,
    evidence: EvidenceKind::Bones,
    // A tiny shape that touches its bone is not a separate part; `duplicate_label` reports it.
    faults: &[("tiny_part", Detection::AnyBone)],
    find,
};

fn find(context: &AuditContext) -> PolarsResult<Vec<Finding>> {
    let parts = bones_in_parts(context).filter(|part| part.minor_share < context.settings.several_parts.part_share);
    parts
        .map(|BoneInParts { image, bone: b, row, .. }| {
            let message =
                format!("{b} has {}", counted(row.n_parts as usize - 1, "tiny separate part", "tiny separate parts"));
            Ok(Finding::of_image(&CHECK, image, 1.0, message, "delete the tiny parts").with_bones([b]))
        })
        .collect()
}
