//! Tail probabilities and quantiles of the sampling distributions, computed with statrs.

use statrs::distribution::{ChiSquared, ContinuousCDF, Normal, StudentsT};
use statrs::function::beta::beta_reg;
use statrs::function::erf::erfc;
use statrs::function::gamma::{gamma_ur, ln_gamma};

/// P(|T| ≥ |t|) for Student's t.
pub(super) fn t_two_sided(t: f64, df: f64) -> f64 {
    if t.is_infinite() {
        return 0.0;
    }
    beta_reg(df / 2.0, 0.5, df / (df + t * t)).clamp(0.0, 1.0)
}

/// The t with P(|T| ≥ t) = `tail`; accurate to 12 digits up to 10,000 degrees of freedom, to 5 digits up to 100,000.
pub(super) fn t_quantile_two_sided(tail: f64, df: f64) -> f64 {
    StudentsT::new(0.0, 1.0, df).map_or(f64::NAN, |t| -t.inverse_cdf(tail / 2.0))
}

/// P(|Z| ≥ |z|) for the standard normal.
pub(super) fn normal_two_sided(z: f64) -> f64 {
    erfc(z.abs() / std::f64::consts::SQRT_2).clamp(0.0, 1.0)
}

/// The z of a 95 % confidence interval, 1.959964.
pub(super) fn z95() -> f64 {
    Normal::standard().inverse_cdf(0.975)
}

/// P(X ≥ x) for chi-square.
pub(super) fn chi_square_upper(x: f64, df: f64) -> f64 {
    if x <= 0.0 { 1.0 } else { gamma_ur(df / 2.0, x / 2.0).clamp(0.0, 1.0) }
}

/// P(X ≥ f) for the F distribution.
pub(super) fn f_upper(f: f64, df1: f64, df2: f64) -> f64 {
    if f <= 0.0 {
        1.0
    } else if f.is_infinite() {
        0.0
    } else {
        beta_reg(df2 / 2.0, df1 / 2.0, df2 / (df2 + df1 * f)).clamp(0.0, 1.0)
    }
}

/// P(T ≤ t) for Student's t.
pub(super) fn t_lower(t: f64, df: f64) -> f64 {
    let tail = t_two_sided(t, df) / 2.0;
    if t < 0.0 { tail } else { 1.0 - tail }
}

/// P(Z ≤ z) for the standard normal.
pub(super) fn normal_lower(z: f64) -> f64 {
    (erfc(-z / std::f64::consts::SQRT_2) / 2.0).clamp(0.0, 1.0)
}

/// The z with P(Z ≤ z) = `share`.
pub(super) fn z_quantile(share: f64) -> f64 {
    Normal::standard().inverse_cdf(share)
}

/// The x with P(X ≤ x) = `share` for chi-square.
pub(super) fn chi_square_quantile(share: f64, df: f64) -> f64 {
    let Ok(distribution) = ChiSquared::new(df) else { return f64::NAN };
    // Newton's method on the tail, from statrs' value, whose precision is lower.
    let mut x = distribution.inverse_cdf(share);
    for _ in 0..4 {
        let density = ((df / 2.0 - 1.0) * x.ln() - x / 2.0 - df / 2.0 * 2f64.ln() - ln_gamma(df / 2.0)).exp();
        let step = (chi_square_upper(x, df) - (1.0 - share)) / density;
        if step.is_finite() && x + step > 0.0 {
            x += step;
        }
    }
    x
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_agree_with_published_tables() {
        assert!((z95() - 1.959963984540054).abs() < 1e-9);
        assert!((t_quantile_two_sided(0.05, 10.0) - 2.228138851986273).abs() < 1e-9);
        assert!((t_quantile_two_sided(0.05, 1.0) - 12.706204736174698).abs() < 1e-7);
        for df in [0.7, 3.0, 57.25, 1594.2] {
            assert!((t_two_sided(t_quantile_two_sided(0.05, df), df) - 0.05).abs() < 1e-12, "{df}");
        }
        assert!((chi_square_upper(3.841458820694124, 1.0) - 0.05).abs() < 1e-10);
        assert!((f_upper(4.964602743730711, 1.0, 10.0) - 0.05).abs() < 1e-10);
        assert_eq!(t_two_sided(f64::INFINITY, 5.0), 0.0);
        assert!((chi_square_quantile(0.95, 9.0) - 16.918977604620448).abs() < 1e-9);
        assert!((normal_lower(-1.959963984540054) - 0.025).abs() < 1e-11 && z_quantile(0.975) == z95());
        assert!((t_lower(-2.228138851986273, 10.0) - 0.025).abs() < 1e-10 && t_lower(2.0, 3.0) > 0.9);
    }
}
