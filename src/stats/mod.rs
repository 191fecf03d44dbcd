//! Statistics of the report: pure functions of slices. Tests compare each with scipy, statsmodels or scikit-learn.
//!
//! Missing values: functions of pairs or several columns take `Option<f64>` and ignore rows with a missing or
//! non-finite value; functions of one or two samples take `f64` and ignore non-finite values. Every result contains
//! the `n` that it is based on. A test that cannot be computed (too few values, no variance) is an [`Undefined`] with the
//! reason, never NaN; a plain summary of no values is `None`.
//! Intervals are 95 % confidence intervals.

mod classifier_test;
mod clustered;
mod contingency;
mod correlation;
mod diagnostics;
mod distributions;
mod effect_size;
mod equivalence;
mod logistic;
mod multiple;
mod paired;
mod permutation;
mod pooled;
mod power;
mod proportion;
mod regression;
pub mod robust;
mod robust_errors;
mod shift;
mod stability;
mod summary;
mod two_sample;
mod undefined;

pub use classifier_test::{ClassifierTest, ClassifierTestOptions, ColumnSeparation, NamedColumn, classifier_test};
pub use clustered::{ClusteredRatios, clustered_ratios};
pub use contingency::{ChiSquare, Ratio, TwoByTwo, chi_square};
pub use correlation::{Correlation, complete_pairs, partial, partial_spearman, pearson, ranks, spearman};
pub use diagnostics::{NestedF, RowInfluence, nested_f};
pub use effect_size::{StandardisedDifference, standardised_difference};
pub use equivalence::{
    Equivalence, equivalence_of_correlation, equivalence_of_means, equivalence_of_ratio, equivalence_of_welch,
};
pub use logistic::{Logistic, LogisticCoefficient, logistic};
pub use multiple::{benjamini_hochberg, holm};
pub use paired::{Bootstrap, Paired, bootstrap_difference, bootstrap_mean, paired_t};
pub use permutation::{PermutationTest, permutation_of_clusters};
pub use pooled::{PooledSd, pooled_sd};
pub use power::{VisibleOddsRatio, power_of_two_shares, visible_odds_ratio};
pub use proportion::{Proportion, wilson};
pub use regression::{Coefficient, MeanResponse, Ols, OlsError, ols};
pub use robust_errors::{Covariance, RobustCoefficients, Wald};
pub use shift::{CramerVonMises, KolmogorovSmirnov, cramer_von_mises, kolmogorov_smirnov, wasserstein};
pub use stability::{StabilityIndex, stability_index, stability_index_of_counts};
pub use summary::{SampleSummary, at_place, finite, histogram, quantile_sorted, summary};
pub use two_sample::{MannWhitney, Welch, mann_whitney, welch};
pub use undefined::Undefined;

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
