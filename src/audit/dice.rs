//! Reports Dice scores far below the usual score of their class. Runs only with `audit --scores`.
//!
//! Why it matters: where a prediction and an annotation disagree, one of them is wrong. A wrong annotation can be
//! corrected.
//!
//! Example: Lunate has a Dice score of 0.41 in one image; the median of the class is 0.96.

use std::collections::HashSet;

use polars::prelude::PolarsResult;

use super::context::{AuditContext, bone};
use super::{Check, EvidenceKind, Finding, Severity};
use crate::bones::{Bone, COUNT};
use crate::names::image_id;
use crate::scores::DiceTable;
use crate::stats::robust;
use crate::tables::ImageRow;
use crate::wording::counted;

/// Scores that are reported. A score of 1 requires both `spreads` and `drop`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DiceThresholds {
    /// Distance below the median of the class, in units of the robust spread of the class.
    pub spreads: f64,
    /// Distance below the median of the class, as a difference of Dice scores.
    pub drop: f64,
}

impl Default for DiceThresholds {
    fn default() -> Self {
        DiceThresholds { spreads: 6.0, drop: 0.1 }
    }
}

/// With this many classes or more, one finding is about the whole image.
const MANY: usize = 5;

pub(super) const CHECK: Check = Check {
    name: "low_dice",
    about: "a Dice score far below the usual score of the class",
    ceiling: Severity::High,
    evidence: EvidenceKind::Bones,
    faults: &[],
    find,
};

/// A class of an image whose Dice score is far below the usual score of the class.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LowDice {
    /// The class.
    pub bone: Bone,
    /// Its Dice score in the image.
    pub dice: f64,
    /// Median of the class.
    pub median: f64,
    /// How unusual it is: 1 at the thresholds, larger is worse.
    pub score: f64,
}

/// Median and robust spread of the Dice scores of each class.
#[derive(Clone, Debug, PartialEq)]
pub struct UsualDice(Vec<Option<(f64, f64)>>);

impl UsualDice {
    /// Of these scores.
    pub fn of(scores: &DiceTable) -> UsualDice {
        let of_class = |c| robust::centre_and_spread(&scores.class(c).collect::<Vec<_>>());
        UsualDice((0..COUNT).map(of_class).collect())
    }

    /// The classes of an image with scores far below the usual one, by class index.
    pub fn low(&self, image: &[Option<f64>; COUNT], thresholds: &DiceThresholds) -> Vec<LowDice> {
        let of_class = |c: usize| {
            let (dice, (median, spread)) = (image[c]?, self.0[c]?);
            let drop = median - dice;
            let score = (drop / (thresholds.spreads * spread.max(1e-6))).min(drop / thresholds.drop);
            (score >= 1.0).then_some(LowDice { bone: bone(c), dice, median, score })
        };
        (0..COUNT).filter_map(of_class).collect()
    }
}

fn find(context: &AuditContext) -> PolarsResult<Vec<Finding>> {
    let Some(scores) = context.scores else { return Ok(Vec::new()) };
    let usual = UsualDice::of(scores);
    let mut findings = Vec::new();
    for i in context.images() {
        let Some(image_scores) = scores.image(&context.image(i).image_id) else { continue };
        let low = usual.low(image_scores, &context.settings.dice);
        if low.len() >= MANY {
            let mean = low.iter().map(|l| l.dice).sum::<f64>() / low.len() as f64;
            let score = robust::median(low.iter().map(|l| l.score)).unwrap_or(1.0);
            let message = format!("{} bones have a low Dice score, {mean:.3} on average", low.len());
            let finding =
                Finding::of_image(&CHECK, i, score, message, "compare the whole annotation with the prediction");
            findings.push(finding.with_bones(low.iter().map(|l| l.bone)));
            continue;
        }
        for LowDice { bone: b, dice, median, score } in low {
            let message = format!("{b} has a Dice score of {dice:.3} (median of the class: {median:.3})");
            let finding =
                Finding::of_image(&CHECK, i, score, message, format!("compare the outline of {b} with the prediction"));
            findings.push(finding.with_bones([b]));
        }
    }
    Ok(findings)
}

/// Why some or all of the scores cannot be used with these tables; `None` where all can.
pub fn unused_scores(scores: &DiceTable, images: &[ImageRow]) -> Option<String> {
    let known: HashSet<String> = images.iter().map(|row| image_id(&row.image_id)).collect();
    let total = scores.images().count();
    let unknown: Vec<&str> = scores.images().filter(|id| !known.contains(*id)).collect();
    let has_score = |id: &str| scores.image(id).is_some_and(|classes| classes.iter().any(Option::is_some));
    match unknown.first() {
        None if total == 0 => Some("the file lists no image; no score is used".to_owned()),
        Some(first) if unknown.len() == total => {
            Some(format!("no score belongs to an image of the tables (first image: {first}); no score is used"))
        }
        Some(first) => Some(format!(
            "{} of {} not in the tables (first: {first})",
            unknown.len(),
            counted(total, "scored image is", "scored images are")
        )),
        None if !scores.images().any(has_score) => Some("every score is empty or NaN; no score is used".to_owned()),
        None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::synthetic::Population;
    use super::super::{AuditSettings, audit};
    use super::*;

    #[test]
    fn low_scores_are_found_for_a_bone_and_for_a_whole_image() {
        let population = Population::new(20, 121);
        let mut rows: Vec<(String, [Option<f64>; COUNT])> = population
            .tables
            .images
            .iter()
            .enumerate()
            .map(|(i, r)| (r.image_id.clone(), std::array::from_fn(|c| Some(0.95 + 0.01 * ((i * 7 + c) % 4) as f64))))
            .collect();
        rows[3].1[20] = Some(0.1);
        rows[5].1 = [Some(0.3); COUNT];
        rows[6].1[20] = Some(0.93);
        let scores = DiceTable::new(rows);
        let found: Vec<_> = audit(&population.tables, Some(&scores), &AuditSettings::default())
            .unwrap()
            .into_iter()
            .filter(|f| f.check == &CHECK)
            .map(|f| (f.image.unwrap(), f.bones.len()))
            .collect();
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found.contains(&(3, 1)) && found.contains(&(5, COUNT)));
    }

    #[test]
    fn scores_that_cannot_be_used_are_reported() {
        let population = Population::new(2, 122);
        let images = &population.tables.images;
        let reason = |ids: &[&str], dice: Option<f64>| {
            let scores = DiceTable::new(ids.iter().map(|id| ((*id).to_owned(), [dice; COUNT])));
            unused_scores(&scores, images)
        };
        let id = images[0].image_id.as_str();
        assert_eq!(reason(&[id, &format!("folder/{}.png", images[1].image_id)], Some(0.9)), None);
        let partly = reason(&[id, "other.png"], Some(0.9)).unwrap();
        assert_eq!(partly, "1 of 2 scored images are not in the tables (first: other)");
        let foreign = reason(&["other", "another"], Some(0.9)).unwrap();
        assert!(foreign.starts_with("no score belongs to an image of the tables"), "{foreign}");
        assert!(reason(&[], None).unwrap().starts_with("the file lists no image"));
        assert!(reason(&[id], None).unwrap().starts_with("every score is empty or NaN"));
    }
}
