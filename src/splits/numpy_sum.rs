//! Sums of floating-point numbers in numpy's order. Fold scores are compared exactly, so the last bit of a sum can decide a tie.

/// Longest array that numpy adds in eight interleaved sums; it halves longer ones.
const BLOCK: usize = 128;

/// `np.sum` of a contiguous array: pairwise summation (Higham, 1993) with numpy's block sizes.
pub fn pairwise_sum(values: &[f64]) -> f64 {
    let n = values.len();
    if n < 8 {
        return values.iter().fold(0.0, |sum, v| sum + v);
    }
    if n <= BLOCK {
        let mut sums: [f64; 8] = values[..8].try_into().expect("n >= 8");
        let mut eights = values[8..].chunks_exact(8);
        for eight in &mut eights {
            for (sum, v) in sums.iter_mut().zip(eight) {
                *sum += v;
            }
        }
        let [a, b, c, d, e, f, g, h] = sums;
        let sum = ((a + b) + (c + d)) + ((e + f) + (g + h));
        return eights.remainder().iter().fold(sum, |sum, v| sum + v);
    }
    let half = n / 2 - n / 2 % 8;
    pairwise_sum(&values[..half]) + pairwise_sum(&values[half..])
}

/// `np.mean` of a contiguous array.
pub fn mean(values: &[f64]) -> f64 {
    pairwise_sum(values) / values.len() as f64
}

/// `np.std` (population standard deviation) of a contiguous row.
pub fn row_std(row: &[f64]) -> f64 {
    let mean = mean(row);
    let squares: Vec<f64> = row.iter().map(|v| (v - mean) * (v - mean)).collect();
    (pairwise_sum(&squares) / row.len() as f64).sqrt()
}

/// `np.std(a, axis=0)` of a C-ordered array with `rows` rows: one value per column.
///
/// numpy adds row after row; a single column is contiguous, and is added pairwise.
pub fn column_stds(values: &[f64], rows: usize) -> Vec<f64> {
    let columns = values.len() / rows;
    if columns == 1 {
        return vec![row_std(values)];
    }
    let n = rows as f64;
    let mut means = vec![0.0; columns];
    for row in values.chunks_exact(columns) {
        for (sum, v) in means.iter_mut().zip(row) {
            *sum += v;
        }
    }
    for mean in &mut means {
        *mean /= n;
    }
    let mut variances = vec![0.0; columns];
    for row in values.chunks_exact(columns) {
        for ((sum, v), mean) in variances.iter_mut().zip(row).zip(&means) {
            *sum += (v - mean) * (v - mean);
        }
    }
    variances.into_iter().map(|sum| (sum / n).sqrt()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_of_every_length_are_close_to_exact() {
        for n in 0..400usize {
            let values: Vec<f64> = (0..n).map(|i| 0.1 * i as f64).collect();
            let exact = 0.1 * (n * n.saturating_sub(1) / 2) as f64;
            assert!((pairwise_sum(&values) - exact).abs() <= 1e-9 * exact.max(1.0), "{n}");
        }
    }

    #[test]
    fn standard_deviation_of_columns_and_rows() {
        assert_eq!(column_stds(&[1.0, 5.0, 3.0, 5.0], 2), [1.0, 0.0]);
        assert_eq!(column_stds(&[1.0, 3.0], 2), [1.0]);
        assert_eq!(row_std(&[2.0, 2.0, 2.0]), 0.0);
    }
}
