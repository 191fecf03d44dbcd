//! Long bones that lean otherwise than the others make likely.

use polars::prelude::PolarsResult;

use super::context::{AuditContext, label_in_file};
use super::{Check, EvidenceKind, Finding, Severity};
use crate::bones::COUNT;

/// How odd is odd. Score 1 asks for both.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OrientationThresholds {
    /// Calibrated distance given the other bones' leans.
    pub distance: f64,
    /// Degrees: fingers bend and turn by up to about 20 on their own.
    pub degrees: f64,
}

impl Default for OrientationThresholds {
    fn default() -> Self {
        OrientationThresholds { distance: 5.5, degrees: 20.0 }
    }
}

pub(super) const CHECK: Check = Check {
    name: "orientation",
    about: "a long bone that leans otherwise than the others make likely",
    ceiling: Severity::Medium,
    evidence: EvidenceKind::Bones,
    faults: &[],
    find,
};

fn find(context: &AuditContext) -> PolarsResult<Vec<Finding>> {
    let thresholds = &context.settings.orientation;
    let mut findings = Vec::new();
    // Of bones that make no hand, `place` speaks once.
    for (i, verdict, judged) in context.judged().filter(|(_, _, judged)| !judged.is_no_hand()) {
        for b in 0..COUNT {
            // A bone out of place is told of already; its lean adds nothing.
            let (Some(residual), true) = (judged.lean.residuals[b], judged.place.accepted[b]) else { continue };
            let degrees = residual.delta[0].abs();
            let score = (residual.distance / thresholds.distance).min(degrees / thresholds.degrees);
            if score < 1.0 || !score.is_finite() {
                continue;
            }
            let b = label_in_file(verdict, b);
            let message =
                format!("{b} leans {degrees:.0}° otherwise than the other bones make likely ({})", context.basis());
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
    fn a_metacarpal_lying_across_is_found() {
        let mut population = Population::new(60, 41);
        let lean = population.bone(3, "finger-11").orientation_deg.unwrap();
        population.bone(3, "finger-11").orientation_deg = Some(lean + 70.0);
        assert!(found(&population, &CHECK).contains(&(3, "finger-11".into())));
        // An axis turned by half a turn is the same axis.
        let mut same = Population::new(60, 41);
        let lean = same.bone(3, "finger-11").orientation_deg.unwrap();
        same.bone(3, "finger-11").orientation_deg = Some(lean + 180.0);
        assert!(!found(&same, &CHECK).contains(&(3, "finger-11".into())));
    }
}
