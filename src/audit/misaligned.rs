//! Reports outlines that form a plausible hand but do not follow the bones in their image: shifted, turned, mirrored, or
//! drawn on another patient's image.
//!
//! The check uses the edge strength along the outlines (`features::outline`). It reports an image only if the edge strength
//! is low and also hardly greater than that of the same outlines elsewhere in the image, which is the strength by chance.
//! So a blurred or moderately noisy image without strong edges is not reported. An image in which noise hides the bones, or
//! with most grey levels clipped, may be reported.
//!
//! Why it matters: every mask of the image is wrong, although the annotation alone looks correct.
//!
//! Example: a viewer turned the image by its EXIF data and the annotation tool did not.

use polars::prelude::PolarsResult;

use super::context::AuditContext;
use super::{Check, EvidenceKind, Finding, Severity};

/// Edge strengths that are reported. A finding requires both `edge` and `lead`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MisalignedThresholds {
    /// Edge strength below which outlines are reported. Correct outlines reach 0.95 in sharp images. They reach 0.8 if
    /// they are shifted by 8 of 2048 px, and in images of 256 px.
    pub edge: f64,
    /// Smallest difference between the edge strength of correct outlines and that elsewhere in the image. The median
    /// over 29 bones varies less by chance.
    pub lead: f64,
    /// Edge strength from which turned or mirrored outlines are reported to fit.
    pub fits: f64,
}

impl Default for MisalignedThresholds {
    fn default() -> Self {
        MisalignedThresholds { edge: 0.6, lead: 0.1, fits: 0.7 }
    }
}

/// Edge strengths below this are due to chance and count as this value.
const CHANCE: f64 = 0.1;

pub(super) const CHECK: Check = Check {
    name: "misaligned",
    about: "outlines that do not follow the bones: shifted, turned, mirrored or of another image",
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
            "the outlines do not follow the bones: edge strength {edge:.2} (1 on the bones, 0 by chance); \
             {elsewhere:.2} with all outlines {change}"
        );
        let suggestion = match elsewhere >= fits {
            true => format!("the annotation fits with all outlines {change}: correct it, or exclude the image"),
            false => {
                "check whether the annotation belongs to this image and was not moved; correct it, or exclude the image"
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
    fn weak_edges_are_found_unless_they_exceed_chance() {
        let mut population = Population::new(4, 31);
        let edges = [
            (Some(0.95), Some(0.4)),  // correct
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
