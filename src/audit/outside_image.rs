//! Outlines with vertices outside the image.

use polars::prelude::PolarsResult;

use super::{Answer, AuditContext, Check, EvidenceKind, Finding, Severity};
use crate::bones::Bone;

pub(super) const CHECK: Check = Check {
    name: "outside_image",
    about: "an outline with vertices outside the image",
    ceiling: Severity::Medium,
    evidence: EvidenceKind::Bones,
    faults: &[("outside_image", Answer::One)],
    find,
};

fn find(context: &AuditContext) -> PolarsResult<Vec<Finding>> {
    let beyond = context.outlines().filter(|(_, _, row)| row.n_outside > 0);
    beyond
        .map(|(image, b, row)| {
            // Forearm bones leave the picture by nature; their outlines may run a pixel past the edge.
            let forearm = b == Bone::RADIUS || b == Bone::ULNA;
            let lie = if row.n_outside == 1 { "lies" } else { "lie" };
            let message = format!("{} of {} vertices of {b} {lie} outside the image", row.n_outside, row.n_vertices);
            let suggestion = "check the outline against the image; it may belong to a picture of another size";
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
