//! Reports bones whose size or aspect ratio is unlikely given the other bones.
//!
//! Why it matters: part of the bone was left out, or part of another bone was included.
//!
//! Example: finger-17 is 1.8 times as round as expected, because the outline ends in the middle of the bone.

use polars::prelude::PolarsResult;

use super::context::{AuditContext, label_in_file};
use super::population::SHAPE_LIMIT;
use super::{Check, EvidenceKind, Finding, Severity};
use crate::bones::COUNT;

/// Sizes and aspect ratios that are reported. A score of 1 requires both `distance` and `factor`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SizeThresholds {
    /// Calibrated Mahalanobis distance of (log size, log aspect ratio) given the other bones.
    pub distance: f64,
    /// Ratio to the expected diameter, or square root of the ratio to the expected aspect ratio. Outlines of one bone
    /// by two people differ by a factor of about 1.05 in diameter.
    pub factor: f64,
}

impl Default for SizeThresholds {
    fn default() -> Self {
        SizeThresholds { distance: 6.0, factor: 1.15 }
    }
}

pub(super) const CHECK: Check = Check {
    name: "size",
    about: "size or shape unlikely given the other bones",
    ceiling: Severity::High,
    evidence: EvidenceKind::Bones,
    faults: &[],
    find,
};

fn find(context: &AuditContext) -> PolarsResult<Vec<Finding>> {
    let thresholds = &context.settings.size;
    let mut findings = Vec::new();
    // The check `place` reports implausible hands.
    for (i, verdict, hand) in context.assessed_hands().filter(|(_, _, hand)| !hand.is_implausible()) {
        for b in 0..COUNT {
            let Some(residual) = hand.shape.residuals[b] else { continue };
            let [size, aspect] = residual.delta;
            let by_factor = size.abs().max(aspect.abs() / 2.0) / thresholds.factor.ln();
            let score = (residual.distance / thresholds.distance).min(by_factor);
            if residual.distance < SHAPE_LIMIT || score < 1.0 || !score.is_finite() {
                continue;
            }
            let b = label_in_file(verdict, b);
            let area = (2.0 * size).exp();
            let description = if 2.0 * size.abs() >= aspect.abs() {
                format!("{b} has {:.0} % of the area expected from the other bones", 100.0 * area)
            } else {
                let (shape, property) =
                    if aspect > 0.0 { ("long and slender", "slender") } else { ("short and round", "round") };
                let factor = aspect.abs().exp();
                format!("{b} is unusually {shape} for this hand: {factor:.1} times as {property} as expected")
            };
            let message = format!("{description} ({})", context.basis());
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
    fn a_bone_of_twice_its_area_is_found() {
        let mut population = Population::new(60, 31);
        population.bone(14, "Capitate").area_px *= 2;
        assert!(found(&population, &CHECK).contains(&(14, "Capitate".into())));
        let message =
            population.audit().into_iter().find(|f| f.check == &CHECK && f.image == Some(14)).unwrap().message;
        assert!(message.contains("% of the area"), "{message}");
    }

    #[test]
    fn a_large_hand_is_not_reported() {
        let mut population = Population::new(60, 32);
        population.scale(20, 1.3);
        assert!(found(&population, &CHECK).iter().all(|f| f.0 != 20));
    }

    #[test]
    fn an_unusual_aspect_ratio_is_described() {
        let mut population = Population::new(60, 33);
        let bone = population.bone(14, "finger-17");
        (bone.sd_major_px, bone.sd_minor_px) = (bone.sd_major_px.map(|v| v / 1.5), bone.sd_minor_px.map(|v| v * 1.5));
        let findings = population.audit();
        let finding = findings.iter().find(|f| f.check == &CHECK && f.image == Some(14)).unwrap();
        assert!(finding.message.starts_with("finger-17 is unusually short and round for this hand: "), "{finding:?}");
        assert!(finding.message.ends_with(" times as round as expected (compared with 120 hands)"), "{finding:?}");
    }
}
