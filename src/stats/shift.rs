//! Differences between two distributions: Kolmogorov-Smirnov, Cramér-von Mises, Wasserstein.

use std::collections::BTreeMap;

use serde::Serialize;

use super::Undefined;
use super::summary::finite;

/// Up to this product of the sample sizes, the p value of the Kolmogorov-Smirnov test is exact.
const EXACT_PATHS: usize = 4_000_000;
/// Up to this size of both samples, the p value of the Cramér-von Mises test is exact.
const EXACT_SIZE: usize = 10;

/// Result of the two-sample Kolmogorov-Smirnov test.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct KolmogorovSmirnov {
    /// Number of values in the first sample.
    pub n1: usize,
    /// Number of values in the second sample.
    pub n2: usize,
    /// Largest difference of the two distribution functions, 0 to 1.
    pub distance: f64,
    /// p value for equal distributions. With ties it is too large rather than too small.
    pub p: f64,
    /// Whether p is exact; otherwise it is Kolmogorov's limit, which is used where the product of the sizes is above
    /// 4 million.
    pub exact: bool,
}

/// Result of the two-sample Cramér-von Mises test.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct CramerVonMises {
    /// Number of values in the first sample.
    pub n1: usize,
    /// Number of values in the second sample.
    pub n2: usize,
    /// The statistic T of Anderson (1962): n1 n2 / (n1 + n2)² times the sum of the squared differences of the two distribution
    /// functions at all values.
    pub t: f64,
    /// p value for equal distributions. With ties it is approximate.
    pub p: f64,
    /// Whether p is exact (both samples have at most 10 values); otherwise it is that of the limiting distribution.
    pub exact: bool,
}

/// The Kolmogorov-Smirnov test of two samples. Agrees with `scipy.stats.ks_2samp`, with `method="exact"` where `exact` is
/// set; otherwise p is `scipy.stats.kstwobign`'s.
///
/// # Errors
/// A sample has no finite values.
pub fn kolmogorov_smirnov(first: &[f64], second: &[f64]) -> Result<KolmogorovSmirnov, Undefined> {
    let [first, second] = sorted_samples(first, second, 1)?;
    let (n1, n2) = (first.len(), second.len());
    let below = |sorted: &[f64], v: f64| sorted.partition_point(|x| *x <= v);
    // The difference times n1 n2, so that equal differences are equal numbers.
    let steps = |v: &f64| (below(&first, *v) * n2).abs_diff(below(&second, *v) * n1);
    let most = first.iter().chain(&second).map(steps).max().unwrap_or(0);
    let distance = most as f64 / (n1 * n2) as f64;
    let exact = n1 * n2 <= EXACT_PATHS;
    let p = match exact {
        true => path_leaves(n1, n2, most),
        false => kolmogorov_upper((n1 as f64 * n2 as f64 / (n1 + n2) as f64).sqrt() * distance),
    };
    Ok(KolmogorovSmirnov { n1, n2, distance, p, exact })
}

/// The finite values of both samples in rising order; an error if one has fewer than `needed`.
fn sorted_samples(first: &[f64], second: &[f64], needed: usize) -> Result<[Vec<f64>; 2], Undefined> {
    let mut samples = [finite(first), finite(second)];
    Undefined::unless_enough("values in the smaller sample", samples[0].len().min(samples[1].len()), needed)?;
    samples.iter_mut().for_each(|sample| sample.sort_by(f64::total_cmp));
    Ok(samples)
}

