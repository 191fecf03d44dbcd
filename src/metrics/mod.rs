//! Metrics that are updated batch by batch and computed at the end.

mod dice;

pub use dice::{DiceMetric, DiceScore, MetricError};
