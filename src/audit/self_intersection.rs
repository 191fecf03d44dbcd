//! Reports outlines that cross themselves.
//!
//! Why it matters: the area between two crossings is cut out of the mask.
//!
//! Example: the outline of Radius, drawn by hand with 40 vertices, forms a loop.

use polars::prelude::PolarsResult;

use super::{AuditContext, Check, Detection, EvidenceKind, Finding, Severity};

/// Crossings with severity medium; all others are low.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SelfIntersectionThresholds {
    /// Largest number of vertices of an outline drawn by hand. A crossing between few long edges cuts a piece out of
    /// the mask. In an outline of thousands of pixel steps it is harmless: the trace runs back over itself.
    pub sparse_vertices: u32,
}

impl Default for SelfIntersectionThresholds {
    fn default() -> Self {
        SelfIntersectionThresholds { sparse_vertices: 200 }
    }
}

pub(super) const CHECK: Check = Check {
    name: "self_intersection",
    about: "an outline that crosses itself",
    ceiling: Severity::Medium,
    evidence: EvidenceKind::Bones,
    faults: &[("self_intersection", Detection::AnyBone)],
    find,
};

fn find(context: &AuditContext) -> PolarsResult<Vec<Finding>> {
    let sparse_vertices = context.settings.self_intersection.sparse_vertices;
    let crossed = context.outlines().filter(|(_, _, row)| row.n_crossings > 0);
    crossed
        .map(|(image, b, row)| {
            let sparse = row.n_vertices <= sparse_vertices;
            let score = if sparse { 1.4 + 0.1 * f64::from(row.n_crossings.min(10)) } else { 1.0 };
            let times = if row.n_crossings == 1 { "once".to_owned() } else { format!("{} times", row.n_crossings) };
            let message = format!("the outline of {b} crosses itself {times}");
            let suggestion =
                "redraw the outline where it crosses itself; the area between the crossings is cut out of the mask";
            Ok(Finding::of_image(&CHECK, image, score, message, suggestion).with_bones([b]))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::synthetic::{Population, found};
    use super::*;

    #[test]
    fn a_crossing_matters_less_in_a_dense_outline() {
        let severity = |vertices| {
            let mut population = Population::new(3, 5);
            let bone = population.bone(0, "Radius");
            (bone.n_crossings, bone.n_vertices) = (1, vertices);
            assert_eq!(found(&population, &CHECK), vec![(0, "Radius".into())]);
            population.audit().iter().find(|f| f.check == &CHECK).unwrap().severity()
        };
        assert_eq!((severity(40), severity(1400)), (Severity::Medium, Severity::Low));
    }
}
