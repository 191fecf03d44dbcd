//! The two modes of a distribution and the valley between them.

use serde::Serialize;

use crate::stats::{finite, summary};

/// Number of places at which the density is computed.
const GRID: usize = 512;
/// Smallest number of values.
const MIN_VALUES: usize = 10;

/// Two modes of a sample, found by a Gaussian kernel density estimate.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Modes {
    /// Number of values.
    pub n: usize,
    /// Standard deviation of the kernel, by Silverman's rule (as scipy's `gaussian_kde(bw_method="silverman")`).
    pub bandwidth: f64,
    /// Places of the lower and the upper mode.
    pub modes: [f64; 2],
    /// Place of the smallest density between the modes.
    pub valley: f64,
    /// Density in the valley divided by that at the lower of the two peaks: 0 for modes that do not touch, 1 for none.
    pub depth: f64,
    /// Ashman's D of the values below and above the valley: the distance of their means in units of their mean standard
    /// deviation. Above 2, two groups are clearly separate. `None` if a group has fewer than two values or no spread.
    pub ashman_d: Option<f64>,
}

/// Why no modes were found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ModesError {
    /// Too few values.
    #[error("fewer than {MIN_VALUES} values")]
    TooFew,
    /// All values are equal.
    #[error("all values are equal")]
    Constant,
    /// The density has one peak.
    #[error("the density has one peak, so there is no valley")]
    OnePeak,
}

/// Finds the highest peak of the density, the peak that stands out most from the valley between them, and that valley.
///
/// # Errors
/// There are too few or only equal values, or the density has one peak.
pub fn modes(values: &[f64]) -> Result<Modes, ModesError> {
    let values = finite(values);
    let n = values.len();
    if n < MIN_VALUES {
        return Err(ModesError::TooFew);
    }
    let sample = summary(&values).ok_or(ModesError::TooFew)?;
    let sd = sample.sd.filter(|sd| *sd > 0.0).ok_or(ModesError::Constant)?;
    let bandwidth = sd * (n as f64 * 0.75).powf(-0.2);
    let (low, high) = (sample.min - 3.0 * bandwidth, sample.max + 3.0 * bandwidth);
    let grid: Vec<f64> = (0..GRID).map(|i| low + (high - low) * i as f64 / (GRID - 1) as f64).collect();
    let density: Vec<f64> = grid.iter().map(|x| gaussian_density(&values, bandwidth, *x)).collect();
    let is_peak = |i: &usize| density[*i] > density[i - 1] && density[*i] >= density[i + 1];
    let peaks: Vec<usize> = (1..GRID - 1).filter(is_peak).collect();
    let highest = *peaks.iter().max_by(|a, b| density[**a].total_cmp(&density[**b])).ok_or(ModesError::OnePeak)?;
    let valley_to = |peak: usize| {
        let (from, to) = (peak.min(highest), peak.max(highest));
        (from..=to).min_by(|a, b| density[*a].total_cmp(&density[*b])).unwrap_or(from)
    };
    let others = peaks.iter().copied().filter(|peak| *peak != highest).map(|peak| (peak, valley_to(peak)));
    let prominence = |(peak, valley): &(usize, usize)| density[*peak] - density[*valley];
    let (other, valley) = others.max_by(|a, b| prominence(a).total_cmp(&prominence(b))).ok_or(ModesError::OnePeak)?;
    let at = grid[valley];
    let (below, above): (Vec<f64>, Vec<f64>) = values.iter().partition(|v| **v < at);
    Ok(Modes {
        n,
        bandwidth,
        modes: [grid[other.min(highest)], grid[other.max(highest)]],
        valley: at,
        depth: density[valley] / density[other].min(density[highest]),
        ashman_d: ashman_d(&below, &above),
    })
}

/// The Gaussian kernel density estimate of a sample at `x`.
pub fn gaussian_density(values: &[f64], bandwidth: f64, x: f64) -> f64 {
    let kernel = |v: &f64| (-0.5 * ((x - v) / bandwidth).powi(2)).exp();
    let norm = values.len() as f64 * bandwidth * (2.0 * std::f64::consts::PI).sqrt();
    values.iter().map(kernel).sum::<f64>() / norm
}

fn ashman_d(below: &[f64], above: &[f64]) -> Option<f64> {
    let (a, b) = (summary(below)?, summary(above)?);
    let spread = (a.sd?.powi(2) + b.sd?.powi(2)).sqrt();
    (spread > 0.0).then(|| std::f64::consts::SQRT_2 * (b.mean - a.mean) / spread)
}

/// Cohen's kappa of two yes/no judgements of the same subjects, from the counts of their four combinations. `None` without
/// subjects, or if agreement by chance is certain.
pub fn cohen_kappa(both: usize, first_only: usize, second_only: usize, neither: usize) -> Option<f64> {
    let n = (both + first_only + second_only + neither) as f64;
    let [both, first, second, neither] = [both, first_only, second_only, neither].map(|count| count as f64);
    let observed = (both + neither) / n;
    let chance = ((both + first) * (both + second) + (neither + first) * (neither + second)) / (n * n);
    (n > 0.0 && chance < 1.0).then(|| (observed - chance) / (1.0 - chance))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_valley_is_between_two_groups() {
        let group = |centre: f64, n: usize| (0..n).map(move |i| centre + 3.0 * ((i as f64 + 0.5) / n as f64 - 0.5));
        let values: Vec<f64> = group(15.0, 300).chain(group(46.0, 60)).collect();
        let found = modes(&values).unwrap();
        assert!((found.modes[0] - 15.0).abs() < 2.0 && (found.modes[1] - 46.0).abs() < 2.0, "{found:?}");
        assert!((25.0..40.0).contains(&found.valley) && found.depth < 0.1 && found.ashman_d > Some(10.0), "{found:?}");
    }

    #[test]
    fn undefined_modes_say_why() {
        assert_eq!(modes(&[1.0; 5]), Err(ModesError::TooFew));
        assert_eq!(modes(&[1.0; 50]), Err(ModesError::Constant));
        let one: Vec<f64> = (0..200).map(|i| ((i as f64 + 0.5) / 200.0 - 0.5).powi(3)).collect();
        assert_eq!(modes(&one), Err(ModesError::OnePeak));
        assert_eq!(modes(&[f64::NAN; 40]), Err(ModesError::TooFew));
    }

    #[test]
    fn kappa_is_agreement_beyond_chance() {
        assert_eq!(cohen_kappa(10, 0, 0, 20), Some(1.0));
        assert!((cohen_kappa(20, 5, 10, 15).unwrap() - 0.4).abs() < 1e-12);
        assert_eq!((cohen_kappa(0, 0, 0, 0), cohen_kappa(0, 0, 0, 9)), (None, None));
    }
}
