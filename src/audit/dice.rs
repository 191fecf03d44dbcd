//! Dice scores far below what a class usually gets: where a model and an annotation disagree, one of them is
//! wrong, and labels are the one that can be corrected.

use polars::prelude::PolarsResult;

use super::context::{AuditContext, bone};
use super::{Check, EvidenceKind, Finding, Severity};
use crate::bones::{Bone, COUNT};
use crate::stats::robust;

/// How low is low. Score 1 asks for both.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DiceThresholds {
    /// Spreads below the class's median.
    pub spreads: f64,
    /// Dice below the class's median.
    pub drop: f64,
}

impl Default for DiceThresholds {
    fn default() -> Self {
        DiceThresholds { spreads: 6.0, drop: 0.1 }
    }
}

/// From this many classes on, one finding is of the image.
const MANY: usize = 5;

pub(super) const CHECK: Check = Check {
    name: "low_dice",
    about: "a Dice score far below what the class usually gets",
    ceiling: Severity::High,
    evidence: EvidenceKind::Bones,
    faults: &[],
    find,
};

fn find(context: &AuditContext) -> PolarsResult<Vec<Finding>> {
    let Some(scores) = context.scores else { return Ok(Vec::new()) };
    let thresholds = &context.settings.dice;
    let usual: Vec<Option<(f64, f64)>> =
        (0..COUNT).map(|c| robust::centre_and_spread(&scores.class(c).collect::<Vec<_>>())).collect();
    let mut findings = Vec::new();
    for i in context.images() {
        let Some(of_image) = scores.image(&context.image(i).image_id) else { continue };
        let low: Vec<(Bone, f64, f64, f64)> = (0..COUNT)
            .filter_map(|c| {
                let (dice, (median, spread)) = (of_image[c]?, usual[c]?);
                let drop = median - dice;
                let score = (drop / (thresholds.spreads * spread.max(1e-6))).min(drop / thresholds.drop);
                (score >= 1.0).then_some((bone(c), dice, median, score))
            })
            .collect();
        if low.len() >= MANY {
            let mean = low.iter().map(|l| l.1).sum::<f64>() / low.len() as f64;
            let score = robust::median(low.iter().map(|l| l.3)).unwrap_or(1.0);
            let message = format!("{} bones have a low Dice, {mean:.3} on average", low.len());
            let finding =
                Finding::of_image(&CHECK, i, score, message, "compare the whole annotation with the prediction");
            findings.push(finding.with_bones(low.iter().map(|l| l.0)));
            continue;
        }
        for (b, dice, median, score) in low {
            let message = format!("{b} has a Dice of {dice:.3}, usually {median:.3}");
            let finding =
                Finding::of_image(&CHECK, i, score, message, format!("compare the outline of {b} with the prediction"));
            findings.push(finding.with_bones([b]));
        }
    }
    Ok(findings)
}

#[cfg(test)]
mod tests {
    use super::super::synthetic::Population;
    use super::super::{AuditSettings, audit};
    use super::*;
    use crate::scores::DiceTable;

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
}
