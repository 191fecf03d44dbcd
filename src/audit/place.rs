//! Reports bones whose position is unlikely given the other bones.
//!
//! Why it matters: the outline was moved or drawn on another bone, so the mask teaches a model the wrong place.
//!
//! Example: Pisiform lies 120 px from its expected position, over Ulna.

use polars::prelude::PolarsResult;

use super::context::{AuditContext, bone, label_in_file};
use super::population::{Assessment, POSITION_LIMIT, Verdict};
use super::{Check, Detection, EvidenceKind, Finding, Severity};
use crate::bones::{Bone, COUNT};

/// Displacements that are reported. A score of 1 requires both `distance` and `displacement_px`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PlaceThresholds {
    /// Calibrated Mahalanobis distance. With two degrees of freedom, one bone in 250,000 exceeds 5 by chance; real hands
    /// have heavier tails.
    pub distance: f64,
    /// Displacement in px of a mean hand at 2048 x 2048, in which Pisiform is 80 px wide. In a very regular population,
    /// such as phantoms, a smaller displacement can have a large distance but no importance.
    pub displacement_px: f64,
}

impl Default for PlaceThresholds {
    fn default() -> Self {
        PlaceThresholds { distance: 5.5, displacement_px: 12.0 }
    }
}

pub(super) const CHECK: Check = Check {
    name: "place",
    about: "position unlikely given the other bones",
    ceiling: Severity::High,
    evidence: EvidenceKind::Bones,
    faults: &[("shifted_label", Detection::AnyBone), ("pisiform_over_ulna", Detection::AnyBone)],
    find,
};

fn find(context: &AuditContext) -> PolarsResult<Vec<Finding>> {
    let thresholds = &context.settings.place;
    let mut findings = Vec::new();
    for (i, verdict, hand) in context.assessed_hands() {
        if hand.is_implausible() {
            let measured = hand.position.residuals.iter().flatten().count();
            let message = format!(
                "the positions of {} of {measured} bones are impossible for a hand ({})",
                hand.position.removed,
                context.basis()
            );
            findings.push(Finding::of_image(
                &CHECK,
                i,
                4.0,
                message,
                "check the whole annotation; it may belong to another image",
            ));
            continue;
        }
        for b in 0..COUNT {
            let Some(residual) = hand.position.residuals[b] else { continue };
            let displacement = residual.delta[0].hypot(residual.delta[1]);
            let score = (residual.distance / thresholds.distance).min(displacement / thresholds.displacement_px);
            if residual.distance < POSITION_LIMIT || score < 1.0 || !score.is_finite() {
                continue;
            }
            let b = label_in_file(verdict, b);
            let over = overlapped_bone(context, i, b, verdict).map_or(String::new(), |other| format!("over {other}, "));
            let message = format!(
                "{b} lies {over}{:.0} px from the position expected from the other bones ({})",
                displacement / hand.fit.scale(),
                context.basis()
            );
            let suggestion = format!("move {b} {}", direction(residual.delta, hand));
            findings.push(Finding::of_image(&CHECK, i, score, message, suggestion).with_bones([b]));
        }
    }
    Ok(findings)
}

/// The other bone whose bounding box contains this bone's centroid; the nearest one if there are several.
fn overlapped_bone(context: &AuditContext, image: usize, b: Bone, verdict: &Verdict) -> Option<Bone> {
    let at = verdict.hand.centroids[b.index()]?;
    context.bones[image]
        .iter()
        .filter(|r| r.class as usize != b.index() && (r.class as usize) < COUNT)
        .filter(|r| {
            let within = |min: Option<u32>, max: Option<u32>, v: f64| {
                min.zip(max).is_some_and(|(min, max)| (f64::from(min)..=f64::from(max)).contains(&v))
            };
            within(r.x_min, r.x_max, at.x) && within(r.y_min, r.y_max, at.y)
        })
        .min_by(|p, q| {
            let distance = |r: &crate::tables::BoneRow| {
                (r.centroid_x.unwrap_or(f64::MAX) - at.x).hypot(r.centroid_y.unwrap_or(f64::MAX) - at.y)
            };
            distance(p).total_cmp(&distance(q))
        })
        .map(|r| bone(r.class as usize))
}

