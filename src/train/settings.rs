use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::closed_enum::closed_enum;

closed_enum! {
    /// The validation score that decides which of two epochs is better.
    pub enum Monitor ("monitor") {
        /// The higher mean validation Dice, compared over all stages.
        Dice = "dice",
        /// The lower validation loss. The losses of two stages may not be comparable, so each stage has its own best
        /// epoch.
        Loss = "loss",
    }
}

closed_enum! {
    /// The weights that a stage starts from.
    #[derive(Default)]
    pub enum StartFrom ("start") {
        /// The weights at the end of the stage before; for the first stage the model's initial weights.
        #[default]
        Last = "last",
        /// The weights of the best epoch so far.
        Best = "best",
        /// The averaged weights at the end of the stage before.
        Ema = "ema",
        /// The stochastic weight average of the stage before.
        Swa = "swa",
    }
}

/// The weight of PointRend's loss, linear over the stage.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(from = "NumberOrPair", into = "[f64; 2]")]
pub struct PointWeight {
    /// Weight at the first step of the stage.
    pub from: f64,
    /// Weight at the last step of the stage.
    pub to: f64,
}

#[derive(Deserialize, JsonSchema)]
#[serde(untagged, expecting = "a number, or [first, last]")]
enum NumberOrPair {
    One(f64),
    Two([f64; 2]),
}

impl From<NumberOrPair> for PointWeight {
    fn from(given: NumberOrPair) -> Self {
        let [from, to] = match given {
            NumberOrPair::One(weight) => [weight; 2],
            NumberOrPair::Two(ends) => ends,
        };
        PointWeight { from, to }
    }
}

impl From<PointWeight> for [f64; 2] {
    fn from(weight: PointWeight) -> Self {
        [weight.from, weight.to]
    }
}

impl Default for PointWeight {
    fn default() -> Self {
        PointWeight { from: 1.0, to: 1.0 }
    }
}

impl PointWeight {
    /// The weight at step `step`, from 0, of a stage of `total` steps.
    pub fn at(&self, step: u64, total: u64) -> f64 {
        self.from + (self.to - self.from) * (step as f64 / total.saturating_sub(1).max(1) as f64).min(1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_weight_is_a_number_or_first_and_last() {
        let given = |text: &str| serde_json::from_str::<PointWeight>(text).unwrap();
        assert_eq!(given("0.5"), PointWeight { from: 0.5, to: 0.5 });
        let line = given("[0.5, 1.0]");
        assert_eq!([0, 5, 10, 99].map(|step| line.at(step, 11)), [0.5, 0.75, 1.0, 1.0]);
        assert_eq!(line.at(0, 1), 0.5);
        assert_eq!(given(&serde_json::to_string(&line).unwrap()), line);
    }
}
