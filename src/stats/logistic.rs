use nalgebra::{Cholesky, DMatrix, DVector};
use serde::Serialize;

use super::distributions::{normal_two_sided, z95};
use super::{Interval, Undefined};

/// A coefficient of a logistic regression.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LogisticCoefficient {
    /// `intercept`, or the column's name.
    pub name: String,
    /// Change of the log odds per unit of the column.
    pub value: f64,
    /// Standard error: from the inverse of the penalised information.
    pub se: f64,
    /// Two-sided p value for 0 by the normal approximation. With a penalty it is approximate.
    pub p: f64,
    /// 95 % confidence interval.
    pub ci: Interval,
}

/// A logistic regression with an intercept.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Logistic {
    /// Number of rows.
    pub n: usize,
    /// Number of rows of the second class.
    pub positive: usize,
    /// The intercept, then the columns in their order.
    pub coefficients: Vec<LogisticCoefficient>,
    /// Log-likelihood without the penalty.
    pub log_likelihood: f64,
    /// Newton steps.
    pub steps: usize,
}

/// Logistic regression of `is_positive` on complete columns, by Newton's method (iteratively reweighted least squares) with the
/// penalty ridge / 2 · Σ coefficient², without the intercept. Agrees with scikit-learn's `LogisticRegression(C=1/ridge)` and,
/// without penalty, with statsmodels' `Logit`.
///
/// # Errors
/// One class only, a constant column or one that others determine (without penalty), columns that separate the classes
/// (without penalty), or a negative penalty.
pub fn logistic(is_positive: &[bool], columns: &[(&str, &[f64])], ridge: f64) -> Result<Logistic, Undefined> {
    if !(ridge >= 0.0 && ridge.is_finite()) {
        return Err(Undefined::OutOfRange { of: "the ridge penalty", value: ridge.to_string(), expected: "0 or more" });
    }
    let (n, k) = (is_positive.len(), columns.len() + 1);
    let positive = is_positive.iter().filter(|p| **p).count();
    Undefined::unless_enough("rows of the smaller class", positive.min(n - positive), 1)?;
    let x = DMatrix::from_fn(n, k, |row, j| if j == 0 { 1.0 } else { columns[j - 1].1[row] });
    let y = DVector::from_iterator(n, is_positive.iter().map(|p| f64::from(u8::from(*p))));
    let penalty = DVector::from_fn(k, |j, _| if j == 0 { 0.0 } else { ridge });
    let objective = |b: &DVector<f64>| log_likelihood(&(&x * b), is_positive) - b.component_mul(b).dot(&penalty) / 2.0;
    let mut b = DVector::zeros(k);
    let mut value = objective(&b);
    let mut steps = 0;
    let information = loop {
        let linear = &x * &b;
        let p = linear.map(|v: f64| 1.0 / (1.0 + (-v).exp()));
        let gradient = x.tr_mul(&(&y - &p)) - b.component_mul(&penalty);
        let weights = p.map(|p| p * (1.0 - p));
        let mut weighted = x.clone();
        weighted.column_iter_mut().for_each(|mut column| column.component_mul_assign(&weights));
        let mut hessian = weighted.tr_mul(&x);
        (0..k).for_each(|j| hessian[(j, j)] += penalty[j]);
        let collinear = |of: String| Undefined::Determined { of };
        let triangle = Cholesky::new(hessian).ok_or_else(|| match linear.amax() > 15.0 {
            true => Undefined::Separated,
            false => collinear("a column".into()),
        })?;
        let step = triangle.solve(&gradient);
        if step.amax() <= 1e-10 * (1.0 + b.amax()) {
            b += step;
            break triangle.inverse();
        }
        steps += 1;
        if steps > 100 || linear.amax() > 200.0 {
            return Err(Undefined::Separated);
        }
        // Halved until the likelihood does not fall.
        let mut length = 1.0;
        loop {
            let next = &b + &step * length;
            let found = objective(&next);
            if found >= value - 1e-12 * value.abs() || length < 1e-6 {
                (b, value) = (next, found);
                break;
            }
            length /= 2.0;
        }
    };
    let names = std::iter::once("intercept").chain(columns.iter().map(|c| c.0));
    let coefficient = |(j, name): (usize, &str)| {
        let (value, se) = (b[j], information[(j, j)].sqrt());
        let ci = Interval { low: value - z95() * se, high: value + z95() * se };
        LogisticCoefficient { name: name.to_owned(), value, se, p: normal_two_sided(value / se), ci }
    };
    let coefficients = names.enumerate().map(coefficient).collect();
    Ok(Logistic { n, positive, coefficients, log_likelihood: log_likelihood(&(&x * &b), is_positive), steps })
}

fn log_likelihood(linear: &DVector<f64>, is_positive: &[bool]) -> f64 {
    // ln(1 + exp(v)) without overflow.
    let softplus = |v: f64| v.max(0.0) + (-v.abs()).exp().ln_1p();
    linear.iter().zip(is_positive).map(|(v, positive)| -softplus(if *positive { -*v } else { *v })).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_binary_column_gives_the_log_odds_ratio() {
        // 30 of 40 against 10 of 40: odds ratio 9.
        let x: Vec<f64> = (0..80).map(|i| f64::from(u8::from(i < 40))).collect();
        let y: Vec<bool> = (0..80).map(|i| if i < 40 { i < 30 } else { i < 50 }).collect();
        let fit = logistic(&y, &[("x", &x)], 0.0).unwrap();
        assert!((fit.coefficients[1].value - 9f64.ln()).abs() < 1e-9, "{fit:?}");
        let woolf = (1.0 / 30.0 + 1.0 / 10.0 + 1.0 / 10.0 + 1.0 / 30.0f64).sqrt();
        assert!((fit.coefficients[1].se - woolf).abs() < 1e-9);
        assert!(logistic(&y, &[("x", &x)], 5.0).unwrap().coefficients[1].value < fit.coefficients[1].value);
    }

    #[test]
    fn reasons_why_there_is_no_fit() {
        let x: Vec<f64> = (0..20).map(f64::from).collect();
        let y: Vec<bool> = (0..20).map(|i| i >= 9).collect();
        assert_eq!(logistic(&y, &[("x", &x)], 0.0), Err(Undefined::Separated));
        assert!(logistic(&y, &[("x", &x)], 1.0).is_ok());
        assert!(logistic(&[true; 20], &[("x", &x)], 1.0).is_err() && logistic(&y, &[("x", &x)], -1.0).is_err());
        let mixed: Vec<bool> = (0..20).map(|i| i % 3 == 0).collect();
        assert!(matches!(logistic(&mixed, &[("x", &[1.0; 20])], 0.0), Err(Undefined::Determined { .. })));
    }
}
