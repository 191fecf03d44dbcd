//! Reports bones that differ in size between the two hands of a patient more than in other patients.
//!
//! Why it matters: the two hands of a person are nearly symmetric, so a large difference is usually an error in
//! one of the two outlines. A difference between the whole hands suggests another patient or another scale.
//!
//! Example: the left finger-10 has twice the area of the right one.

use polars::prelude::PolarsResult;

use super::context::{AuditContext, bone};
use super::{Check, EvidenceKind, Finding, Severity};
use crate::bones::COUNT;
use crate::dataset::Side;
use crate::stats::robust;

/// Differences that are reported. A score of 1 requires both `z` and `factor`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AsymmetryThresholds {
    /// Robust z score of the log ratio of the areas, after subtraction of the ratio of the whole hands.
    pub z: f64,
    /// Ratio of the areas; repeated outlines of a small carpal bone differ by a factor of up to 1.15.
    pub factor: f64,
    /// Ratio of the areas of the whole hands; the right hand is 1 to 2 % larger in most people.
    pub whole_factor: f64,
    /// Smallest number of patients with both hands that the check needs.
    pub patients: usize,
}

impl Default for AsymmetryThresholds {
    fn default() -> Self {
        AsymmetryThresholds { z: 6.0, factor: 1.35, whole_factor: 1.12, patients: 5 }
    }
}

struct Pair {
    /// Index of the image of the right hand.
    right: usize,
    left: usize,
    /// Per bone: log of the right area divided by the left area.
    ratios: [Option<f64>; COUNT],
    /// Median of `ratios`.
    whole: f64,
}

pub(super) const CHECK: Check = Check {
    name: "asymmetry",
    about: "a bone that differs in size between the patient's two hands",
    ceiling: Severity::Medium,
    evidence: EvidenceKind::Bones,
    faults: &[],
    find,
};

fn find(context: &AuditContext) -> PolarsResult<Vec<Finding>> {
    let thresholds = &context.settings.asymmetry;
    let pairs: Vec<Pair> = context.patients.iter().filter_map(|images| pair(context, images)).collect();
    if pairs.len() < thresholds.patients {
        return Ok(Vec::new());
    }
    let mut findings = Vec::new();
    for b in 0..COUNT {
        let ratios: Vec<f64> = pairs.iter().filter_map(|p| Some(p.ratios[b]? - p.whole)).collect();
        let Some((centre, spread)) = robust::centre_and_spread(&ratios) else { continue };
        for pair in &pairs {
            let Some(ratio) = pair.ratios[b] else { continue };
            let difference = ratio - pair.whole - centre;
            let score =
                (difference.abs() / (thresholds.z * spread.max(0.02))).min(difference.abs() / thresholds.factor.ln());
            if score < 1.0 || !score.is_finite() {
                continue;
            }
            let (image, other) = suspect_first(context, pair, b);
            let log_ratio = if image == pair.right { difference } else { -difference };
            let name = bone(b);
            let message = format!(
                "{name} has {:.0} % of the area of the same bone in the patient's other hand, corrected for the sizes of \
                 the hands",
                100.0 * log_ratio.exp()
            );
            findings.push(
                Finding::of_image(
                    &CHECK,
                    image,
                    score,
                    message,
                    format!("compare the outlines of {name} in both hands"),
                )
                .with_bones([name])
                .compared_with(other),
            );
        }
    }
    for pair in &pairs {
        let score = pair.whole.abs() / thresholds.whole_factor.ln();
        if score >= 1.0 && score.is_finite() {
            let message = format!(
                "the bones of the right hand have {:.0} % of the area of the left hand",
                100.0 * pair.whole.exp()
            );
            findings.push(
                Finding::of_image(
                    &CHECK,
                    pair.right,
                    score,
                    message,
                    "check that both images belong to the same patient and have the same scale",
                )
                .compared_with(pair.left),
            );
        }
    }
    Ok(findings)
}

fn pair(context: &AuditContext, images: &[usize]) -> Option<Pair> {
    const MIN_BONES: usize = 15;
    let [a, b] = images else { return None };
    let (right, left) = match (context.side_from_bones(*a)?, context.side_from_bones(*b)?) {
        (Side::R, Side::L) => (*a, *b),
        (Side::L, Side::R) => (*b, *a),
        _ => return None,
    };
    // Log of the area per bone, with swapped labels corrected.
    let sizes = |i: usize| -> Option<[Option<f64>; COUNT]> {
        let verdict = context.verdicts[i].as_ref()?;
        Some(verdict.hand.relabelled(&verdict.labels).shapes.map(|s| s.map(|s| 2.0 * s[0])))
    };
    let (right_sizes, left_sizes) = (sizes(right)?, sizes(left)?);
    // The image's edge cuts Radius and Ulna at an arbitrary place.
    let forearm = |b: usize| bone(b).group() == crate::bones::BoneGroup::Forearm;
    let ratios: [Option<f64>; COUNT] =
        std::array::from_fn(|b| if forearm(b) { None } else { Some(right_sizes[b]? - left_sizes[b]?) });
    let known: Vec<f64> = ratios.iter().flatten().copied().collect();
    if known.len() < MIN_BONES {
        return None;
    }
    Some(Pair { right, left, ratios, whole: robust::median(known)? })
}

/// The image in which the bone fits the other bones of its hand less well, then the other image.
fn suspect_first(context: &AuditContext, pair: &Pair, b: usize) -> (usize, usize) {
    let distance = |i: usize| {
        context.verdicts[i].as_ref().and_then(|v| v.assessment.as_ref()?.shape.residuals[b]).map_or(0.0, |r| r.distance)
    };
    if distance(pair.left) > distance(pair.right) { (pair.left, pair.right) } else { (pair.right, pair.left) }
}

#[cfg(test)]
mod tests {
    use super::super::synthetic::{Population, found};
    use super::*;

    #[test]
    fn a_bone_that_differs_between_the_hands_is_found_in_the_faulty_hand() {
        let mut population = Population::new(40, 91);
        population.bone(9, "finger-10").area_px *= 2;
        assert_eq!(found(&population, &CHECK), vec![(9, "finger-10".into())]);
    }

    #[test]
    fn hands_of_different_size_are_one_finding() {
        let mut population = Population::new(40, 92);
        population.scale(9, 1.2);
        let findings = found(&population, &CHECK);
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert!(findings[0].1.is_empty() && findings[0].0 / 2 == 4);
    }
}
