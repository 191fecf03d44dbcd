use serde::Serialize;

use super::Undefined;
use super::distributions::{chi_square_quantile, chi_square_upper};
use super::summary::{finite, quantile_sorted};

/// Smallest number of values of the reference sample per bin.
const PER_BIN: usize = 5;

/// Population stability index (PSI) of a sample compared with a reference sample, with its distribution if there is no shift.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StabilityIndex {
    /// Number of values in the reference sample.
    pub n_base: usize,
    /// Number of values in the other sample.
    pub n: usize,
    /// Number of bins.
    pub bins: usize,
    /// Σ (share − base share) ln(share / base share) over the bins.
    pub psi: f64,
    /// Its mean if both samples are from one distribution: (1/n + 1/n_base)(bins − 1).
    pub null_mean: f64,
    /// Its 95 % quantile if both samples are from one distribution: a value below it shows nothing.
    pub null_bound: f64,
    /// p value for no shift, from the same approximate distribution: (1/n + 1/n_base) chi²(bins − 1).
    pub p: f64,
    /// Whether 0.5 was added to every count because one was zero.
    pub corrected: bool,
}

/// PSI of `sample` compared with `base`. The bins are cut at the quantiles of `base`: ten bins, fewer if `base` has under 50
/// values or equal quantiles. A bin contains its left edge.
///
/// # Errors
/// A sample has no finite values, `base` has fewer than 10, or all values are in one bin.
pub fn stability_index(base: &[f64], sample: &[f64]) -> Result<StabilityIndex, Undefined> {
    let (mut base, sample) = (finite(base), finite(sample));
    base.sort_by(f64::total_cmp);
    Undefined::unless_enough("values in the reference sample", base.len(), 2 * PER_BIN)?;
    let bins = (base.len() / PER_BIN).min(10);
    let mut edges: Vec<f64> = (1..bins).map(|i| quantile_sorted(&base, i as f64 / bins as f64)).collect();
    edges.dedup();
    // An edge at the smallest value would have an empty bin before it.
    edges.retain(|edge| *edge > base[0]);
    if edges.is_empty() {
        // More than nine tenths are the smallest value: that value is one bin, and the others are the other.
        edges.extend(base.iter().find(|v| **v > base[0]));
    }
    let counts = |values: &[f64]| {
        let mut counts = vec![0; edges.len() + 1];
        values.iter().for_each(|v| counts[edges.partition_point(|edge| edge <= v)] += 1);
        counts
    };
    stability_index_of_counts(&counts(&base), &counts(&sample))
}

/// PSI of counts by category, compared with those of a reference sample.
///
/// # Errors
/// A sample has no counts, or fewer than two categories have any.
pub fn stability_index_of_counts(base: &[usize], sample: &[usize]) -> Result<StabilityIndex, Undefined> {
    let pairs: Vec<(f64, f64)> =
        base.iter().zip(sample).map(|(b, s)| (*b as f64, *s as f64)).filter(|(b, s)| b + s > 0.0).collect();
    let (n_base, n): (usize, usize) = (base.iter().sum(), sample.iter().sum());
    Undefined::unless_enough("values in the smaller sample", n_base.min(n), 1)?;
    if pairs.len() < 2 {
        return Err(Undefined::TooFew { of: "bins with values", n: pairs.len(), needed: 2 });
    }
    let corrected = pairs.iter().any(|(b, s)| *b == 0.0 || *s == 0.0);
    let added = if corrected { 0.5 } else { 0.0 };
    let (all_base, all) = (n_base as f64 + added * pairs.len() as f64, n as f64 + added * pairs.len() as f64);
    let term = |(b, s): &(f64, f64)| {
        let (expected, found) = ((b + added) / all_base, (s + added) / all);
        (found - expected) * (found / expected).ln()
    };
    let psi: f64 = pairs.iter().map(term).sum();
    let (scale, df) = (1.0 / n as f64 + 1.0 / n_base as f64, pairs.len() as f64 - 1.0);
    Ok(StabilityIndex {
        n_base,
        n,
        bins: pairs.len(),
        psi,
        null_mean: scale * df,
        null_bound: scale * chi_square_quantile(0.95, df),
        p: chi_square_upper(psi / scale, df),
        corrected,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_index_of_equal_samples_has_the_published_mean() {
        let base: Vec<f64> = (0..400).map(f64::from).collect();
        let sample: Vec<f64> = (0..144).map(|i| f64::from(i) * 400.0 / 144.0).collect();
        let found = stability_index(&base, &sample).unwrap();
        assert_eq!((found.bins, found.n_base, found.n), (10, 400, 144));
        // FACTS: for 400 against 144 patients and ten bins the mean without any shift is 0.085.
        assert!((found.null_mean - 0.085).abs() < 5e-4 && found.null_bound > 0.15, "{found:?}");
        assert!(found.psi < 0.01 && found.p > 0.9);
    }

    #[test]
    fn constants_and_empty_samples_have_reasons() {
        let one = Undefined::TooFew { of: "bins with values", n: 1, needed: 2 };
        assert_eq!(stability_index(&[3.0; 40], &[3.0; 9]), Err(one));
        let mut nearly = vec![0.0; 40];
        nearly[7] = 5.0;
        assert_eq!(stability_index(&nearly, &[0.0, 0.0, 6.0]).unwrap().bins, 2);
        assert!(stability_index(&[1.0, 2.0], &[1.0]).unwrap_err().to_string().contains("at least 10"));
        let base: Vec<f64> = (0..40).map(f64::from).collect();
        assert!(stability_index(&base, &[]).is_err());
        let far = stability_index(&base, &[99.0; 40]).unwrap();
        assert!(far.corrected && far.psi > far.null_bound && far.bins == 8, "{far:?}");
    }
}
