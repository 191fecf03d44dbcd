use serde::Serialize;

use super::Interval;
use super::distributions::z95;

/// A proportion with its confidence interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Proportion {
    /// Number of observations with the feature.
    pub count: usize,
    /// Number of observations.
    pub n: usize,
    /// count / n.
    pub share: f64,
    /// Wilson's 95 % confidence interval.
    pub ci: Interval,
}

/// The proportion `count` / `n` with Wilson's score interval; `None` for n = 0 or count > n.
/// Agrees with `statsmodels.stats.proportion.proportion_confint(method="wilson")`.
pub fn wilson(count: usize, n: usize) -> Option<Proportion> {
    if n == 0 || count > n {
        return None;
    }
    let (share, size, z2) = (count as f64 / n as f64, n as f64, z95().powi(2));
    let centre = (share + z2 / (2.0 * size)) / (1.0 + z2 / size);
    let half = z95() * (share * (1.0 - share) / size + z2 / (4.0 * size * size)).sqrt() / (1.0 + z2 / size);
    let ci = Interval {
        low: if count == 0 { 0.0 } else { (centre - half).max(0.0) },
        high: if count == n { 1.0 } else { (centre + half).min(1.0) },
    };
    Some(Proportion { count, n, share, ci })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proportions_of_0_and_1() {
        assert_eq!(wilson(0, 0), None);
        assert_eq!(wilson(3, 2), None);
        let none = wilson(0, 10).unwrap();
        assert!(none.ci.low == 0.0 && none.ci.high > 0.2 && none.ci.high < 0.3);
        assert_eq!(wilson(10, 10).unwrap().ci.high, 1.0);
    }
}
