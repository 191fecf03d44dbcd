//! Robust statistics: a few outliers hardly change them.

use nalgebra::{Cholesky, DMatrix, DVector};

use super::quantile_sorted;

/// Standard deviation of a normal distribution divided by its median absolute deviation (MAD).
const MAD_TO_SD: f64 = 1.4826;

/// The median; `None` for no values.
pub fn median(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    (!values.is_empty()).then(|| quantile_sorted(&values, 0.5))
}

/// The median, and the standard deviation estimated from the median absolute deviation; `None` for no values.
pub fn centre_and_spread(values: &[f64]) -> Option<(f64, f64)> {
    let centre = median(values.iter().copied())?;
    let spread = median(values.iter().map(|v| (v - centre).abs()))? * MAD_TO_SD;
    Some((centre, spread))
}

/// Coefficients of a robust linear regression: least squares, iteratively reweighted with Tukey's biweight (c = 4.685)
/// of the residuals in units of their MAD. Each row of `x` has the regressors, including the constant. `None` if there
/// are fewer than two rows per column, or the columns are collinear.
pub fn regression(x: &[Vec<f64>], y: &[f64]) -> Option<Vec<f64>> {
    const TUKEY: f64 = 4.685;
    const MIN_UNEXPLAINED: f64 = 1e-10;
    let columns = x.first()?.len();
    if x.len() < 2 * columns {
        return None;
    }
    let (x, y) = (DMatrix::from_fn(x.len(), columns, |i, j| x[i][j]), DVector::from_column_slice(y));
    let mut weights = DVector::from_element(x.nrows(), 1.0);
    let mut coefficients = DVector::zeros(columns);
    for _ in 0..20 {
        let mut weighted = x.clone();
        weighted.column_iter_mut().for_each(|mut column| column.component_mul_assign(&weights));
        let normal = weighted.tr_mul(&x);
        let triangle = Cholesky::new(normal.clone())?;
        // The share of a column that the columns before it do not explain.
        let unexplained = |j: usize| triangle.l_dirty()[(j, j)].powi(2) / normal[(j, j)];
        if (0..columns).any(|j| unexplained(j) < MIN_UNEXPLAINED) {
            return None;
        }
        coefficients = triangle.solve(&weighted.tr_mul(&y));
        let residuals = &y - &x * &coefficients;
        let spread = (median(residuals.iter().map(|r| r.abs()))? * MAD_TO_SD).max(1e-9);
        weights = residuals.map(|r| {
            let u = r / (TUKEY * spread);
            if u.abs() < 1.0 { (1.0 - u * u).powi(2) } else { 0.0 }
        });
    }
    Some(coefficients.as_slice().to_vec())
}

/// The regression's value at one row of regressors.
pub fn predict(coefficients: &[f64], row: &[f64]) -> f64 {
    coefficients.iter().zip(row).map(|(c, x)| c * x).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outliers_do_not_change_the_centre() {
        let mut values: Vec<f64> = (0..99).map(|i| f64::from(i % 11)).collect();
        let clean = centre_and_spread(&values).unwrap();
        values.extend([1e9; 20]);
        let (centre, spread) = centre_and_spread(&values).unwrap();
        assert!((centre - clean.0).abs() <= 1.0 && spread < 2.0 * clean.1, "{centre} {spread} from {clean:?}");
        assert_eq!(centre_and_spread(&[]), None);
        assert_eq!((median([3.0, 1.0, 2.0, 4.0]), median([])), (Some(2.5), None));
    }

    #[test]
    fn regression_ignores_a_fifth_of_outliers() {
        let x: Vec<Vec<f64>> = (0..50).map(|i| vec![1.0, f64::from(i)]).collect();
        let y: Vec<f64> = (0..50)
            .map(|i| if i % 5 == 0 { 900.0 } else { 3.0 + 2.0 * f64::from(i) + 0.01 * f64::from(i % 3) })
            .collect();
        let c = regression(&x, &y).unwrap();
        assert!((c[0] - 3.0).abs() < 0.1 && (c[1] - 2.0).abs() < 0.01, "{c:?}");
        assert_eq!(regression(&x[..3], &y[..3]), None);
        // A column that is a linear combination of the others, except for rounding.
        let double: Vec<Vec<f64>> = x.iter().map(|row| vec![row[0], row[1], 0.1 * row[1] + 0.3]).collect();
        assert_eq!(regression(&double, &y), None);
    }
}
