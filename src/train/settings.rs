use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::closed_enum::closed_enum;
use crate::violation::Violations;

/// How grey levels become the model's input: `(v / 255 - mean) / sd`, one value for every input channel or one
/// each.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct InputSettings {
    /// Subtracted, as a share of the full range.
    pub mean: Vec<f64>,
    /// Divided by, as a share of the full range.
    pub sd: Vec<f64>,
}

impl Default for InputSettings {
    fn default() -> Self {
        InputSettings { mean: vec![0.0], sd: vec![1.0] }
    }
}

impl InputSettings {
    /// What does not fit an image of `channels`.
    pub fn violations(&self, channels: i64) -> Violations {
        let mut wrong = Violations::new();
        for (key, values) in [("mean", &self.mean), ("sd", &self.sd)] {
            let expected = || format!("one value, or one for each of {channels} input channels");
            let fits = values.len() == 1 || values.len() as i64 == channels;
            wrong.expect(fits, key, format_args!("{values:?}"), expected());
        }
        let (mean, sd) = (format!("{:?}", self.mean), format!("{:?}", self.sd));
        let near = self.mean.iter().all(|mean| mean.is_finite() && mean.abs() <= 1.0);
        wrong.expect(near, "mean", mean, "from -1 to 1: grey levels are 0 to 1 there");
        wrong.expect(self.sd.iter().all(|sd| sd.is_finite() && *sd > 0.0), "sd", sd, "above 0");
        wrong
    }
}

closed_enum! {
    /// What tells the better of two epochs.
    pub enum Monitor ("monitor") {
        /// The higher mean validation Dice, over all stages.
        Dice = "dice",
        /// The lower validation loss. Stages may have losses that do not compare, so each looks for its own best.
        Loss = "loss",
    }
}

closed_enum! {
    /// The weights that a stage begins with.
    #[derive(Default)]
    pub enum StartFrom ("start") {
        /// Those the stage before ended with; the first stage's are the model's initial ones.
        #[default]
        Last = "last",
        /// Those of the best epoch so far.
        Best = "best",
        /// The averages that the stage before ended with.
        Ema = "ema",
    }
}

/// The weight of PointRend's loss: a line over the stage.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(from = "Given", into = "[f64; 2]")]
pub struct PointWeight {
    /// At the stage's first step.
    pub from: f64,
    /// At its last.
    pub to: f64,
}

#[derive(Deserialize, JsonSchema)]
#[serde(untagged, expecting = "a number, or [first, last]")]
enum Given {
    One(f64),
    Two([f64; 2]),
}

impl From<Given> for PointWeight {
    fn from(given: Given) -> Self {
        let [from, to] = match given {
            Given::One(weight) => [weight; 2],
            Given::Two(ends) => ends,
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
    /// At step `step` (from 0) of a stage of `total`.
    pub fn at(&self, step: u64, total: u64) -> f64 {
        self.from + (self.to - self.from) * (step as f64 / total.saturating_sub(1).max(1) as f64).min(1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_weight_is_a_number_or_a_line() {
        let given = |text: &str| serde_json::from_str::<PointWeight>(text).unwrap();
        assert_eq!(given("0.5"), PointWeight { from: 0.5, to: 0.5 });
        let line = given("[0.5, 1.0]");
        assert_eq!([0, 5, 10, 99].map(|step| line.at(step, 11)), [0.5, 0.75, 1.0, 1.0]);
        assert_eq!(line.at(0, 1), 0.5);
        assert_eq!(given(&serde_json::to_string(&line).unwrap()), line);
    }
}
