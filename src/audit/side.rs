//! Hands on the wrong side: by the layout of all bones against the file's name or time stamp (the earlier of a
//! patient's two images is the right hand), and against the patient's other hand. There is nothing to
//! weigh: a hand is left or right, so both are high.

use super::context::{Context, side};
use super::{CheckKind, Finding};
use crate::dataset::Side;

const SCORE: f64 = 3.0;

pub(super) fn check(context: &Context) -> Vec<Finding> {
    let mut findings = Vec::new();
    for images in context.patients.values() {
        let seen: Vec<Option<Side>> = images.iter().map(|i| context.side_seen(*i)).collect();
        let filed: Vec<Option<Side>> = images.iter().map(|i| side(context.image(*i).side.as_deref())).collect();
        let wrong = |k: usize| matches!((seen[k], filed[k]), (Some(a), Some(b)) if a != b);
        for k in (0..images.len()).filter(|k| wrong(*k)) {
            let (Some(a), Some(b)) = (seen[k], filed[k]) else { continue };
            let exchanged = images.len() == 2 && wrong(0) && wrong(1);
            let suggestion = match exchanged {
                true => "the patient's two files look exchanged: swap their sides",
                false => "check whether the image is mirrored or belongs to another hand",
            };
            let message = format!("a {} hand by its bones, a {} hand by its file", word(a), word(b));
            findings.push(Finding::of_image(CheckKind::SideOrder, images[k], SCORE, message, suggestion));
        }
        if let ([first, second], [Some(a), Some(b)]) = (images.as_slice(), seen.as_slice())
            && a == b
        {
            // The one that disagrees with its file; the later one where neither or both do.
            let (image, other) = if wrong(0) && !wrong(1) { (*first, *second) } else { (*second, *first) };
            let message = format!("both hands of the patient are {} hands by their bones", word(*a));
            findings.push(
                Finding::of_image(
                    CheckKind::SameSide,
                    image,
                    SCORE,
                    message,
                    "check whether one is mirrored, filed under the wrong patient, or the same hand twice",
                )
                .with_beside(other),
            );
        }
    }
    findings
}

fn word(side: Side) -> &'static str {
    match side {
        Side::L => "left",
        Side::R => "right",
    }
}

#[cfg(test)]
mod tests {
    use super::super::synthetic::{Population, found};
    use super::*;

    #[test]
    fn exchanged_files_and_two_hands_of_one_side_are_found() {
        let mut population = Population::new(20, 51);
        for i in [6, 7] {
            let side = &mut population.tables.images[i].side;
            *side = Some(if side.as_deref() == Some("R") { "L".into() } else { "R".into() });
        }
        population.mirror(11);
        assert_eq!(found(&population, CheckKind::SideOrder).iter().map(|f| f.0).collect::<Vec<_>>(), vec![6, 7, 11]);
        assert_eq!(found(&population, CheckKind::SameSide).iter().map(|f| f.0).collect::<Vec<_>>(), vec![11]);
    }

    #[test]
    fn a_swap_of_thumb_and_little_finger_does_not_turn_the_hand() {
        let mut population = Population::new(20, 52);
        population.permute(3, &["finger-1", "finger-16"]);
        population.tables.images[3].side_by_anatomy = Some("R".into());
        assert!(found(&population, CheckKind::SideOrder).is_empty());
    }
}
