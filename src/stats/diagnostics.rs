//! Rows that a regression depends on, and whether further regressors improve it.

use serde::Serialize;

use super::distributions::f_upper;
use super::{Ols, OlsError, ols};

/// How unusual a row of a regression is.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct RowInfluence {
    /// Index of the row in the columns that were given.
    pub row: usize,
    /// Fitted value.
    pub fitted: f64,
    /// Response minus fitted value.
    pub residual: f64,
    /// Leverage: how far the row's regressors are from those of the others, 1/n to 1.
    pub leverage: f64,
    /// Residual divided by its standard error, estimated without the row ("externally studentised"); it has Student's t
    /// distribution with one degree of freedom less than the fit. `None` with leverage 1 or one residual degree of freedom.
    pub studentised: Option<f64>,
    /// Cook's distance: how much all fitted values change without the row; `None` with leverage 1.
    pub cook: Option<f64>,
}

impl Ols {
    /// Leverage of the complete rows, in their order: the diagonal of the hat matrix.
    pub fn leverage(&self) -> Vec<f64> {
        let weighted = &self.design * &self.unscaled;
        (0..self.n).map(|i| weighted.row(i).dot(&self.design.row(i)).clamp(0.0, 1.0)).collect()
    }

    /// Residual, leverage and influence of each complete row. Agrees with statsmodels' `OLSInfluence`.
    pub fn influence(&self) -> Vec<RowInfluence> {
        let (df, k) = (self.df as f64, self.coefficients.len() as f64);
        let of_row = |(((row, residual), leverage), fitted): (((&usize, &f64), f64), f64)| {
            let free = 1.0 - leverage;
            let internal = (free > 1e-9 && self.sigma > 0.0).then(|| residual / (self.sigma * free.sqrt()));
            // With one degree of freedom, none is left without the row.
            let studentised = |r: f64| if df > 1.0 { r * ((df - 1.0) / (df - r * r)).sqrt() } else { f64::NAN };
            RowInfluence {
                row: *row,
                fitted,
                residual: *residual,
                leverage,
                studentised: internal.map(studentised).filter(|t| t.is_finite()),
                cook: internal.map(|r| r * r * leverage / (free * k)),
            }
        };
        self.rows.iter().zip(&self.residuals).zip(self.leverage()).zip(self.fitted()).map(of_row).collect()
    }
}

/// An F test of nested regressions: whether added regressors explain more than chance.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct NestedF {
    /// Number of rows that are complete in both.
    pub n: usize,
    /// R² with the base regressors only.
    pub r2_base: f64,
    /// R² with the added regressors.
    pub r2: f64,
    /// F statistic.
    pub f: f64,
    /// Number of added regressors.
    pub df1: usize,
    /// Residual degrees of freedom of the larger regression.
    pub df2: usize,
    /// p value for no improvement.
    pub p: f64,
    /// Akaike's criterion of the smaller minus that of the larger regression: positive if the larger one predicts better.
    pub aic_gain: f64,
}

/// Compares the regression on `base` with that on `base` and `added`, on the rows in which all are present. Agrees with
/// statsmodels' `compare_f_test`.
///
/// # Errors
/// As [`ols`] of the larger regression.
pub fn nested_f(
    response: &[Option<f64>],
    base: &[(&str, &[Option<f64>])],
    added: &[(&str, &[Option<f64>])],
) -> Result<NestedF, OlsError> {
    let full = ols(response, &[base, added].concat())?;
    let rows = |column: &[Option<f64>]| full.rows().iter().map(|row| column[*row]).collect::<Vec<_>>();
    let columns: Vec<(&str, Vec<Option<f64>>)> = base.iter().map(|(name, column)| (*name, rows(column))).collect();
    let columns: Vec<(&str, &[Option<f64>])> = columns.iter().map(|(name, column)| (*name, &column[..])).collect();
    let small = ols(&rows(response), &columns)?;
    let squares = |fit: &Ols| fit.residuals().iter().map(|r| r * r).sum::<f64>();
    let (df1, df2) = (added.len(), full.df);
    let f = ((squares(&small) - squares(&full)) / df1 as f64 / (squares(&full) / df2 as f64)).max(0.0);
    let p = if f.is_nan() { 1.0 } else { f_upper(f, df1 as f64, df2 as f64) };
    Ok(NestedF { n: full.n, r2_base: small.r2, r2: full.r2, f, df1, df2, p, aic_gain: small.aic - full.aic })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outlier_is_the_most_influential_row() {
        let x: Vec<_> = (0..30).map(|i| Some(f64::from(i))).collect();
        let mut y: Vec<_> = (0..30).map(|i| Some(f64::from(2 * i + i * 7919 % 5))).collect();
        (y[3], y[28]) = (None, Some(500.0));
        let fit = ols(&y, &[("x", &x)]).unwrap();
        let influence = fit.influence();
        let worst = influence.iter().max_by(|a, b| a.cook.unwrap().total_cmp(&b.cook.unwrap())).unwrap();
        assert!(worst.row == 28 && worst.studentised.unwrap() > 20.0, "{worst:?}");
        let leverage: f64 = fit.leverage().iter().sum();
        assert!((leverage - 2.0).abs() < 1e-9, "the sum of leverages is the number of coefficients");
        assert!(influence.iter().all(|row| (row.fitted + row.residual - y[row.row].unwrap()).abs() < 1e-9));
    }

    #[test]
    fn what_is_known_already_adds_nothing() {
        let x: Vec<_> = (0..40).map(|i| Some(f64::from(i))).collect();
        let noise: Vec<_> = (0..40).map(|i| Some(f64::from(i * 7919 % 13))).collect();
        let y: Vec<_> = (0..40).map(|i| Some(f64::from(3 * i + i * 104_729 % 7))).collect();
        let useless = nested_f(&y, &[("x", &x)], &[("noise", &noise)]).unwrap();
        assert!(useless.p > 0.01 && useless.df1 == 1 && useless.df2 == 37, "{useless:?}");
        let useful = nested_f(&y, &[("noise", &noise)], &[("x", &x)]).unwrap();
        assert!(useful.p < 1e-9 && useful.r2 > useful.r2_base && useful.aic_gain > 0.0);
    }
}
