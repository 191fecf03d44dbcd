//! Bones whose size or shape does not go with the others'.

use polars::prelude::PolarsResult;

use super::context::{AuditContext, label_in_file};
use super::population::SHAPE_LIMIT;
use super::{Check, EvidenceKind, Finding, Severity};
use crate::bones::COUNT;

/// How odd is odd. Score 1 asks for both.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SizeThresholds {
    /// Calibrated distance of (log size, log aspect ratio) given the other bones.
    pub distance: f64,
    /// Difference in size or aspect as a factor: outlines of one bone by two people differ by about 1.05 in
    /// diameter, so 1.15 is beyond taste.
    pub factor: f64,
}

impl Default for SizeThresholds {
    fn default() -> Self {
        SizeThresholds { distance: 6.0, factor: 1.15 }
    }
}

pub(super) const CHECK: Check = Check {
    name: "size",
    about: "a bone of a size or shape that does not go with the others",
    ceiling: Severity::High,
    evidence: EvidenceKind::Bones,
    faults: &[],
    find,
};

fn find(context: &AuditContext) -> PolarsResult<Vec<Finding>> {
    let thresholds = &context.settings.size;
    let mut findings = Vec::new();
    // Of bones that make no hand, `place` speaks once.
    for (i, verdict, judged) in context.judged().filter(|(_, _, judged)| !judged.is_no_hand()) {
        for b in 0..COUNT {
            let Some(residual) = judged.shape.residuals[b] else { continue };
            let [size, aspect] = residual.delta;
            let floor = size.abs().max(aspect.abs() / 2.0) / thresholds.factor.ln();
            let score = (residual.distance / thresholds.distance).min(floor);
            if residual.distance < SHAPE_LIMIT || score < 1.0 || !score.is_finite() {
                continue;
            }
            let b = label_in_file(verdict, b);
            let area = (2.0 * size).exp();
            let what = if 2.0 * size.abs() >= aspect.abs() {
                format!("{b} has {:.0} % of the area that goes with the other bones", 100.0 * area)
            } else {
                format!(
                    "{b} is {:.1} times as {} as goes with the other bones",
                    aspect.abs().exp(),
                    if aspect > 0.0 { "slender" } else { "round" }
                )
            };
            let message = format!("{what} ({})", context.basis());
            // Size alone says less than place: a bone may be cut by the edge or truly large.
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
    fn a_bone_twice_its_size_is_found() {
        let mut population = Population::new(60, 31);
        population.bone(14, "Capitate").area_px *= 2;
        assert!(found(&population, &CHECK).contains(&(14, "Capitate".into())));
        let message =
            population.audit().into_iter().find(|f| f.check == &CHECK && f.image == Some(14)).unwrap().message;
        assert!(message.contains("% of the area"), "{message}");
    }

    #[test]
    fn a_whole_hand_that_is_large_is_not() {
        let mut population = Population::new(60, 32);
        population.scale(20, 1.3);
        assert!(found(&population, &CHECK).iter().all(|f| f.0 != 20));
    }
}
