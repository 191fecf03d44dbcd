//! Hands on another side than their file says: by the layout of all bones against the file's name or time stamp (the
//! earlier of a patient's two images is the right hand). There is nothing to weigh: a hand is left or right, so
//! it is high.

use polars::prelude::PolarsResult;

use super::{Answer, AuditContext, Check, EvidenceKind, Finding, Severity};
use crate::dataset::Side;

pub(super) const SCORE: f64 = 3.0;

pub(super) const CHECK: Check = Check {
    name: "side_order",
    about: "a hand on the other side than its file's name or time says",
    ceiling: Severity::High,
    evidence: EvidenceKind::Tips,
    faults: &[("side_order", Answer::One)],
    find,
};

fn find(context: &AuditContext) -> PolarsResult<Vec<Finding>> {
    let mut findings = Vec::new();
    for images in context.patients.iter() {
        let wrong: Vec<_> = images.iter().map(|i| wrong_side(context, *i)).collect();
        let suggestion = match wrong.as_slice() {
            [Some(_), Some(_)] => "the patient's two files look exchanged: swap their sides",
            _ => "check whether the image is mirrored or belongs to another hand",
        };
        for (image, wrong) in images.iter().zip(wrong) {
            let Some((seen, filed)) = wrong else { continue };
            let message = format!("a {} hand by its bones, a {} hand by its file", word(seen), word(filed));
            findings.push(Finding::of_image(&CHECK, *image, SCORE, message, suggestion));
        }
    }
    Ok(findings)
}

/// The side by the bones and the side by the file, where they differ.
pub(super) fn wrong_side(context: &AuditContext, image: usize) -> Option<(Side, Side)> {
    let (seen, filed) = (context.side_seen(image)?, context.image(image).side?);
    (seen != filed).then_some((seen, filed))
}

pub(super) fn word(side: Side) -> &'static str {
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
    fn exchanged_files_and_two_hands_of_one_side_are_found() {
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
    fn a_swap_of_thumb_and_little_finger_does_not_turn_the_hand() {
        let mut population = Population::new(20, 52);
        population.permute(3, &["finger-1", "finger-16"]);
        population.tables.images[3].side_by_anatomy = Some(Side::R);
        assert!(found(&population, &CHECK).is_empty());
    }
}
