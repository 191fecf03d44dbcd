//! Reports outlines with vertices outside the image.
//!
//! Why it matters: the outline may have been drawn on an image of another size, or was moved; the mask is cut off.
//!
//! Example: 3 of 40 vertices of finger-16 lie above the top edge.

use polars::prelude::PolarsResult;

use super::{AuditContext, Check, Detection, EvidenceKind, Finding, Severity};
use crate::bones::Bone;

pub(super) const CHECK: Check = Check {
    name: "outside_image",
    about: "an outline with vertices outside the image",
    ceiling: Severity::Medium,
    evidence: EvidenceKind::Bones,
    faults: &[("outside_image", Detection::AnyBone)],
    find,
};

fn find(context: &AuditContext) -> PolarsResult<Vec<Finding>> {
    let outside = context.outlines().filter(|(_, _, row)| row.n_outside > 0);
    outside
        .map(|(image, b, row)| {
            // The image's edge cuts the forearm bones; their outlines often end one pixel outside.
            let forearm = b == Bone::RADIUS || b == Bone::ULNA;
            let lie = if row.n_outside == 1 { "lies" } else { "lie" };
            let message = format!("{} of {} vertices of {b} {lie} outside the image", row.n_outside, row.n_vertices);
            let suggestion = "compare the outline with the image; it may have been drawn on an image of another size";
            Ok(Finding::of_image(&CHECK, image, if forearm { 1.0 } else { 1.5 }, message, suggestion).with_bones([b]))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::synthetic::{Population, found};
    use super::*;

    #[test]
    fn vertices_outside_matter_less_in_the_forearm() {
        let mut population = Population::new(4, 5);
        population.bone(1, "Lunate").n_outside = 1;
        population.bone(2, "Ulna").n_outside = 1;
        assert_eq!(found(&population, &CHECK), vec![(1, "Lunate".into()), (2, "Ulna".into())]);
        let findings = population.audit();
        let severity = |i| findings.iter().find(|f| f.check == &CHECK && f.image == Some(i)).unwrap().severity();
        assert_eq!((severity(1), severity(2)), (Severity::Medium, Severity::Low));
    }
}
