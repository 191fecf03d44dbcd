//! Statistics of the report: pure functions of slices. Tests compare each with scipy or statsmodels.
//!
//! Missing values: functions of pairs or several columns take `Option<f64>` and ignore rows with a missing or
//! non-finite value; functions of one or two samples take `f64` and ignore non-finite values. Every result contains
//! the `n` that it is based on. A result that cannot be computed (too few values, no variance) is `None`, never NaN.
//! Intervals are 95 % confidence intervals.

mod clustered;
mod contingency;
mod correlation;
mod distributions;
mod paired;
mod pooled;
mod proportion;
mod regression;
pub mod robust;
mod shift;
mod summary;
mod two_sample;

pub use clustered::{ClusteredRatios, clustered_ratios};
pub use contingency::{ChiSquare, Ratio, TwoByTwo, chi_square};
pub use correlation::{Correlation, complete_pairs, pearson, ranks, spearman};
pub use paired::{Bootstrap, Paired, bootstrap_difference, bootstrap_mean, paired_t};
pub use pooled::{PooledSd, pooled_sd};
pub use proportion::{Proportion, wilson};
pub use regression::{Coefficient, MeanResponse, Ols, OlsError, ols};
pub use shift::{KolmogorovSmirnov, kolmogorov_smirnov};
pub use summary::{SampleSummary, at_place, finite, histogram, quantile_sorted, summary};
pub use two_sample::{MannWhitney, Welch, mann_whitney, welch};

/// A 95 % confidence interval.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Interval {
    /// Lower bound.
    pub low: f64,
    /// Upper bound.
    pub high: f64,
}

impl Interval {
    /// Whether the interval contains `value`, bounds included.
    pub fn contains(&self, value: f64) -> bool {
        (self.low..=self.high).contains(&value)
    }
}
