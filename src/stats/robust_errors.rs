use nalgebra::{Cholesky, DMatrix, DVector};
use serde::Serialize;

use super::distributions::{f_upper, t_quantile_two_sided, t_two_sided};
use super::{Coefficient, Interval, Ols, Undefined};

/// An estimate of the covariance of regression coefficients.
#[derive(Clone, Copy, Debug)]
pub enum Covariance<'a> {
    /// HC3 of MacKinnon and White (1985): residuals of unequal variance. As statsmodels' `HC3` with `use_t`.
    Hc3,
    /// Cluster-robust ("sandwich"): residuals of one cluster, such as a patient, may be correlated. With the correction
    /// G / (G − 1) · (n − 1) / (n − k) and G − 1 degrees of freedom, as statsmodels' `cluster` with `use_t`. One cluster
    /// per row of the columns that were given to [`super::ols`].
    Clusters(&'a [usize]),
}

/// Coefficients with robust errors.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RobustCoefficients {
    /// Degrees of freedom of the t tests.
    pub df: usize,
    /// Number of clusters; `None` without.
    pub clusters: Option<usize>,
    /// The intercept, then the regressors in their order, with robust errors.
    pub coefficients: Vec<Coefficient>,
    #[serde(skip)]
    covariance: DMatrix<f64>,
}

/// A Wald test that several coefficients are 0.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Wald {
    /// F statistic.
    pub f: f64,
    /// Number of coefficients.
    pub df1: usize,
    /// Degrees of freedom of the error.
    pub df2: usize,
    /// p value.
    pub p: f64,
}

impl Ols {
    /// The coefficients with errors that allow for unequal variances or for clusters.
    ///
    /// # Errors
    /// HC3: a row that the fit determines completely. Clusters: fewer than two, or not one per row.
    pub fn robust(&self, covariance: Covariance<'_>) -> Result<RobustCoefficients, Undefined> {
        let (n, k) = self.design.shape();
        let mut meat = DMatrix::zeros(k, k);
        let mut add = |score: DVector<f64>| meat += &score * score.transpose();
        let row = |i: usize| self.design.row(i).transpose();
        let (scale, df, clusters) = match covariance {
            Covariance::Hc3 => {
                for (i, leverage) in self.leverage().into_iter().enumerate() {
                    if leverage > 1.0 - 1e-9 {
                        return Err(Undefined::FullLeverage);
                    }
                    add(row(i) * (self.residuals[i] / (1.0 - leverage)));
                }
                (1.0, self.df, None)
            }
            Covariance::Clusters(ids) => {
                let mut scores = std::collections::BTreeMap::new();
                for (i, at) in self.rows.iter().enumerate() {
                    let id =
                        ids.get(*at).ok_or(Undefined::TooFew { of: "clusters' ids", n: ids.len(), needed: at + 1 })?;
                    *scores.entry(*id).or_insert_with(|| DVector::zeros(k)) += row(i) * self.residuals[i];
                }
                let clusters = scores.len();
                Undefined::unless_enough("clusters", clusters, 2)?;
                scores.into_values().for_each(add);
                let correction = clusters as f64 / (clusters as f64 - 1.0) * (n as f64 - 1.0) / (n - k) as f64;
                (correction, clusters - 1, Some(clusters))
            }
        };
        let covariance = &self.unscaled * meat * &self.unscaled * scale;
        let quantile = t_quantile_two_sided(0.05, df as f64);
        let robust = |(i, plain): (usize, &Coefficient)| {
            let se = covariance[(i, i)].max(0.0).sqrt();
            let t = plain.value / se;
            Coefficient {
                se,
                t,
                p: if t.is_nan() { 1.0 } else { t_two_sided(t, df as f64) },
                ci: Interval { low: plain.value - quantile * se, high: plain.value + quantile * se },
                ..plain.clone()
            }
        };
        let coefficients = self.coefficients.iter().enumerate().map(robust).collect();
        Ok(RobustCoefficients { df, clusters, coefficients, covariance })
    }
}

impl RobustCoefficients {
    /// The coefficient of a regressor; `None` for an unknown name.
    pub fn coefficient(&self, name: &str) -> Option<&Coefficient> {
        self.coefficients.iter().find(|c| c.name == name)
    }

    /// The Wald test that the coefficients of these regressors are all 0. Agrees with statsmodels' `wald_test(use_f=True)`.
    ///
    /// # Errors
    /// No known name, or too few clusters for this many coefficients.
    pub fn wald(&self, names: &[&str]) -> Result<Wald, Undefined> {
        let wanted = |c: &Coefficient| names.contains(&c.name.as_str());
        let at: Vec<usize> = (0..self.coefficients.len()).filter(|i| wanted(&self.coefficients[*i])).collect();
        Undefined::unless_enough("coefficients to test", at.len(), 1)?;
        let value = DVector::from_iterator(at.len(), at.iter().map(|i| self.coefficients[*i].value));
        let covariance = DMatrix::from_fn(at.len(), at.len(), |i, j| self.covariance[(at[i], at[j])]);
        let needed = Undefined::TooFew { of: "clusters", n: self.clusters.unwrap_or(0), needed: at.len() + 1 };
        let f = value.dot(&Cholesky::new(covariance).ok_or(needed)?.solve(&value)) / at.len() as f64;
        Ok(Wald { f, df1: at.len(), df2: self.df, p: f_upper(f, at.len() as f64, self.df as f64) })
    }
}

#[cfg(test)]
mod tests {
    use super::super::ols;
    use super::*;

    #[test]
    fn repeated_rows_do_not_narrow_the_interval() {
        let noise = |i: usize| (i * 7919 % 101) as f64 / 10.0;
        let x: Vec<_> = (0..60).map(|i| Some(i as f64)).collect();
        let y: Vec<_> = (0..60).map(|i| Some(2.0 * i as f64 + noise(i))).collect();
        let twice = |v: &[Option<f64>]| [v, v].concat();
        let ids: Vec<usize> = (0..120).map(|i| i % 60).collect();
        let (x2, y2) = (twice(&x), twice(&y));
        let fit = ols(&y2, &[("x", &x2)]).unwrap();
        let clustered = fit.robust(Covariance::Clusters(&ids)).unwrap();
        let alone = ols(&y, &[("x", &x)]).unwrap().robust(Covariance::Clusters(&ids[..60])).unwrap();
        let (a, b) = (clustered.coefficient("x").unwrap(), alone.coefficient("x").unwrap());
        assert!((a.se / b.se - 1.0).abs() < 0.02 && clustered.clusters == Some(60), "{a:?} {b:?}");
        assert!(fit.coefficient("x").unwrap().se < 0.8 * a.se);
        assert!(
            fit.robust(Covariance::Clusters(&[0; 120])).is_err()
                && fit.robust(Covariance::Clusters(&ids[..5])).is_err()
        );
        assert!(clustered.wald(&["x"]).unwrap().p < 1e-9 && clustered.wald(&["z"]).is_err());
    }

    #[test]
    fn a_row_that_determines_a_coefficient_has_no_hc3() {
        let x = [0.0, 0.0, 0.0, 0.0, 1.0].map(Some);
        let y = [1.0, 2.0, 3.0, 4.0, 9.0].map(Some);
        let fit = ols(&y, &[("x", &x)]).unwrap();
        assert_eq!(fit.robust(Covariance::Hc3), Err(Undefined::FullLeverage));
    }
}
