//! Statistics that a few wild values cannot move.

use super::matrix::Matrix;

/// Standard deviation of a normal distribution over its median absolute deviation.
const MAD_TO_SD: f64 = 1.4826;

/// The `q` quantile (0 to 1) by linear interpolation; `None` for no values. Sorts `values`.
pub fn quantile(values: &mut [f64], q: f64) -> Option<f64> {
    if values.is_empty() {
        return None;
    }
    values.sort_by(f64::total_cmp);
    let at = q.clamp(0.0, 1.0) * (values.len() - 1) as f64;
    let (low, high) = (values[at.floor() as usize], values[at.ceil() as usize]);
    Some(low + (high - low) * at.fract())
}

/// The median; `None` for no values.
pub fn median(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    quantile(&mut values.into_iter().collect::<Vec<_>>(), 0.5)
}

/// Median, and the standard deviation that the median absolute deviation stands for; `None` for no values.
pub fn centre_and_spread(values: &[f64]) -> Option<(f64, f64)> {
    let centre = median(values.iter().copied())?;
    let spread = median(values.iter().map(|v| (v - centre).abs()))? * MAD_TO_SD;
    Some((centre, spread))
}

/// Coefficients of a linear regression that outliers hardly move: least squares, reweighted with Tukey's
/// biweight (c = 4.685) on residuals in units of their MAD. Each row of `x` holds the regressors, the constant
/// among them. `None` where there are fewer rows than twice the columns, or the columns depend on each other.
pub fn regression(x: &[Vec<f64>], y: &[f64]) -> Option<Vec<f64>> {
    const TUKEY: f64 = 4.685;
    let columns = x.first()?.len();
    if x.len() < 2 * columns {
        return None;
    }
    let mut weights = vec![1.0; x.len()];
    let mut coefficients = Vec::new();
    for _ in 0..20 {
        let mut normal = Matrix::zero(columns);
        let mut right = vec![0.0; columns];
        for ((row, y), w) in x.iter().zip(y).zip(&weights) {
            for i in 0..columns {
                right[i] += w * row[i] * y;
                for j in 0..columns {
                    normal[(i, j)] += w * row[i] * row[j];
                }
            }
        }
        coefficients = normal.inverse()?.times(&right);
        let residuals: Vec<f64> = x.iter().zip(y).map(|(row, y)| y - predict(&coefficients, row)).collect();
        let spread = (median(residuals.iter().map(|r| r.abs()))? * MAD_TO_SD).max(1e-9);
        for (w, r) in weights.iter_mut().zip(&residuals) {
            let u = r / (TUKEY * spread);
            *w = if u.abs() < 1.0 { (1.0 - u * u).powi(2) } else { 0.0 };
        }
    }
    Some(coefficients)
}

/// The regression's value at one row of regressors.
pub fn predict(coefficients: &[f64], row: &[f64]) -> f64 {
    coefficients.iter().zip(row).map(|(c, x)| c * x).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wild_values_do_not_move_the_centre() {
        let mut values: Vec<f64> = (0..99).map(|i| f64::from(i % 11)).collect();
        let clean = centre_and_spread(&values).unwrap();
        values.extend([1e9; 20]);
        let (centre, spread) = centre_and_spread(&values).unwrap();
        assert!((centre - clean.0).abs() <= 1.0 && spread < 2.0 * clean.1, "{centre} {spread} from {clean:?}");
        assert_eq!(centre_and_spread(&[]), None);
        assert_eq!(quantile(&mut [3.0, 1.0, 2.0, 4.0], 0.5), Some(2.5));
    }

    #[test]
    fn regression_ignores_a_fifth_of_wild_rows() {
        let x: Vec<Vec<f64>> = (0..50).map(|i| vec![1.0, f64::from(i)]).collect();
        let y: Vec<f64> = (0..50)
            .map(|i| if i % 5 == 0 { 900.0 } else { 3.0 + 2.0 * f64::from(i) + 0.01 * f64::from(i % 3) })
            .collect();
        let c = regression(&x, &y).unwrap();
        assert!((c[0] - 3.0).abs() < 0.1 && (c[1] - 2.0).abs() < 0.01, "{c:?}");
        assert_eq!(regression(&x[..3], &y[..3]), None);
    }
}
