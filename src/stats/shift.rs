use serde::Serialize;

use super::summary::finite;

/// Result of the two-sample Kolmogorov-Smirnov test.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct KolmogorovSmirnov {
    /// Number of values in the first sample.
    pub n1: usize,
    /// Number of values in the second sample.
    pub n2: usize,
    /// Largest difference of the two distribution functions, 0 to 1.
    pub distance: f64,
    /// p value for equal distributions, by Kolmogorov's limiting distribution; accurate from about 20 values per
    /// sample.
    pub p: f64,
}

/// The Kolmogorov-Smirnov test of two samples; `None` if one has no finite values. The distance agrees with
/// `scipy.stats.ks_2samp`, the p value with `scipy.stats.kstwobign`.
pub fn kolmogorov_smirnov(first: &[f64], second: &[f64]) -> Option<KolmogorovSmirnov> {
    let (mut first, mut second) = (finite(first), finite(second));
    if first.is_empty() || second.is_empty() {
        return None;
    }
    first.sort_by(f64::total_cmp);
    second.sort_by(f64::total_cmp);
    let (n1, n2) = (first.len() as f64, second.len() as f64);
    let below = |sorted: &[f64], v: f64| sorted.partition_point(|x| *x <= v) as f64;
    let distance = first
        .iter()
        .chain(&second)
        .map(|v| (below(&first, *v) / n1 - below(&second, *v) / n2).abs())
        .fold(0.0, f64::max);
    let p = kolmogorov_upper((n1 * n2 / (n1 + n2)).sqrt() * distance);
    Some(KolmogorovSmirnov { n1: first.len(), n2: second.len(), distance, p })
}

/// P(K ≥ x) for Kolmogorov's limiting distribution.
fn kolmogorov_upper(x: f64) -> f64 {
    use std::f64::consts::PI;
    if x <= 0.0 {
        return 1.0;
    }
    // Two series of the same function, each used where it converges fast.
    if x < 1.0 {
        let term = |k: u32| (-(f64::from(2 * k - 1) * PI / x).powi(2) / 8.0).exp();
        let lower = (2.0 * PI).sqrt() / x * (1..=20).map(term).sum::<f64>();
        return (1.0 - lower).clamp(0.0, 1.0);
    }
    let term = |k: u32| (if k % 2 == 1 { 2.0 } else { -2.0 }) * (-2.0 * f64::from(k * k) * x * x).exp();
    (1..=20).map(term).sum::<f64>().clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_and_disjoint_samples() {
        let x: Vec<f64> = (0..40).map(f64::from).collect();
        let same = kolmogorov_smirnov(&x, &x).unwrap();
        assert_eq!((same.distance, same.p), (0.0, 1.0));
        let far: Vec<f64> = x.iter().map(|v| v + 100.0).collect();
        let apart = kolmogorov_smirnov(&x, &far).unwrap();
        assert!(apart.distance == 1.0 && apart.p < 1e-12);
        assert_eq!(kolmogorov_smirnov(&x, &[f64::NAN]), None);
    }

    #[test]
    fn the_two_series_agree() {
        assert!((kolmogorov_upper(1.0 - 1e-12) - kolmogorov_upper(1.0)).abs() < 1e-11);
    }
}
