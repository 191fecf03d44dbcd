use serde::Serialize;

use super::Interval;
use super::distributions::{f_upper, t_quantile_two_sided, t_two_sided};

/// Why there is no regression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OlsError {
    /// Too few complete rows for the number of coefficients.
    #[error("{rows} complete rows for {coefficients} coefficients; at least {} are needed", coefficients + 1)]
    TooFew {
        /// Rows with nothing missing.
        rows: usize,
        /// Coefficients, intercept included.
        coefficients: usize,
    },
    /// A regressor that the intercept and those before it determine.
    #[error("`{name}` does not vary on its own: the regressors before it determine it")]
    Collinear {
        /// Name of the regressor.
        name: String,
    },
    /// The response does not vary.
    #[error("the response does not vary")]
    Constant,
}

/// One coefficient of a regression.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Coefficient {
    /// `intercept`, or the regressor's name.
    pub name: String,
    /// Estimate, in units of the response a unit of the regressor.
    pub value: f64,
    /// Standard error.
    pub se: f64,
    /// value / se.
    pub t: f64,
    /// Two-sided p of a coefficient of zero.
    pub p: f64,
    /// 95 % interval.
    pub ci: Interval,
    /// Variance inflation: 1 / (1 − R² of this regressor on the others); `None` for the intercept.
    pub vif: Option<f64>,
}

/// An ordinary least squares fit with intercept.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Ols {
    /// Complete rows.
    pub n: usize,
    /// Residual degrees of freedom.
    pub df: usize,
    /// Intercept first, then the regressors in order.
    pub coefficients: Vec<Coefficient>,
    /// Share of the response's variance explained.
    pub r2: f64,
    /// The same, less what as many random regressors would explain.
    pub r2_adjusted: f64,
    /// Residual standard deviation.
    pub sigma: f64,
    /// F statistic of all regressors together.
    pub f: f64,
    /// Its p.
    pub f_p: f64,
    /// (XᵀX)⁻¹, row by row.
    #[serde(skip)]
    unscaled: Vec<Vec<f64>>,
}

impl Ols {
    /// Mean response at the regressors' values with its 95 % interval.
    ///
    /// # Panics
    /// When `at` has not one value a regressor.
    pub fn mean_at(&self, at: &[f64]) -> (f64, Interval) {
        assert_eq!(at.len() + 1, self.coefficients.len(), "one value a regressor");
        let x: Vec<f64> = std::iter::once(1.0).chain(at.iter().copied()).collect();
        let mean = x.iter().zip(&self.coefficients).map(|(x, c)| x * c.value).sum::<f64>();
        let spread: f64 =
            x.iter().zip(&self.unscaled).map(|(a, row)| a * x.iter().zip(row).map(|(b, v)| b * v).sum::<f64>()).sum();
        let half = t_quantile_two_sided(0.05, self.df as f64) * self.sigma * spread.max(0.0).sqrt();
        (mean, Interval { low: mean - half, high: mean + half })
    }

    /// The coefficient of a regressor.
    pub fn coefficient(&self, name: &str) -> Option<&Coefficient> {
        self.coefficients.iter().find(|c| c.name == name)
    }
}