/// The probability that i/n1 and j/n2 differ by `most` / (n1 n2) or more somewhere on the way from (0, 0) to (n1, n2), if all
/// orders of the pooled values are equally likely.
fn path_leaves(n1: usize, n2: usize, most: usize) -> f64 {
    // Backwards: the probability from (i, j) on, for one i at a time.
    let mut after: Vec<f64> = vec![0.0; n2 + 1];
    for i in (0..=n1).rev() {
        for j in (0..=n2).rev() {
            after[j] = if (i * n2).abs_diff(j * n1) >= most {
                1.0
            } else {
                // The next value is one of the rest, all equally likely; `after[j]` is still that of i + 1.
                let (rest1, rest2) = ((n1 - i) as f64, (n2 - j) as f64);
                let by_second = if j < n2 { rest2 * after[j + 1] } else { 0.0 };
                let by_first = if i < n1 { rest1 * after[j] } else { 0.0 };
                if rest1 + rest2 == 0.0 { 0.0 } else { (by_first + by_second) / (rest1 + rest2) }
            };
        }
    }
    after[0].min(1.0)
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

/// The Cramér-von Mises test of two samples. Without ties it agrees with `scipy.stats.cramervonmises_2samp`, with
/// `method="exact"` where `exact` is set, else with `method="asymptotic"`. With ties SciPy compares mean ranks with ranks in
/// order, so that many equal values look like a difference (two samples that are nearly all 0 have p < 0.001); the
/// distribution functions are the same then, and so is this statistic near 0.
///
/// # Errors
/// A sample has fewer than two finite values.
pub fn cramer_von_mises(first: &[f64], second: &[f64]) -> Result<CramerVonMises, Undefined> {
    let [first, second] = sorted_samples(first, second, 2)?;
    let (n1, n2) = (first.len(), second.len());
    let (m, n) = (n1 as f64, n2 as f64);
    let (product, total) = (m * n, m + n);
    let share = |sorted: &[f64], v: f64| sorted.partition_point(|x| *x <= v) as f64 / sorted.len() as f64;
    let squares: f64 = first.iter().chain(&second).map(|v| (share(&first, *v) - share(&second, *v)).powi(2)).sum();
    let t = product / (total * total) * squares;
    // Anderson's U, which the exact distribution is about.
    let u = (t + (4.0 * product - 1.0) / (6.0 * total)) * product * total;
    let exact = n1.max(n2) <= EXACT_SIZE;
    let p = if exact {
        cramer_von_mises_exact(u, n1, n2)
    } else {
        let expected = (1.0 + 1.0 / total) / 6.0;
        let variance = (total + 1.0) * (4.0 * product * total - 3.0 * (m * m + n * n) - 2.0 * product)
            / (45.0 * total * total * 4.0 * product);
        let standardised = 1.0 / 6.0 + (t - expected) / (45.0 * variance).sqrt();
        if standardised < 0.003 { 1.0 } else { (1.0 - cramer_von_mises_lower(standardised)).max(0.0) }
    };
    Ok(CramerVonMises { n1, n2, t, p, exact })
}

/// The exact p value: over all orders of the pooled values, by the recursion of Xiao, Gordon and Yakovlev (2006).
fn cramer_von_mises_exact(u: f64, n1: usize, n2: usize) -> f64 {
    let divisor = (1..=n1.min(n2)).rev().find(|d| n1.is_multiple_of(*d) && n2.is_multiple_of(*d)).unwrap_or(1);
    let common = n1 * n2 / divisor;
    let (a, b) = ((common / n1) as i64, (common / n2) as i64);
    let (product, scale) = ((n1 * n2) as f64, (common * common) as f64);
    let observed = (scale * (n1 + n2) as f64 * (6.0 * u - product * (4.0 * product - 1.0)) / (6.0 * product * product)
        - 1e-6)
        .ceil();
    // Number of ways to each place of the lattice, by the sum of squared differences on the way.
    let mut ways: Vec<BTreeMap<i64, f64>> = vec![BTreeMap::new(); n1 + 1];
    for j in 0..=n2 {
        for i in 0..=n1 {
            let step = (a * i as i64 - b * j as i64).pow(2);
            let mut here: BTreeMap<i64, f64> = BTreeMap::new();
            if i == 0 && j == 0 {
                here.insert(step, 1.0);
            }
            let before = (j > 0).then(|| std::mem::take(&mut ways[i])).into_iter().flatten();
            let left = i.checked_sub(1).map(|left| &ways[left]).into_iter().flatten().map(|(sum, n)| (*sum, *n));
            for (sum, n) in before.chain(left) {
                *here.entry(sum + step).or_default() += n;
            }
            ways[i] = here;
        }
    }
    let (mut above, mut all) = (0.0, 0.0);
    for (sum, n) in &ways[n1] {
        all += n;
        above += if *sum as f64 >= observed { *n } else { 0.0 };
    }
    above / all
}

/// P(W² ≤ x) for the limiting distribution, by equation 1.3 of Csörgő and Faraway (1996).
fn cramer_von_mises_lower(x: f64) -> f64 {
    let mut total = 0.0;
    // Γ(k + 1/2) / Γ(k + 1), from term to term.
    let mut ratio = std::f64::consts::PI.sqrt();
    for k in 0..100 {
        let k = f64::from(k);
        if k > 0.0 {
            ratio *= (k - 0.5) / k;
        }
        let y = 4.0 * k + 1.0;
        let q = y * y / (16.0 * x);
        let weight = ratio / (std::f64::consts::PI.powf(1.5) * x.sqrt());
        let term = weight * y.sqrt() * bessel_k_quarter(q);
        total += term;
        if term < 1e-17 {
            break;
        }
    }
    total.min(1.0)
}

/// exp(−q) K(q) of the modified Bessel function of order 1/4: the integral of exp(−q (1 + cosh t)) cosh(t / 4) over t ≥ 0 by the
/// trapezoidal rule, which converges exponentially.
fn bessel_k_quarter(q: f64) -> f64 {
    const STEP: f64 = 1.0 / 32.0;
    let value = |t: f64| (-q * (1.0 + t.cosh())).exp() * (t / 4.0).cosh();
    let rest: f64 = (1..4000).map(|i| value(f64::from(i) * STEP)).take_while(|v| *v > 0.0).sum();
    STEP * (value(0.0) / 2.0 + rest)
}

/// The Wasserstein distance of two samples ("earth mover's distance"), in the unit of the values: the area between the two
/// distribution functions. Agrees with `scipy.stats.wasserstein_distance`.
///
/// # Errors
/// A sample has no finite values.
pub fn wasserstein(first: &[f64], second: &[f64]) -> Result<f64, Undefined> {
    let [first, second] = sorted_samples(first, second, 1)?;
    let mut all = [&first[..], &second].concat();
    all.sort_by(f64::total_cmp);
    let share = |sorted: &[f64], v: f64| sorted.partition_point(|x| *x <= v) as f64 / sorted.len() as f64;
    Ok(all.windows(2).map(|pair| (share(&first, pair[0]) - share(&second, pair[0])).abs() * (pair[1] - pair[0])).sum())
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
        assert_eq!(wasserstein(&x, &far), Ok(100.0));
        assert!(cramer_von_mises(&x, &far).unwrap().p < 1e-6 && cramer_von_mises(&x, &x).unwrap().p > 0.99);
        let few = Undefined::TooFew { of: "values in the smaller sample", n: 0, needed: 1 };
        assert_eq!(kolmogorov_smirnov(&x, &[f64::NAN]), Err(few.clone()));
        assert_eq!(wasserstein(&[], &x), Err(few));
        assert!(cramer_von_mises(&x, &[1.0]).is_err());
    }

    #[test]
    fn many_equal_values_are_no_difference() {
        let (mut first, second) = (vec![0.0; 40], vec![0.0; 90]);
        first[0] = 7.0;
        let found = cramer_von_mises(&first, &second).unwrap();
        assert!(found.p > 0.5, "{found:?}");
        assert!(cramer_von_mises(&first[..5], &second[..9]).unwrap().p > 0.3);
    }

    #[test]
    fn the_most_extreme_of_few_orders() {
        // 20 orders of 3 + 3 values; two of them are this far apart.
        let (a, b) = ([1.0, 2.0, 3.0], [4.0, 5.0, 6.0]);
        assert!((kolmogorov_smirnov(&a, &b).unwrap().p - 0.1).abs() < 1e-15);
        assert!((cramer_von_mises(&a, &b).unwrap().p - 0.1).abs() < 1e-15);
    }

    #[test]
    fn the_two_series_agree_and_the_limit_is_near_the_exact_value() {
        assert!((kolmogorov_upper(1.0 - 1e-12) - kolmogorov_upper(1.0)).abs() < 1e-11);
        let (n1, n2, most) = (900, 1100, 60_000);
        let limit = kolmogorov_upper((990_000.0f64 / 2000.0).sqrt() * f64::from(most) / 990_000.0);
        let exact = path_leaves(n1, n2, most as usize);
        assert!((limit / exact - 1.0).abs() < 0.05, "{limit} {exact}");
    }
}
