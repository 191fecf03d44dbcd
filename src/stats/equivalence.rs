//! Equivalence: whether a difference is shown to be smaller than a margin (two one-sided tests, Schuirmann 1987).

use serde::Serialize;

use super::correlation::Correlation;
use super::distributions::{normal_lower, t_lower, z95};
use super::{Ratio, Undefined, Welch, welch};

/// Two one-sided tests of a difference against a margin.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Equivalence {
    /// The margin: differences from −margin to margin count as small. For a ratio, the factor from 1.
    pub margin: f64,
    /// p value for a difference outside the margin: the larger of the two one-sided p values. Below 0.05, the
    /// difference is shown to be small.
    pub p: f64,
}

/// Whether the means of two samples differ by less than `margin`: two one-sided Welch tests. Agrees with statsmodels'
/// `ttost_ind(usevar="unequal")`.
///
/// # Errors
/// As [`welch`], or the margin is not positive.
pub fn equivalence_of_means(first: &[f64], second: &[f64], margin: f64) -> Result<Equivalence, Undefined> {
    equivalence_of_welch(&welch(first, second)?, margin)
}

/// The same from a Welch test.
///
/// # Errors
/// The margin is not positive.
pub fn equivalence_of_welch(test: &Welch, margin: f64) -> Result<Equivalence, Undefined> {
    positive(margin)?;
    let se = test.se();
    let above = t_lower((test.difference - margin) / se, test.df);
    let below = t_lower(-(test.difference + margin) / se, test.df);
    Ok(Equivalence { margin, p: above.max(below) })
}

/// Whether a ratio is within a factor of `factor` of 1, by the normal approximation of its logarithm.
///
/// # Errors
/// The factor is not above 1.
pub fn equivalence_of_ratio(ratio: &Ratio, factor: f64) -> Result<Equivalence, Undefined> {
    if !(factor > 1.0 && factor.is_finite()) {
        let value = factor.to_string();
        return Err(Undefined::OutOfRange { of: "the factor", value, expected: "more than 1" });
    }
    let (log, margin) = (ratio.value.ln(), factor.ln());
    let se = (ratio.ci.high / ratio.ci.low).ln() / (2.0 * z95());
    Ok(Equivalence { margin: factor, p: normal_lower((log - margin) / se).max(normal_lower(-(log + margin) / se)) })
}

/// Whether a correlation is between −`margin` and `margin`, by Fisher's z with the variance of its confidence interval.
///
/// # Errors
/// The margin is not between 0 and 1, or the correlation has no interval.
pub fn equivalence_of_correlation(found: &Correlation, margin: f64) -> Result<Equivalence, Undefined> {
    positive(margin)?;
    let Some(ci) = found.ci.filter(|_| margin < 1.0) else {
        return Err(Undefined::TooFew { of: "complete pairs", n: found.n, needed: 4 });
    };
    let (z, at) = (found.r.atanh(), margin.atanh());
    let se = (ci.high.atanh() - ci.low.atanh()) / (2.0 * z95());
    Ok(Equivalence { margin, p: normal_lower((z - at) / se).max(normal_lower(-(z + at) / se)) })
}

fn positive(margin: f64) -> Result<(), Undefined> {
    if margin > 0.0 && margin.is_finite() {
        return Ok(());
    }
    Err(Undefined::OutOfRange { of: "the margin", value: margin.to_string(), expected: "more than 0" })
}

#[cfg(test)]
mod tests {
    use super::super::{TwoByTwo, pearson};
    use super::*;

    #[test]
    fn small_is_shown_by_many_values_only() {
        let sample = |n: u32| (0..n).map(|i| f64::from(i * 7919 % 101) / 101.0).collect::<Vec<_>>();
        let (few, many) = (sample(6), sample(2000));
        assert!(equivalence_of_means(&few, &few, 0.05).unwrap().p > 0.05);
        assert!(equivalence_of_means(&many, &many, 0.05).unwrap().p < 0.001);
        assert!(equivalence_of_means(&many, &many, 0.0).is_err());
        let even = |n| TwoByTwo { with: n, without: n, with_base: n, without_base: n }.odds_ratio().unwrap();
        assert!(equivalence_of_ratio(&even(9), 1.25).unwrap().p > 0.05);
        assert!(equivalence_of_ratio(&even(5000), 1.25).unwrap().p < 0.05);
        let x: Vec<_> = (0..900).map(|i| Some(f64::from(i * 7919 % 1009))).collect();
        let y: Vec<_> = (0..900).map(|i| Some(f64::from(i * 104_729 % 1013))).collect();
        assert!(equivalence_of_correlation(&pearson(&x, &y).unwrap(), 0.2).unwrap().p < 0.05);
        assert!(equivalence_of_correlation(&pearson(&x[..3], &y[..3]).unwrap(), 0.2).is_err());
    }
}
