use nalgebra::{DMatrix, DVector, DVectorViewMut, SVD};
use serde::Serialize;

use super::Interval;
use super::distributions::{f_upper, t_quantile_two_sided, t_two_sided};

/// Why a regression cannot be fitted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OlsError {
    /// Too few complete rows for the coefficients.
    #[error("{rows} complete rows for {coefficients} coefficients; expected at least {} rows", coefficients + 1)]
    TooFew {
        /// Number of rows without a missing value.
        rows: usize,
        /// Number of coefficients, intercept included.
        coefficients: usize,
    },
    /// A regressor that is a linear combination of the intercept and earlier regressors.
    #[error("`{name}` is constant or a linear combination of the regressors before it")]
    Collinear {
        /// Name of the regressor.
        name: String,
    },
    /// The response is constant.
    #[error("the response is constant")]
    Constant,
}

/// One coefficient of a regression.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Coefficient {
    /// `intercept`, or the regressor's name.
    pub name: String,
    /// Estimate: change of the response per unit of the regressor.
    pub value: f64,
    /// Standard error.
    pub se: f64,
    /// value / se.
    pub t: f64,
    /// Two-sided p value for a coefficient of 0.
    pub p: f64,
    /// 95 % confidence interval.
    pub ci: Interval,
    /// Variance inflation factor: 1 / (1 − R² of this regressor on the other ones); `None` for the intercept.
    pub vif: Option<f64>,
}

/// A fitted mean with its confidence interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MeanResponse {
    /// The mean.
    pub mean: f64,
    /// 95 % confidence interval of the mean.
    pub ci: Interval,
}

/// An ordinary least squares fit with an intercept.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Ols {
    /// Number of complete rows.
    pub n: usize,
    /// Residual degrees of freedom.
    pub df: usize,
    /// The intercept, then the regressors in their order.
    pub coefficients: Vec<Coefficient>,
    /// R²: share of the response's variance that is explained.
    pub r2: f64,
    /// Adjusted R².
    pub r2_adjusted: f64,
    /// Residual standard deviation.
    pub sigma: f64,
    /// F statistic of all regressors together.
    pub f: f64,
    /// p value of F.
    pub f_p: f64,
    /// Log-likelihood of normal residuals.
    pub log_likelihood: f64,
    /// Akaike's information criterion: 2 · coefficients − 2 · log-likelihood. Lower is better, on the same rows only.
    pub aic: f64,
    /// Condition number of the design: its largest divided by its smallest singular value. It depends on the units.
    pub condition_number: f64,
    /// Condition number of the design with columns of length 1 (Belsley 1980), which does not: above 30, coefficients
    /// depend strongly on small changes of the data.
    pub scaled_condition_number: f64,
    /// (XᵀX)⁻¹.
    #[serde(skip)]
    pub(super) unscaled: DMatrix<f64>,
    /// The design: the intercept's column, then the regressors, complete rows only.
    #[serde(skip)]
    pub(super) design: DMatrix<f64>,
    /// Response minus fitted value of the complete rows.
    #[serde(skip)]
    pub(super) residuals: Vec<f64>,
    /// Index in the input of each complete row.
    #[serde(skip)]
    pub(super) rows: Vec<usize>,
}

impl Ols {
    /// Mean response at values of the regressors, one per regressor.
    ///
    /// # Panics
    /// If `at` does not have one value per regressor.
    pub fn mean_at(&self, at: &[f64]) -> MeanResponse {
        assert_eq!(at.len() + 1, self.coefficients.len(), "one value per regressor");
        let x = DVector::from_iterator(at.len() + 1, std::iter::once(1.0).chain(at.iter().copied()));
        let mean = x.iter().zip(&self.coefficients).map(|(x, c)| x * c.value).sum::<f64>();
        let spread = x.dot(&(&self.unscaled * &x));
        let half = t_quantile_two_sided(0.05, self.df as f64) * self.sigma * spread.max(0.0).sqrt();
        MeanResponse { mean, ci: Interval { low: mean - half, high: mean + half } }
    }

    /// Residuals of the complete rows, in their order: response minus fitted value.
    pub fn residuals(&self) -> &[f64] {
        &self.residuals
    }

    /// Fitted values of the complete rows, in their order.
    pub fn fitted(&self) -> Vec<f64> {
        let coefficients = DVector::from_iterator(self.coefficients.len(), self.coefficients.iter().map(|c| c.value));
        (&self.design * coefficients).as_slice().to_vec()
    }

    /// The values of regressor `j` (0: the intercept) in the complete rows.
    ///
    /// # Panics
    /// If there is no such regressor.
    pub fn regressor(&self, j: usize) -> Vec<f64> {
        self.design.column(j).iter().copied().collect()
    }

    /// Index of each complete row in the columns that were given.
    pub fn rows(&self) -> &[usize] {
        &self.rows
    }

