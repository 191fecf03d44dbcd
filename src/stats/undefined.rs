use serde::Serialize;

/// Why a statistic cannot be computed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Undefined {
    /// Too few usable values.
    #[error("too few {of}: {n}, at least {needed} are needed")]
    TooFew {
        /// What is counted: `complete pairs`, `values in the smaller sample`.
        of: &'static str,
        /// Their number.
        n: usize,
        /// The smallest number with which the statistic is defined.
        needed: usize,
    },
    /// Values without variation.
    #[error("all {of} are equal")]
    Constant {
        /// Whose values: `values`, `values of the first column`.
        of: &'static str,
    },
    /// A column that other columns determine exactly.
    #[error("the other columns determine {of} exactly")]
    Determined {
        /// The column.
        of: String,
    },
    /// Two groups that a column, or a combination of columns, separates without error, so that the estimate is infinite.
    #[error("the columns separate the two groups without error, so the estimate is infinite")]
    Separated,
    /// A row that the regression fits exactly, whatever its value is.
    #[error("a row determines a coefficient alone (leverage 1), so its residual has no variance")]
    FullLeverage,
    /// Two groups with common patients, which a test of separate patients cannot compare.
    #[error("{n} of the patients are in both groups")]
    InBothGroups {
        /// Number of the common patients.
        n: usize,
    },
    /// A number outside its range.
    #[error("{of} is {value}; expected {expected}")]
    OutOfRange {
        /// Name of the number.
        of: &'static str,
        /// Its value as text.
        value: String,
        /// The range.
        expected: &'static str,
    },
}

impl Undefined {
    /// An error unless `n` is at least `needed`.
    pub(super) fn unless_enough(of: &'static str, n: usize, needed: usize) -> Result<(), Undefined> {
        if n < needed { Err(Undefined::TooFew { of, n, needed }) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_sentences() {
        let few = Undefined::unless_enough("complete pairs", 2, 3).unwrap_err();
        assert_eq!(few.to_string(), "too few complete pairs: 2, at least 3 are needed");
        assert_eq!(Undefined::Constant { of: "values" }.to_string(), "all values are equal");
        assert_eq!(Undefined::unless_enough("values", 3, 3), Ok(()));
    }
}
