//! Stray specks next to a bone: parts of it that are too small to be of it.

use polars::prelude::PolarsResult;

use super::several_parts::bones_in_parts;
use super::{Answer, AuditContext, Check, EvidenceKind, Finding, Severity};
use crate::wording::counted;

pub(super) const CHECK: Check = Check {
    name: "tiny_parts",
    about: "stray specks next to a bone",
    ceiling: Severity::Low,
    evidence: EvidenceKind::Bones,
    // A speck that touches its bone makes no part of its own: that is a duplicate label.
    faults: &[("tiny_part", Answer::One)],
    find,
};

fn find(context: &AuditContext) -> PolarsResult<Vec<Finding>> {
    let specks = bones_in_parts(context).filter(|(_, _, _, share)| *share < context.settings.several_parts.part_share);
    specks
        .map(|(image, b, row, _)| {
            let message = format!("{b} has {} next to it", counted(row.n_parts as usize - 1, "speck", "specks"));
            Ok(Finding::of_image(&CHECK, image, 1.0, message, "delete the specks").with_bones([b]))
        })
        .collect()
}
