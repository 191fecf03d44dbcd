//! Metrics: update with batches, compute at the end, reset.

mod dice;

pub use dice::{DiceMetric, DiceScore, MetricError};
