//! Bones that differ in size between a patient's two hands more than other patients' do.

use polars::prelude::PolarsResult;

use super::context::{AuditContext, bone};
use super::{Check, EvidenceKind, Finding, Severity};
use crate::bones::COUNT;
use crate::dataset::Side;
use crate::stats::robust;

/// How unlike is too unlike. Score 1 asks for both.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AsymmetryThresholds {
    /// Robust z of the log ratio of areas, the hands' overall ratio taken out.
    pub z: f64,
    /// Difference in area as a factor; repeated outlines of a small carpal bone differ by up to 1.15.
    pub factor: f64,
    /// Difference of the whole hands' area as a factor: the right hand is 1 to 2 % larger in most people.
    pub whole_factor: f64,
    /// Fewest patients to know what is usual.
    pub patients: usize,
}

impl Default for AsymmetryThresholds {
    fn default() -> Self {
        AsymmetryThresholds { z: 6.0, factor: 1.35, whole_factor: 1.12, patients: 5 }
    }
}

struct Pair {
    right: usize,
    left: usize,
    /// Log of right over left area.
    ratios: [Option<f64>; COUNT],
    whole: f64,
}

pub(super) const CHECK: Check = Check {
    name: "asymmetry",
    about: "a bone that differs in size from the patient's other hand",
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
            let off = ratio - pair.whole - centre;
            let score = (off.abs() / (thresholds.z * spread.max(0.02))).min(off.abs() / thresholds.factor.ln());
            if score < 1.0 || !score.is_finite() {
                continue;
            }
            let (image, other) = blamed(context, pair, b);
            let larger = if image == pair.right { off } else { -off };
            let name = bone(b);
            let message = format!(
                "{name} has {:.0} % of the area of that in the patient's other hand, the hands' sizes allowed for",
                100.0 * larger.exp()
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
                .with_beside(other),
            );
        }
    }
    for pair in &pairs {
        let score = pair.whole.abs() / thresholds.whole_factor.ln();
        if score >= 1.0 && score.is_finite() {
            let message =
                format!("the right hand's bones have {:.0} % of the area of the left hand's", 100.0 * pair.whole.exp());
            findings.push(
                Finding::of_image(
                    &CHECK,
                    pair.right,
                    score,
                    message,
                    "check that both images belong to one patient and have one scale",
                )
                .with_beside(pair.left),
            );
        }
    }
    Ok(findings)
}

fn pair(context: &AuditContext, images: &[usize]) -> Option<Pair> {
    const FEWEST: usize = 15;
    let [a, b] = images else { return None };
    let (right, left) = match (context.side_seen(*a)?, context.side_seen(*b)?) {
        (Side::R, Side::L) => (*a, *b),
        (Side::L, Side::R) => (*b, *a),
        _ => return None,
    };
    // Half of the log of the area in each hand's own labels, put right where they were exchanged.
    let sizes = |i: usize| -> Option<[Option<f64>; COUNT]> {
        let verdict = context.verdicts[i].as_ref()?;
        Some(verdict.hand.relabelled(&verdict.labels).shapes.map(|s| s.map(|s| 2.0 * s[0])))
    };
    let (of_right, of_left) = (sizes(right)?, sizes(left)?);
    // Radius and Ulna are cut by the image's edge, wherever that falls.
    let forearm = |b: usize| bone(b).group() == crate::bones::BoneGroup::Forearm;
    let ratios: [Option<f64>; COUNT] =
        std::array::from_fn(|b| if forearm(b) { None } else { Some(of_right[b]? - of_left[b]?) });
    let known: Vec<f64> = ratios.iter().flatten().copied().collect();
    if known.len() < FEWEST {
        return None;
    }
    Some(Pair { right, left, ratios, whole: robust::median(known)? })
}

/// The hand whose bone goes less well with its own neighbours, and the other.
fn blamed(context: &AuditContext, pair: &Pair, b: usize) -> (usize, usize) {
    let odd = |i: usize| {
        context.verdicts[i].as_ref().and_then(|v| v.judged.as_ref()?.shape.residuals[b]).map_or(0.0, |r| r.distance)
    };
    if odd(pair.left) > odd(pair.right) { (pair.left, pair.right) } else { (pair.right, pair.left) }
}

#[cfg(test)]
mod tests {
    use super::super::synthetic::{Population, found};
    use super::*;

    #[test]
    fn a_bone_unlike_its_twin_is_found_in_the_right_hand_of_the_two() {
        let mut population = Population::new(40, 91);
        population.bone(9, "finger-10").area_px *= 2;
        assert_eq!(found(&population, &CHECK), vec![(9, "finger-10".into())]);
    }

    #[test]
    fn hands_of_unlike_size_are_one_finding() {
        let mut population = Population::new(40, 92);
        population.scale(9, 1.2);
        let findings = found(&population, &CHECK);
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert!(findings[0].1.is_empty() && findings[0].0 / 2 == 4);
    }
}
