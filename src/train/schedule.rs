use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::violation::Violations;

/// The learning rate over a stage, as a factor on `optimiser.lr` that changes at every optimiser step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Schedule {
    /// The factor is always 1.
    Constant {},
    /// Multiplied by `gamma` after every `every` epochs (PyTorch `StepLR`).
    Step {
        /// Epochs between two reductions. 1 or more.
        #[schemars(example = 30)]
        every: u64,
        /// Factor of each reduction. From 0 to 1.
        #[schemars(example = 0.1)]
        gamma: f64,
    },
    /// Linear from 1 to `end` (PyTorch `LinearLR`).
    Linear {
        /// Factor at the end. From 0 to 1; default 0.
        #[serde(default)]
        end: f64,
    },
    /// `(1 - t/T)^power` at step t of T (PyTorch `PolynomialLR`).
    Polynomial {
        /// Exponent; DeepLab has 0.9. Above 0.
        #[schemars(example = 0.9)]
        power: f64,
    },
    /// Half a cosine from 1 to `end` (PyTorch `CosineAnnealingLR`; Loshchilov and Hutter 2017).
    Cosine {
        /// Factor at the end. From 0 to 1; default 0.
        #[serde(default)]
        end: f64,
    },
    /// Linear from 0 to 1 over the first part of the stage, `warmup`, then half a cosine to `end` (transformers'
    /// `get_cosine_schedule_with_warmup` for `end` 0).
    CosineWarmup {
        /// Share of the stage in which the factor rises. From 0 to 1; default 0.1.
        #[serde(default = "warmup")]
        warmup: f64,
        /// Factor at the end. From 0 to 1; default 0.
        #[serde(default)]
        end: f64,
    },
    /// Cycles of half a cosine from a peak to `end`. Each cycle is `multiplier` times as long as the one before, has a
    /// peak `decay` times as high, and rises linearly over its first part, `warmup` (PyTorch
    /// `CosineAnnealingWarmRestarts` for `warmup` 0 and `decay` 1).
    CosineRestarts {
        /// Epochs of the first cycle. 1 or more.
        #[schemars(example = 10)]
        first: u64,
        /// Length of a cycle divided by that of the one before, an integer. 1 or more; default 1.
        #[serde(default = "one")]
        multiplier: u64,
        /// Peak of a cycle divided by that of the one before. From 0 to 1; default 1.
        #[serde(default = "unit")]
        decay: f64,
        /// Share of a cycle in which the factor rises. From 0 to 1; default 0.
        #[serde(default)]
        warmup: f64,
        /// Factor at the end of a cycle. From 0 to 1; default 0.
        #[serde(default)]
        end: f64,
    },
    /// Half a cosine from `start` to 1 over the first part of the stage, `rise`, then half a cosine to `end` (PyTorch
    /// `OneCycleLR` with constant momentum; Smith 2018).
    OneCycle {
        /// Share of the stage in which the factor rises. From 0 to 1; default 0.3.
        #[serde(default = "rise")]
        rise: f64,
        /// Factor at the start. From 0 to 1; default 0.04.
        #[serde(default = "start")]
        start: f64,
        /// Factor at the end. From 0 to 1; default 4e-6.
        #[serde(default = "last")]
        end: f64,
    },
}

fn warmup() -> f64 {
    0.1
}
fn one() -> u64 {
    1
}
fn unit() -> f64 {
    1.0
}
fn rise() -> f64 {
    0.3
}
fn start() -> f64 {
    1.0 / 25.0
}
fn last() -> f64 {
    1e-4 / 25.0
}

impl Default for Schedule {
    fn default() -> Self {
        Schedule::CosineWarmup { warmup: warmup(), end: 0.0 }
    }
}

