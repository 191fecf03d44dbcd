use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::bones;
use crate::tables::EpochRow;
use crate::violation::Violations;

/// Validation scores at which a stage ends early; both must be reached in the same epoch.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct UntilSettings {
    /// Mean validation Dice. Above 0 to 1; absent: any.
    #[schemars(example = 0.95)]
    pub dice: Option<f64>,
    /// Validation Dice of the worst class. Above 0 to 1; absent: any.
    #[schemars(example = 0.85)]
    pub worst: Option<f64>,
}

impl UntilSettings {
    /// The values that are out of range.
    pub fn violations(&self) -> Violations {
        let mut wrong = Violations::new();
        for (key, value) in [("dice", self.dice), ("worst", self.worst)] {
            if let Some(value) = value {
                wrong.expect(value > 0.0 && value <= 1.0, key, value, "above 0 to 1");
            }
        }
        let is_empty = self.dice.is_none() && self.worst.is_none();
        wrong.expect(!is_empty, "dice", "absent", "a Dice for `dice`, for `worst`, or for both");
        wrong
    }

    /// Whether the epoch reached the scores; not without a validation.
    pub fn is_reached(&self, epoch: &EpochRow) -> bool {
        let compared = self.compared(epoch);
        !compared.is_empty() && compared.iter().all(|part| part.is_reached())
    }

    /// The scores of the epoch next to those to reach: `mean Dice 0.9510 >= 0.95 and worst class (Pisiform) 0.8400 <
    /// 0.85`.
    pub fn describe(&self, epoch: &EpochRow) -> String {
        let parts = self.compared(epoch).into_iter().map(|part| {
            let sign = if part.is_reached() { ">=" } else { "<" };
            format!("{} {:.4} {sign} {}", part.name, part.found, part.wanted)
        });
        parts.collect::<Vec<_>>().join(" and ")
    }

    fn compared(&self, epoch: &EpochRow) -> Vec<Compared> {
        let worst = bones::NAMES.iter().zip(&epoch.dice).min_by(|a, b| a.1.total_cmp(b.1));
        let dice = self.dice.zip(epoch.valid_dice);
        let dice = dice.map(|(wanted, found)| Compared { name: "mean Dice".into(), wanted, found });
        let worst = self.worst.zip(worst).map(|(wanted, (class, found))| Compared {
            name: format!("worst class ({class})"),
            wanted,
            found: *found,
        });
        dice.into_iter().chain(worst).collect()
    }
}

/// A score of an epoch, and the score to reach.
struct Compared {
    name: String,
    wanted: f64,
    found: f64,
}

impl Compared {
    fn is_reached(&self) -> bool {
        self.found >= self.wanted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_scores_must_be_reached() {
        let mut dice = vec![0.9; bones::COUNT];
        dice[26] = 0.84;
        let epoch = EpochRow { valid_dice: Some(0.95), dice, ..EpochRow::default() };
        let reached = |dice, worst| UntilSettings { dice, worst }.is_reached(&epoch);
        assert!(reached(Some(0.95), None) && reached(None, Some(0.84)) && reached(Some(0.9), Some(0.8)));
        assert!(!reached(Some(0.951), Some(0.8)) && !reached(Some(0.95), Some(0.85)));
        let text = UntilSettings { dice: Some(0.95), worst: Some(0.85) }.describe(&epoch);
        assert_eq!(text, "mean Dice 0.9500 >= 0.95 and worst class (Pisiform) 0.8400 < 0.85");
        // An epoch that was not validated reaches nothing.
        assert!(!UntilSettings { dice: Some(0.1), worst: Some(0.1) }.is_reached(&EpochRow::default()));
    }

    #[test]
    fn at_least_one_score_is_needed() {
        let keys = |until: UntilSettings| until.violations().iter().map(ToString::to_string).collect::<Vec<_>>();
        assert!(keys(UntilSettings { dice: Some(1.0), worst: None }).is_empty());
        assert!(keys(UntilSettings::default())[0].contains("expected a Dice for `dice`, for `worst`, or for both"));
        assert_eq!(keys(UntilSettings { dice: Some(95.0), worst: Some(0.0) }).len(), 2);
    }
}
