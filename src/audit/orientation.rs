//! Reports long bones whose orientation is unlikely given the other bones.
//!
//! Why it matters: the outline was turned, or covers parts of another bone.
//!
//! Example: finger-11 is turned by 70° relative to the direction of the other metacarpals.

use polars::prelude::PolarsResult;

use super::context::{AuditContext, label_in_file};
use super::{Check, EvidenceKind, Finding, Severity};
use crate::bones::COUNT;

/// Orientations that are reported. A score of 1 requires both `distance` and `degrees`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OrientationThresholds {
    /// Calibrated Mahalanobis distance given the orientations of the other bones.
    pub distance: f64,
    /// Difference in degrees; single fingers bend and turn by up to about 20.
    pub degrees: f64,
}

impl Default for OrientationThresholds {
    fn default() -> Self {
        OrientationThresholds { distance: 5.5, degrees: 20.0 }
    }
}

pub(super) const CHECK: Check = Check {
    name: "orientation",
    about: "orientation of a long bone unlikely given the other bones",
    ceiling: Severity::Medium,
    evidence: EvidenceKind::Bones,
    faults: &[],
    find,
};

fn find(context: &AuditContext) -> PolarsResult<Vec<Finding>> {
    let thresholds = &context.settings.orientation;
    let mut findings = Vec::new();
    // The check `place` reports implausible hands.
    for (i, verdict, hand) in context.assessed_hands().filter(|(_, _, hand)| !hand.is_implausible()) {
        for b in 0..COUNT {
            // Bones in unlikely positions are reported by `place` already.
            let (Some(residual), true) = (hand.orientation.residuals[b], hand.position.accepted[b]) else { continue };
            let degrees = residual.delta[0].abs();
            let score = (residual.distance / thresholds.distance).min(degrees / thresholds.degrees);
            if score < 1.0 || !score.is_finite() {
                continue;
            }
            let b = label_in_file(verdict, b);
            let message = format!(
                "{b} is turned by {degrees:.0}° from the orientation expected from the other bones ({})",
                context.basis()
            );
            let finding = Finding::of_image(&CHECK, i, score, message, format!("check the outline of {b}"));
            findings.push(finding.with_bones([b]));
        }
    }
    Ok(findings)
}

#[cfg(test)]
mod tests {
    use super::super::synthetic::{Population, found};
    use super::*;

    #[test]
    fn a_turned_metacarpal_is_found() {
        let mut population = Population::new(60, 41);
        let orientation = population.bone(3, "finger-11").orientation_deg.unwrap();
        population.bone(3, "finger-11").orientation_deg = Some(orientation + 70.0);
        assert!(found(&population, &CHECK).contains(&(3, "finger-11".into())));
        // An axis turned by 180° is the same axis.
        let mut same = Population::new(60, 41);
        let orientation = same.bone(3, "finger-11").orientation_deg.unwrap();
        same.bone(3, "finger-11").orientation_deg = Some(orientation + 180.0);
        assert!(!found(&same, &CHECK).contains(&(3, "finger-11".into())));
    }
}