/// Least squares of `response` on named regressors and an intercept, rows with anything missing left out.
/// By Householder reflections of the standardised columns. Agrees with statsmodels' `OLS`.
///
/// # Errors
/// Too few complete rows, a regressor without spread of its own, or a constant response.
pub fn ols(response: &[Option<f64>], regressors: &[(&str, &[Option<f64>])]) -> Result<Ols, OlsError> {
    let k = regressors.len() + 1;
    let complete = |row: usize| -> Option<(f64, Vec<f64>)> {
        let finite = |v: Option<f64>| v.filter(|v| v.is_finite());
        let x = regressors.iter().map(|(_, c)| finite(c.get(row).copied().flatten())).collect::<Option<Vec<_>>>()?;
        Some((finite(response[row])?, x))
    };
    let (y, rows): (Vec<f64>, Vec<Vec<f64>>) = (0..response.len()).filter_map(complete).unzip();
    let n = y.len();
    if n <= k {
        return Err(OlsError::TooFew { rows: n, coefficients: k });
    }
    // Centred, scaled columns: the intercept drops out and collinearity shows as a small diagonal.
    let mean = |values: &mut dyn Iterator<Item = f64>| values.sum::<f64>() / n as f64;
    let y_mean = mean(&mut y.iter().copied());
    let total: f64 = y.iter().map(|v| (v - y_mean).powi(2)).sum();
    if total.sqrt() <= 1e-13 * y_mean.abs() * (n as f64).sqrt() || total == 0.0 {
        return Err(OlsError::Constant);
    }
    let mut columns = Vec::with_capacity(k - 1);
    let (mut means, mut norms) = (Vec::new(), Vec::new());
    for (j, (name, _)) in regressors.iter().enumerate() {
        let m = mean(&mut rows.iter().map(|r| r[j]));
        let mut column: Vec<f64> = rows.iter().map(|r| r[j] - m).collect();
        let norm = column.iter().map(|v| v * v).sum::<f64>().sqrt();
        if norm <= 1e-12 * m.abs() * (n as f64).sqrt() || norm == 0.0 {
            return Err(OlsError::Collinear { name: (*name).to_owned() });
        }
        column.iter_mut().for_each(|v| *v /= norm);
        columns.push(column);
        means.push(m);
        norms.push(norm);
    }
    let mut right: Vec<f64> = y.iter().map(|v| v - y_mean).collect();
    let triangle =
        householder(&mut columns, &mut right).map_err(|j| OlsError::Collinear { name: regressors[j].0.to_owned() })?;
    let scaled = back_substitute(&triangle, &right[..k - 1]);
    let inverse = inverse_of_upper(&triangle);
    let slopes: Vec<f64> = scaled.iter().zip(&norms).map(|(b, s)| b / s).collect();
    // (XcᵀXc)⁻¹ of the centred columns in original units, from R⁻¹R⁻ᵀ.
    let covariance =
        |i: usize, j: usize| (0..k - 1).map(|l| inverse[i][l] * inverse[j][l]).sum::<f64>() / (norms[i] * norms[j]);
    let mut unscaled = vec![vec![0.0; k]; k];
    for i in 0..k - 1 {
        for j in 0..k - 1 {
            unscaled[i + 1][j + 1] = covariance(i, j);
        }
    }
    for i in 0..k - 1 {
        let cross = -(0..k - 1).map(|j| unscaled[i + 1][j + 1] * means[j]).sum::<f64>();
        unscaled[0][i + 1] = cross;
        unscaled[i + 1][0] = cross;
    }
    unscaled[0][0] = 1.0 / n as f64 - (0..k - 1).map(|j| unscaled[0][j + 1] * means[j]).sum::<f64>();

    let residual: f64 = right[k - 1..].iter().map(|v| v * v).sum();
    let df = n - k;
    let sigma = (residual / df as f64).sqrt();
    let intercept = y_mean - slopes.iter().zip(&means).map(|(b, m)| b * m).sum::<f64>();
    let quantile = t_quantile_two_sided(0.05, df as f64);
    let coefficients = std::iter::once(("intercept", intercept))
        .chain(regressors.iter().zip(&slopes).map(|((name, _), b)| (*name, *b)))
        .enumerate()
        .map(|(i, (name, value))| {
            let se = sigma * unscaled[i][i].max(0.0).sqrt();
            let t = value / se;
            Coefficient {
                name: name.to_owned(),
                value,
                se,
                t,
                p: if t.is_nan() { 1.0 } else { t_two_sided(t, df as f64) },
                ci: Interval { low: value - quantile * se, high: value + quantile * se },
                vif: i.checked_sub(1).map(|j| unscaled[i][i] * norms[j] * norms[j]),
            }
        })
        .collect();
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
        unscaled,
    })
}