    /// The coefficient of a regressor; `None` for an unknown name.
    pub fn coefficient(&self, name: &str) -> Option<&Coefficient> {
        self.coefficients.iter().find(|c| c.name == name)
    }
}

/// Least squares regression of `response` on named regressors and an intercept, without the rows in which a value is
/// missing. Computed by Householder reflections of the standardised columns. Agrees with statsmodels' `OLS`.
///
/// # Errors
/// There are too few complete rows, the response is constant, or a regressor is constant or a linear combination of
/// earlier ones.
pub fn ols(response: &[Option<f64>], regressors: &[(&str, &[Option<f64>])]) -> Result<Ols, OlsError> {
    let k = regressors.len() + 1;
    let complete = |row: usize| -> Option<(f64, Vec<f64>)> {
        let finite = |v: Option<f64>| v.filter(|v| v.is_finite());
        let x = regressors.iter().map(|(_, c)| finite(c.get(row).copied().flatten())).collect::<Option<Vec<_>>>()?;
        Some((finite(response[row])?, x))
    };
    let known: Vec<(usize, (f64, Vec<f64>))> =
        (0..response.len()).filter_map(|row| Some((row, complete(row)?))).collect();
    let at: Vec<usize> = known.iter().map(|row| row.0).collect();
    let (y, rows): (Vec<f64>, Vec<Vec<f64>>) = known.into_iter().map(|row| row.1).unzip();
    let n = y.len();
    if n <= k {
        return Err(OlsError::TooFew { rows: n, coefficients: k });
    }
    let least = |mean: f64| mean.abs() * (n as f64).sqrt();
    let design = DMatrix::from_fn(n, k, |row, j| if j == 0 { 1.0 } else { rows[row][j - 1] });
    let observed = DVector::from_vec(y);
    let mut y = observed.clone();
    let (y_mean, total) = centred(y.column_mut(0));
    if total.sqrt() <= 1e-13 * least(y_mean) || total == 0.0 {
        return Err(OlsError::Constant);
    }
    // With centred and scaled columns the intercept drops out, and a collinear column has a small diagonal element.
    let collinear = |j: usize| OlsError::Collinear { name: regressors[j].0.to_owned() };
    let mut x = DMatrix::from_fn(n, k - 1, |row, j| rows[row][j]);
    let (mut means, mut norms) = (DVector::zeros(k - 1), DVector::zeros(k - 1));
    for j in 0..k - 1 {
        let (mean, squares) = centred(x.column_mut(j));
        (means[j], norms[j]) = (mean, squares.sqrt());
        if norms[j] <= 1e-12 * least(mean) || norms[j] == 0.0 {
            return Err(collinear(j));
        }
        x.column_mut(j).unscale_mut(norms[j]);
    }
    let qr = x.qr();
    let triangle = qr.r();
    if let Some(j) = (0..k - 1).find(|j| triangle[(*j, *j)].abs() < 1e-9) {
        return Err(collinear(j));
    }
    qr.q_tr_mul(&mut y);
    let slopes = triangle.solve_upper_triangular_unchecked(&y.rows(0, k - 1)).component_div(&norms);
    // (XcᵀXc)⁻¹ of the centred columns in original units, from R⁻¹R⁻ᵀ.
    let mut inverse = triangle.solve_upper_triangular_unchecked(&DMatrix::identity(k - 1, k - 1));
    inverse.column_iter_mut().for_each(|mut column| column.component_div_assign(&norms));
    let unscaled = with_intercept(&inverse * inverse.transpose(), &means, n);

    let df = n - k;
    let residual = y.rows(k - 1, n - k + 1).norm_squared();
    let sigma = (residual / df as f64).sqrt();
    let quantile = t_quantile_two_sided(0.05, df as f64);
    let coefficient = |i: usize, name: &str, value: f64| {
        let se = sigma * unscaled[(i, i)].max(0.0).sqrt();
        let t = value / se;
        Coefficient {
            name: name.to_owned(),
            value,
            se,
            t,
            p: if t.is_nan() { 1.0 } else { t_two_sided(t, df as f64) },
            ci: Interval { low: value - quantile * se, high: value + quantile * se },
            vif: i.checked_sub(1).map(|j| unscaled[(i, i)] * norms[j] * norms[j]),
        }
    };
    let mut coefficients = vec![coefficient(0, "intercept", y_mean - slopes.dot(&means))];
    coefficients.extend(regressors.iter().enumerate().map(|(j, (name, _))| coefficient(j + 1, name, slopes[j])));
    let values = DVector::from_iterator(k, coefficients.iter().map(|c| c.value));
    let residuals = (observed - &design * values).as_slice().to_vec();
    let log_likelihood = -(n as f64) / 2.0 * ((2.0 * std::f64::consts::PI * residual / n as f64).ln() + 1.0);
    let r2 = (1.0 - residual / total).clamp(0.0, 1.0);
    let f = if k > 1 { (total - residual) / (k - 1) as f64 / (residual / df as f64) } else { 0.0 };
    Ok(Ols {
        n,
        df,
        coefficients,
        r2,
        r2_adjusted: 1.0 - (1.0 - r2) * (n as f64 - 1.0) / df as f64,
        sigma,
        f,
        f_p: f_upper(f, (k - 1) as f64, df as f64),
        log_likelihood,
        aic: 2.0 * k as f64 - 2.0 * log_likelihood,
        condition_number: condition_number(design.clone()),
        scaled_condition_number: condition_number(with_unit_columns(design.clone())),
        unscaled,
        design,
        residuals,
        rows: at,
    })
}

