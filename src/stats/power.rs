use serde::Serialize;

use super::Undefined;
use super::distributions::{normal_lower, z_quantile};

/// Two-sided level of the tests whose power is computed.
const ALPHA: f64 = 0.05;

/// Power of a two-sided 5 % test of two shares, by the normal approximation of the arcsine-transformed shares (Cohen 1988).
/// Agrees with statsmodels' `NormalIndPower` with `proportion_effectsize`.
///
/// # Errors
/// A group is empty, or a share is not between 0 and 1.
pub fn power_of_two_shares(n1: usize, n2: usize, share1: f64, share2: f64) -> Result<f64, Undefined> {
    Undefined::unless_enough("values in the smaller sample", n1.min(n2), 1)?;
    for share in [share1, share2] {
        if !(0.0..=1.0).contains(&share) {
            return Err(Undefined::OutOfRange { of: "a share", value: share.to_string(), expected: "0 to 1" });
        }
    }
    let angle = |share: f64| 2.0 * share.sqrt().asin();
    let (a, b) = (n1 as f64, n2 as f64);
    let distance = (angle(share1) - angle(share2)).abs() * (a * b / (a + b)).sqrt();
    let z = z_quantile(1.0 - ALPHA / 2.0);
    Ok(normal_lower(distance - z) + normal_lower(-distance - z))
}

/// The smallest odds ratios that a comparison of two shares finds with a given power.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct VisibleOddsRatio {
    /// Size of the group that is compared.
    pub n: usize,
    /// Size of the reference group.
    pub n_base: usize,
    /// Share in the reference group.
    pub share_base: f64,
    /// The power: probability that a two-sided 5 % test finds such a ratio.
    pub power: f64,
    /// Smallest odds ratio above 1 with this power; `None` if no ratio has it.
    pub above: Option<f64>,
    /// Largest odds ratio below 1 with this power; `None` if no ratio has it.
    pub below: Option<f64>,
}

/// The smallest odds ratios that a two-sided 5 % test of `n` observations against `n_base` with the share `share_base` finds
/// with probability `power`. The observations are independent: where patients have several images, count patients.
///
/// # Errors
/// A group is empty, the share is not between 0 and 1 (exclusive), or the power not between 5 % and 1.
pub fn visible_odds_ratio(n: usize, n_base: usize, share_base: f64, power: f64) -> Result<VisibleOddsRatio, Undefined> {
    let out = |of, value: f64, expected| Undefined::OutOfRange { of, value: value.to_string(), expected };
    if !(share_base > 0.0 && share_base < 1.0) {
        return Err(out("the reference share", share_base, "more than 0 and less than 1"));
    }
    if !(power > ALPHA && power < 1.0) {
        return Err(out("the power", power, "more than 0.05 and less than 1"));
    }
    let odds = share_base / (1.0 - share_base);
    let share_at = |log_ratio: f64| {
        let odds = odds * log_ratio.exp();
        if odds.is_finite() { odds / (1.0 + odds) } else { 1.0 }
    };
    let power_at = |log_ratio: f64| power_of_two_shares(n, n_base, share_at(log_ratio), share_base);
    power_at(0.0)?;
    // The power grows with the distance from 1. Beyond e^±50 the share is 0 or 1.
    let farthest = 50.0;
    let search = |sign: f64| -> Result<Option<f64>, Undefined> {
        if power_at(sign * farthest)? < power {
            return Ok(None);
        }
        let (mut low, mut high) = (0.0, farthest);
        for _ in 0..200 {
            let middle = (low + high) / 2.0;
            if power_at(sign * middle)? < power { low = middle } else { high = middle }
        }
        Ok(Some((sign * high).exp()))
    };
    Ok(VisibleOddsRatio { n, n_base, share_base, power, above: search(1.0)?, below: search(-1.0)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_patients_show_smaller_ratios() {
        let of = |n| visible_odds_ratio(n, 400, 0.45, 0.8).unwrap();
        let (few, many) = (of(8), of(144));
        // Issue 20: "with 8 test patients an odds ratio below 6 cannot be seen".
        assert!(few.above.unwrap() > 6.0 && many.above.unwrap() < 2.0, "{few:?} {many:?}");
        assert!(few.below.is_none_or(|below| below < 0.2) && many.below.unwrap() > 0.5);
        let found = many.above.unwrap();
        let share = 0.45 / 0.55 * found / (1.0 + 0.45 / 0.55 * found);
        assert!((power_of_two_shares(144, 400, share, 0.45).unwrap() - 0.8).abs() < 1e-9);
        assert_eq!(visible_odds_ratio(1, 2, 0.5, 0.8).unwrap().above, None);
        assert!(visible_odds_ratio(0, 2, 0.5, 0.8).is_err() && visible_odds_ratio(5, 5, 0.0, 0.8).is_err());
    }
}