impl Schedule {
    /// The names of all kinds.
    pub const ALL: &'static [&'static str] =
        &["constant", "step", "linear", "polynomial", "cosine", "cosine-warmup", "cosine-restarts", "one-cycle"];

    /// The factor at optimiser step `step`, from 0, of a stage of `total` steps with `per_epoch` steps per epoch.
    pub fn factor(&self, step: u64, total: u64, per_epoch: u64) -> f64 {
        let per_epoch = per_epoch.max(1);
        let share = step as f64 / total.max(1) as f64;
        match *self {
            Schedule::Constant {} => 1.0,
            Schedule::Step { every, gamma } => gamma.powi((step / per_epoch / every.max(1)) as i32),
            Schedule::Linear { end } => 1.0 + (end - 1.0) * share.min(1.0),
            Schedule::Polynomial { power } => (1.0 - share.min(1.0)).powf(power),
            Schedule::Cosine { end } => half_cosine(1.0, end, share.min(1.0)),
            Schedule::CosineWarmup { warmup, end } => {
                with_warmup(step as f64, (warmup * total as f64).round(), total as f64, 1.0, end)
            }
            Schedule::CosineRestarts { first, multiplier, decay, warmup, end } => {
                let (mut length, mut from, mut peak) = (first.max(1) * per_epoch, 0, 1.0);
                while step >= from + length {
                    from += length;
                    length *= multiplier.max(1);
                    peak *= decay;
                }
                with_warmup((step - from) as f64, (warmup * length as f64).round(), length as f64, peak, end)
            }
            Schedule::OneCycle { rise, start, end } => {
                // In PyTorch a phase ends at its last step, not after it.
                let top = rise * total as f64 - 1.0;
                let step = step as f64;
                if step <= top {
                    half_cosine(start, 1.0, step / top.max(1e-9))
                } else {
                    let left = (total as f64 - 1.0 - top).max(1e-9);
                    half_cosine(1.0, end, ((step - top) / left).min(1.0))
                }
            }
        }
    }

    /// The values that are out of range.
    pub fn violations(&self) -> Violations {
        let (whole, shares) = match *self {
            Schedule::Constant {} | Schedule::Polynomial { .. } => (vec![], vec![]),
            Schedule::Step { every, gamma } => (vec![("every", every)], vec![("gamma", gamma)]),
            Schedule::Linear { end } | Schedule::Cosine { end } => (vec![], vec![("end", end)]),
            Schedule::CosineWarmup { warmup, end } => (vec![], vec![("warmup", warmup), ("end", end)]),
            Schedule::CosineRestarts { first, multiplier, decay, warmup, end } => (
                vec![("first", first), ("multiplier", multiplier)],
                vec![("decay", decay), ("warmup", warmup), ("end", end)],
            ),
            Schedule::OneCycle { rise, start, end } => (vec![], vec![("rise", rise), ("start", start), ("end", end)]),
        };
        let mut wrong = Violations::new();
        if let Schedule::Polynomial { power } = *self {
            wrong.expect(power.is_finite() && power > 0.0, "power", power, "above 0");
        }
        for (key, value) in whole {
            wrong.expect(value > 0, key, value, "1 or more");
        }
        for (key, value) in shares {
            wrong.expect((0.0..=1.0).contains(&value), key, value, "from 0 to 1");
        }
        wrong
    }
}

/// Half a cosine from `a` at share 0 to `b` at share 1.
fn half_cosine(a: f64, b: f64, share: f64) -> f64 {
    b + (a - b) * (1.0 + (std::f64::consts::PI * share).cos()) / 2.0
}

fn with_warmup(step: f64, warmup: f64, total: f64, peak: f64, end: f64) -> f64 {
    if step < warmup {
        return peak * step / warmup;
    }
    half_cosine(peak, end, ((step - warmup) / (total - warmup).max(1.0)).min(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn factors_by_hand() {
        let factor = |s: &Schedule, step| s.factor(step, 100, 10);
        let warm = Schedule::CosineWarmup { warmup: 0.1, end: 0.01 };
        assert_eq!((factor(&warm, 0), factor(&warm, 5), factor(&warm, 10)), (0.0, 0.5, 1.0));
        assert!((factor(&warm, 100) - 0.01).abs() < 1e-12);
        let step = Schedule::Step { every: 3, gamma: 0.5 };
        assert_eq!((factor(&step, 29), factor(&step, 30), factor(&step, 60)), (1.0, 0.5, 0.25));
        let restarts = Schedule::CosineRestarts { first: 2, multiplier: 2, decay: 0.5, warmup: 0.0, end: 0.0 };
        assert_eq!((factor(&restarts, 0), factor(&restarts, 20), factor(&restarts, 60)), (1.0, 0.5, 0.25));
        let wrong = Schedule::Step { every: 0, gamma: 1.5 }.violations();
        assert_eq!(wrong.iter().map(|v| v.key.as_str()).collect::<Vec<_>>(), ["every", "gamma"]);
    }

    #[test]
    fn names_are_those_of_configs() {
        for kind in Schedule::ALL {
            let extra = match *kind {
                "step" => "every = 3\ngamma = 0.1",
                "polynomial" => "power = 0.9",
                "cosine-restarts" => "first = 5",
                _ => "",
            };
            let text = format!("kind = {kind:?}\n{extra}");
            let schedule: Schedule = toml::from_str(&text).unwrap_or_else(|e| panic!("{kind}: {e}"));
            assert!(schedule.violations().is_empty());
        }
        assert!(toml::from_str::<Schedule>("kind = \"linear\"\nstop = 1").is_err());
    }
}