/// The largest singular value divided by the smallest; infinite if they cannot be computed.
fn condition_number(matrix: DMatrix<f64>) -> f64 {
    const MOST_STEPS: usize = 10_000;
    // Scaled, so that squares of large values stay finite.
    let largest = matrix.amax();
    match SVD::try_new(matrix / largest, false, false, f64::EPSILON, MOST_STEPS) {
        Some(svd) if svd.singular_values.min() > 0.0 => svd.singular_values.max() / svd.singular_values.min(),
        _ => f64::INFINITY,
    }
}

fn with_unit_columns(mut matrix: DMatrix<f64>) -> DMatrix<f64> {
    for mut column in matrix.column_iter_mut() {
        // In two steps, so that squares of large values stay finite.
        let largest = column.amax().max(f64::MIN_POSITIVE);
        column.unscale_mut(largest);
        let length = column.norm();
        column.unscale_mut(length);
    }
    matrix
}

/// (XᵀX)⁻¹ of `n` rows with the intercept as first column, from that of the centred columns and their means.
fn with_intercept(of_slopes: DMatrix<f64>, means: &DVector<f64>, n: usize) -> DMatrix<f64> {
    let cross = -(&of_slopes * means);
    let mut all = of_slopes.insert_row(0, 0.0).insert_column(0, 0.0);
    all[(0, 0)] = 1.0 / n as f64 - cross.dot(means);
    all.view_mut((1, 0), (means.len(), 1)).copy_from(&cross);
    all.view_mut((0, 1), (1, means.len())).copy_from(&cross.transpose());
    all
}

/// Subtracts the mean from a column; returns the mean and the sum of squares of the centred column.
fn centred(mut column: DVectorViewMut<f64>) -> (f64, f64) {
    let mean = column.mean();
    column.add_scalar_mut(-mean);
    (mean, column.norm_squared())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_fitted_without_incomplete_rows() {
        let x: Vec<_> = (0..10).map(|i| Some(f64::from(i))).collect();
        let mut y: Vec<_> = x.iter().map(|v| v.map(|v| 3.0 + 2.0 * v)).collect();
        y[4] = None;
        let fit = ols(&y, &[("x", &x)]).unwrap();
        assert_eq!((fit.n, fit.df), (9, 7));
        assert!((fit.coefficients[0].value - 3.0).abs() < 1e-12 && (fit.coefficients[1].value - 2.0).abs() < 1e-12);
        assert!((fit.r2 - 1.0).abs() < 1e-12 && (fit.mean_at(&[20.0]).mean - 43.0).abs() < 1e-10);
        // Without regressors the result is the mean and its standard error.
        let alone = ols(&[Some(1.0), Some(2.0), Some(6.0)], &[]).unwrap();
        assert_eq!((alone.coefficients.len(), alone.df, alone.f), (1, 2, 0.0));
        assert!((alone.coefficients[0].value - 3.0).abs() < 1e-12);
        assert!((alone.coefficients[0].se - (7.0f64 / 3.0).sqrt()).abs() < 1e-12);
    }

    #[test]
    fn errors_name_the_regressor() {
        let x: Vec<_> = (0..10).map(|i| Some(f64::from(i))).collect();
        let double: Vec<_> = x.iter().map(|v| v.map(|v| 2.0 * v + 1.0)).collect();
        let y: Vec<_> = (0..10).map(|i| Some(f64::from(i * i))).collect();
        assert_eq!(ols(&y, &[("x", &x), ("double", &double)]), Err(OlsError::Collinear { name: "double".into() }));
        assert_eq!(ols(&y, &[("one", &[Some(1.0); 10])]), Err(OlsError::Collinear { name: "one".into() }));
        assert_eq!(ols(&y[..2], &[("x", &x)]), Err(OlsError::TooFew { rows: 2, coefficients: 2 }));
        assert_eq!(ols(&[Some(5.0); 10], &[("x", &x)]), Err(OlsError::Constant));
    }
}