/// The way to the expected position, in px of the image: `about 10 px right and 20 px up`.
fn direction(delta: [f64; 2], hand: &Assessment) -> String {
    let [x, y] = hand.fit.displacement_in_image([-delta[0], -delta[1]]);
    let part = |v: f64, positive: &str, negative: &str| {
        format!("{:.0} px {}", v.abs(), if v >= 0.0 { positive } else { negative })
    };
    format!("about {} and {}", part(x, "right", "left"), part(y, "down", "up"))
}

#[cfg(test)]
mod tests {
    use super::super::synthetic::{Population, Random, found};
    use super::super::{Severity, orientation, size, swaps};
    use super::*;

    #[test]
    fn a_shifted_bone_is_found_with_its_displacement() {
        let mut population = Population::new(60, 21);
        population.shift(7, "Lunate", 60.0, -20.0);
        let findings: Vec<_> = population.audit().into_iter().filter(|f| f.check == &CHECK).collect();
        let lunate = findings.iter().find(|f| f.image == Some(7)).unwrap();
        assert_eq!(lunate.bones, vec![Bone::from_name("Lunate").unwrap()]);
        let px: f64 = lunate.message.split(" px").next().unwrap().rsplit(' ').next().unwrap().parse().unwrap();
        assert!((px - 63.0).abs() < 15.0, "{}", lunate.message);
        assert!(
            lunate.suggestion.starts_with("move Lunate about ")
                && lunate.suggestion.contains("left")
                && lunate.suggestion.contains("down"),
            "{}",
            lunate.suggestion
        );
        assert_eq!(lunate.severity(), Severity::High);
    }

    #[test]
    fn a_pisiform_drawn_over_the_ulna_is_reported_with_both_bones() {
        let mut population = Population::new(60, 22);
        let ulna = population.bone(12, "Ulna").clone();
        let pisiform = population.bone(12, "Pisiform");
        (pisiform.centroid_x, pisiform.centroid_y) = (ulna.centroid_x, ulna.centroid_y);
        let findings: Vec<_> = population.audit().into_iter().filter(|f| f.image == Some(12)).collect();
        let place = findings.iter().find(|f| f.check == &CHECK).unwrap();
        assert!(place.message.starts_with("Pisiform lies over Ulna, "), "{}", place.message);
        assert_eq!(place.severity(), Severity::High);
    }

    #[test]
    fn shifts_by_a_bone_are_found_and_clean_hands_are_not_high() {
        let mut population = Population::new(150, 23);
        let mut random = Random::new(5);
        let mut planted = Vec::new();
        for image in (0..300).step_by(5) {
            let b = bone(random.below(COUNT));
            let angle = random.unit() * std::f64::consts::TAU;
            population.shift(image, b.name(), 70.0 * angle.cos(), 70.0 * angle.sin());
            planted.push((image, b.name().to_owned()));
        }
        let all = population.audit();
        let at = |p: &(usize, String)| {
            all.iter().any(|f| f.check == &CHECK && f.image == Some(p.0) && f.bones[0].name() == p.1)
        };
        let missed: Vec<_> = planted.iter().filter(|p| !at(p)).collect();
        assert!(missed.len() * 20 <= planted.len(), "missed {missed:?}");
        let mut high: Vec<usize> =
            all.iter().filter(|f| f.severity() == Severity::High).filter_map(|f| f.image).collect();
        high.retain(|i| i % 5 != 0);
        high.dedup();
        assert!(high.len() <= 4, "{} of 240 clean hands are high", high.len());
    }

    #[test]
    fn one_image_and_no_image_do_not_panic() {
        let mut population = Population::new(1, 24);
        population.keep_images(1);
        assert!(found(&population, &CHECK).is_empty());
        population.keep_images(0);
        assert!(population.audit().is_empty());
    }

    #[test]
    fn a_hand_of_random_positions_is_one_finding_without_relabelling() {
        let mut population = Population::new(10, 25);
        let mut random = Random::new(6);
        for bone in &mut population.tables.bones {
            (bone.centroid_x, bone.centroid_y) = (Some(2047.0 * random.unit()), Some(2047.0 * random.unit()));
        }
        let expected: Vec<_> = (0..20).map(|image| (image, String::new())).collect();
        assert_eq!(found(&population, &CHECK), expected);
        for check in [&swaps::CHECK, &size::CHECK, &orientation::CHECK] {
            assert!(found(&population, check).is_empty(), "{check}");
        }
    }
}
