//! Outlines that do not follow the bones of their image, though they are a plausible hand: shifted, turned (as when a viewer applied
//! EXIF data that the annotation's tool did not), mirrored, or drawn on another patient's image.
//!
//! Rests on the edge strength along the outlines (`features::outline`). Two things are asked for: that it is low, and that it is
//! hardly greater than that of the same outlines elsewhere in the same image, which is how strong it is by chance there. So a
//! blurred or moderately noisy image, in which no edge is strong, is no finding; one in which noise hides the bones, or most of
//! the levels are clipped, may be.

use polars::prelude::PolarsResult;

use super::context::AuditContext;
use super::{Check, EvidenceKind, Finding, Severity};

/// When outlines do not follow the bones: both are asked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MisalignedThresholds {
    /// Greatest edge strength. Correct outlines reach 0.95 on sharp images, and 0.8 with outlines 8 px of 2048 off or at 256 px.
    pub edge: f64,
    /// How much greater than elsewhere a correct one is at least: a median over some 30 bones is off by less by chance.
    pub lead: f64,
    /// Edge strength from which outlines that are turned or mirrored are said to fit.
    pub fits: f64,
}

impl Default for MisalignedThresholds {
    fn default() -> Self {
        MisalignedThresholds { edge: 0.6, lead: 0.1, fits: 0.7 }
    }
}

/// Below this an edge strength is chance, and how far below says nothing.
const CHANCE: f64 = 0.1;

pub(super) const CHECK: Check = Check {
    name: "misaligned",
    about: "outlines off the bones: shifted, turned, mirrored or of another image",
    ceiling: Severity::High,
    evidence: EvidenceKind::Hand,
    faults: &[],
    find,
};

fn find(context: &AuditContext) -> PolarsResult<Vec<Finding>> {
    let MisalignedThresholds { edge: low, lead, fits } = context.settings.misaligned;
    let mut findings = Vec::new();
    for i in context.images() {
        let row = context.image(i);
        let (Some(edge), Some(elsewhere)) = (row.edge, row.edge_elsewhere) else { continue };
        let behind = elsewhere + lead - edge;
        let is_low = edge < low && behind > 0.0;
        if !is_low {
            continue;
        }
        let score = low / edge.max(CHANCE) * (1.0 + behind);
        let change = row.edge_elsewhere_change.as_deref().unwrap_or_default();
        let message = format!(
            "the outlines do not follow the bones: edge strength {edge:.2} (1 on the bones, 0 by chance); {elsewhere:.2} with all outlines {change}"
        );
        let suggestion = match elsewhere >= fits {
            true => format!("the annotation fits with all outlines {change}: correct it, or exclude the image"),
            false => {
                "check whether the annotation is of this image and was not moved; correct it, or exclude the image"
                    .to_owned()
            }
        };
        findings.push(Finding::of_image(&CHECK, i, score, message, suggestion));
    }
    Ok(findings)
}

#[cfg(test)]
mod tests {
    use super::super::synthetic::{Population, found};
    use super::*;

    #[test]
    fn weak_edges_are_found_unless_they_stand_out() {
        let mut population = Population::new(4, 31);
        let edges = [
            (Some(0.95), Some(0.4)),  // as it should be
            (Some(0.05), Some(0.12)), // shifted, or of another patient
            (Some(0.02), Some(0.96)), // turned
            (Some(0.45), Some(0.2)),  // a noisy image
            (Some(0.9), Some(0.85)),  // a blurred image
            (Some(-0.3), Some(-0.1)), // between the bones
            (None, None),
            (Some(f64::NAN), Some(f64::NAN)),
        ];
        for (image, (edge, elsewhere)) in population.tables.images.iter_mut().zip(edges) {
            (image.edge, image.edge_elsewhere) = (edge, elsewhere);
            image.edge_elsewhere_change = edge.map(|_| "turned by 180°".to_owned());
        }
        assert_eq!(found(&population, &CHECK), [1, 2, 5].map(|i| (i, String::new())));
        let findings = population.audit();
        let suggestion = |i| &findings.iter().find(|f| f.check == &CHECK && f.image == Some(i)).unwrap().suggestion;
        assert!(suggestion(2).contains("fits with all outlines turned by 180°"), "{}", suggestion(2));
        assert!(!suggestion(1).contains("fits"), "{}", suggestion(1));
    }
}
