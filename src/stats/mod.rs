//! Statistics of the report: pure functions over slices, each checked live against scipy or statsmodels.
//!
//! Missing values: functions of pairs and of several columns take `Option<f64>` and leave out the rows in
//! which anything is missing or not finite; functions of one or two samples take `f64` and leave out what
//! is not finite. Every result carries the `n` that it rests on. What cannot be computed (too few values,
//! no spread) is `None`, never NaN. Intervals are 95 % intervals.

mod clustered;
mod contingency;
mod correlation;
mod distributions;
mod paired;
mod proportion;
mod regression;
pub mod robust;
mod shift;
mod summary;
mod two_sample;

pub use clustered::{ClusteredRatios, clustered_ratios};
pub use contingency::{ChiSquare, Ratio, TwoByTwo, chi_square};
pub use correlation::{Correlation, complete_pairs, pearson, ranks, spearman};
pub use paired::{Bootstrap, Paired, bootstrap_mean, paired_t};
pub use proportion::{Proportion, wilson};
pub use regression::{Coefficient, Ols, OlsError, ols};
pub use shift::{KolmogorovSmirnov, kolmogorov_smirnov};
pub use summary::{SampleSummary, at_place, finite, histogram, quantile_sorted, summary};
pub use two_sample::{MannWhitney, Welch, mann_whitney, welch};

/// A 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Interval {
    /// Lower bound.
    pub low: f64,
    /// Upper bound.
    pub high: f64,
}

impl Interval {
    /// Whether `value` lies in it, bounds included.
    pub fn contains(&self, value: f64) -> bool {
        (self.low..=self.high).contains(&value)
    }
}
