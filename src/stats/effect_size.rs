use serde::Serialize;

use super::distributions::z95;
use super::summary::{finite, mean, variance};
use super::{Interval, Undefined};

/// Standardised mean difference: the difference of two means in units of the samples' standard deviation.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct StandardisedDifference {
    /// Number of values in the first sample.
    pub n1: usize,
    /// Number of values in the second sample.
    pub n2: usize,
    /// First minus second mean, divided by the root of the mean of the two variances (Austin 2009).
    pub smd: f64,
    /// 95 % confidence interval by the normal approximation: variance (n1 + n2) / (n1 n2) + smd² / (2 (n1 + n2)).
    pub ci: Interval,
}

/// The standardised mean difference of two samples; of values 0 and 1 it is that of two shares, with the variances p (1 − p).
///
/// # Errors
/// A sample has fewer than two values, or neither has any variance.
pub fn standardised_difference(first: &[f64], second: &[f64]) -> Result<StandardisedDifference, Undefined> {
    let (first, second) = (finite(first), finite(second));
    let (n1, n2) = (first.len(), second.len());
    Undefined::unless_enough("values in the smaller sample", n1.min(n2), 2)?;
    let is_share = first.iter().chain(&second).all(|v| *v == 0.0 || *v == 1.0);
    let spread = |values: &[f64]| match is_share {
        true => mean(values) * (1.0 - mean(values)),
        false => variance(values),
    };
    let sd = ((spread(&first) + spread(&second)) / 2.0).sqrt();
    let largest = first.iter().chain(&second).fold(0.0f64, |most, v| most.max(v.abs()));
    if sd.is_nan() || sd <= 1e-14 * largest {
        return Err(Undefined::Constant { of: "values of each sample" });
    }
    let smd = (mean(&first) - mean(&second)) / sd;
    let (a, b) = (n1 as f64, n2 as f64);
    let half = z95() * ((a + b) / (a * b) + smd * smd / (2.0 * (a + b))).sqrt();
    Ok(StandardisedDifference { n1, n2, smd, ci: Interval { low: smd - half, high: smd + half } })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_of_one_standard_deviation() {
        let first: Vec<f64> = (0..9).map(f64::from).collect();
        let sd = variance(&first).sqrt();
        let second: Vec<f64> = first.iter().map(|v| v - sd).collect();
        let found = standardised_difference(&first, &second).unwrap();
        assert!((found.smd - 1.0).abs() < 1e-12 && found.ci.contains(0.5));
        assert!(standardised_difference(&[1.0; 4], &[1.0; 4]).is_err());
        // Shares of 3/4 and 1/4: both have the variance 3/16.
        let shares = standardised_difference(&[1.0, 1.0, 1.0, 0.0], &[1.0, 0.0, 0.0, 0.0]).unwrap();
        assert!((shares.smd - 0.5 / (3.0f64 / 16.0).sqrt()).abs() < 1e-12);
    }
}