/// Reduces unit-length columns to an upper triangle in place and applies the same reflections to `right`.
/// `Err(j)` when column j lies in the span of those before it. Returns the triangle, row by row.
fn householder(columns: &mut [Vec<f64>], right: &mut [f64]) -> Result<Vec<Vec<f64>>, usize> {
    let k = columns.len();
    for j in 0..k {
        let norm = columns[j][j..].iter().map(|v| v * v).sum::<f64>().sqrt();
        if norm < 1e-9 {
            return Err(j);
        }
        let sign = if columns[j][j] < 0.0 { -1.0 } else { 1.0 };
        let mut v: Vec<f64> = columns[j][j..].to_vec();
        v[0] += sign * norm;
        let length = v.iter().map(|x| x * x).sum::<f64>();
        let reflect = |target: &mut [f64]| {
            let dot = v.iter().zip(target.iter()).map(|(a, b)| a * b).sum::<f64>();
            v.iter().zip(target.iter_mut()).for_each(|(a, b)| *b -= 2.0 * dot / length * a);
        };
        columns[j..].iter_mut().for_each(|c| reflect(&mut c[j..]));
        reflect(&mut right[j..]);
    }
    Ok((0..k).map(|i| (0..k).map(|j| if j >= i { columns[j][i] } else { 0.0 }).collect()).collect())
}

fn back_substitute(triangle: &[Vec<f64>], right: &[f64]) -> Vec<f64> {
    let k = triangle.len();
    let mut x = vec![0.0; k];
    for i in (0..k).rev() {
        let known: f64 = (i + 1..k).map(|j| triangle[i][j] * x[j]).sum();
        x[i] = (right[i] - known) / triangle[i][i];
    }
    x
}

fn inverse_of_upper(triangle: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let k = triangle.len();
    let unit = |j: usize| -> Vec<f64> { (0..k).map(|i| f64::from(u8::from(i == j))).collect() };
    let columns: Vec<Vec<f64>> = (0..k).map(|j| back_substitute(triangle, &unit(j))).collect();
    (0..k).map(|i| columns.iter().map(|c| c[i]).collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_found_and_missing_rows_left_out() {
        let x: Vec<_> = (0..10).map(|i| Some(f64::from(i))).collect();
        let mut y: Vec<_> = x.iter().map(|v| v.map(|v| 3.0 + 2.0 * v)).collect();
        y[4] = None;
        let fit = ols(&y, &[("x", &x)]).unwrap();
        assert_eq!((fit.n, fit.df), (9, 7));
        assert!((fit.coefficients[0].value - 3.0).abs() < 1e-12 && (fit.coefficients[1].value - 2.0).abs() < 1e-12);
        assert!((fit.r2 - 1.0).abs() < 1e-12 && (fit.mean_at(&[20.0]).0 - 43.0).abs() < 1e-10);
    }

    #[test]
    fn what_cannot_be_fitted_is_named() {
        let x: Vec<_> = (0..10).map(|i| Some(f64::from(i))).collect();
        let double: Vec<_> = x.iter().map(|v| v.map(|v| 2.0 * v + 1.0)).collect();
        let y: Vec<_> = (0..10).map(|i| Some(f64::from(i * i))).collect();
        assert_eq!(ols(&y, &[("x", &x), ("double", &double)]), Err(OlsError::Collinear { name: "double".into() }));
        assert_eq!(ols(&y, &[("one", &[Some(1.0); 10])]), Err(OlsError::Collinear { name: "one".into() }));
        assert_eq!(ols(&y[..2], &[("x", &x)]), Err(OlsError::TooFew { rows: 2, coefficients: 2 }));
        assert_eq!(ols(&[Some(5.0); 10], &[("x", &x)]), Err(OlsError::Constant));
    }
}
