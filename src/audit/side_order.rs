//! Reports images whose bones show the other hand than the file's name or time stamp says (the earlier of a patient's
//! two images is the right hand). The side of the hand follows from the layout of all bones.
//!
//! Why it matters: left and right are swapped in every analysis by side. A hand is either left or right, so the
//! severity is always high.
//!
//! Example: the bones show a left hand, but the file name says right.

use polars::prelude::PolarsResult;

use super::{AuditContext, Check, Detection, EvidenceKind, Finding, Severity};
use crate::dataset::Side;

pub(super) const SCORE: f64 = 3.0;

pub(super) const CHECK: Check = Check {
    name: "side_order",
    about: "the bones look like the other hand than the file name or time stamp says",
    ceiling: Severity::High,
    evidence: EvidenceKind::Tips,
    faults: &[("side_order", Detection::AnyBone)],
    find,
};

fn find(context: &AuditContext) -> PolarsResult<Vec<Finding>> {
    let mut findings = Vec::new();
    for images in context.patients.iter() {
        let wrong: Vec<_> = images.iter().map(|i| wrong_side(context, *i)).collect();
        let suggestion = match wrong.as_slice() {
            [Some(_), Some(_)] => "the two files of the patient look swapped: swap their sides",
            _ => "check whether the image is mirrored or belongs to another hand",
        };
        for (image, wrong) in images.iter().zip(wrong) {
            let Some(WrongSide { by_bones, by_file }) = wrong else { continue };
            let message = format!(
                "the bones show a {} hand, but the file's name or time stamp says {}",
                side_name(by_bones),
                side_name(by_file)
            );
            findings.push(Finding::of_image(&CHECK, *image, SCORE, message, suggestion));
        }
    }
    Ok(findings)
}

/// Two sources that contradict each other about the side of a hand.
pub(super) struct WrongSide {
    by_bones: Side,
    by_file: Side,
}

/// The sides by the bones and by the file, if they differ.
pub(super) fn wrong_side(context: &AuditContext, image: usize) -> Option<WrongSide> {
    let (by_bones, by_file) = (context.side_from_bones(image)?, context.image(image).side?);
    (by_bones != by_file).then_some(WrongSide { by_bones, by_file })
}

pub(super) fn side_name(side: Side) -> &'static str {
    match side {
        Side::L => "left",
        Side::R => "right",
    }
}

#[cfg(test)]
mod tests {
    use super::super::same_side;
    use super::super::synthetic::{Population, found};
    use super::*;

    #[test]
    fn swapped_files_and_two_hands_of_one_side_are_found() {
        let mut population = Population::new(20, 51);
        for i in [6, 7] {
            let side = &mut population.tables.images[i].side;
            *side = Some(if *side == Some(Side::R) { Side::L } else { Side::R });
        }
        population.mirror(11);
        assert_eq!(found(&population, &CHECK).iter().map(|f| f.0).collect::<Vec<_>>(), vec![6, 7, 11]);
        assert_eq!(found(&population, &same_side::CHECK).iter().map(|f| f.0).collect::<Vec<_>>(), vec![11]);
    }

    #[test]
    fn a_swap_of_thumb_and_little_finger_does_not_change_the_side() {
        let mut population = Population::new(20, 52);
        population.permute(3, &["finger-1", "finger-16"]);
        population.tables.images[3].side_by_anatomy = Some(Side::R);
        assert!(found(&population, &CHECK).is_empty());
    }
}
