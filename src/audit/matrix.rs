//! Small symmetric matrices: what the population model needs of linear algebra.

use std::ops::{Index, IndexMut};

/// A square matrix, row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct Matrix {
    n: usize,
    data: Vec<f64>,
}

impl Matrix {
    /// All zero.
    pub fn zero(n: usize) -> Self {
        Matrix { n, data: vec![0.0; n * n] }
    }

    /// Rows and columns.
    pub fn size(&self) -> usize {
        self.n
    }

    /// One row.
    pub fn row(&self, i: usize) -> &[f64] {
        &self.data[i * self.n..(i + 1) * self.n]
    }

    /// One row, to be changed.
    pub fn row_mut(&mut self, i: usize) -> &mut [f64] {
        &mut self.data[i * self.n..(i + 1) * self.n]
    }

    /// Product with a vector.
    pub fn times(&self, v: &[f64]) -> Vec<f64> {
        (0..self.n).map(|i| dot(self.row(i), v)).collect()
    }

    /// The inverse by Cholesky's decomposition; `None` unless symmetric positive definite.
    pub fn inverse(&self) -> Option<Matrix> {
        let n = self.n;
        let mut lower = Matrix::zero(n);
        for i in 0..n {
            for j in 0..=i {
                let rest = self[(i, j)] - dot(&lower.row(i)[..j], &lower.row(j)[..j]);
                if i == j {
                    if !(rest > 0.0 && rest.is_finite()) {
                        return None;
                    }
                    lower[(i, i)] = rest.sqrt();
                } else {
                    lower[(i, j)] = rest / lower[(j, j)];
                }
            }
        }
        // Columns of the inverse of the lower triangle, kept as rows.
        let mut columns = Matrix::zero(n);
        for c in 0..n {
            columns[(c, c)] = 1.0 / lower[(c, c)];
            for i in c + 1..n {
                let sum = dot(&lower.row(i)[c..i], &columns.row(c)[c..i]);
                columns[(c, i)] = -sum / lower[(i, i)];
            }
        }
        let mut inverse = Matrix::zero(n);
        for i in 0..n {
            for j in 0..=i {
                let value = dot(&columns.row(i)[i..], &columns.row(j)[i..]);
                inverse[(i, j)] = value;
                inverse[(j, i)] = value;
            }
        }
        Some(inverse)
    }
}

/// Scalar product.
pub fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

impl Index<(usize, usize)> for Matrix {
    type Output = f64;

    fn index(&self, (i, j): (usize, usize)) -> &f64 {
        &self.data[i * self.n + j]
    }
}

impl IndexMut<(usize, usize)> for Matrix {
    fn index_mut(&mut self, (i, j): (usize, usize)) -> &mut f64 {
        &mut self.data[i * self.n + j]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inverse_times_matrix_is_one() {
        let n = 9;
        let mut m = Matrix::zero(n);
        for i in 0..n {
            for j in 0..n {
                m[(i, j)] = (-0.3 * (i as f64 - j as f64).abs()).exp() * (1.0 + i as f64) * (1.0 + j as f64);
            }
        }
        let inverse = m.inverse().unwrap();
        for i in 0..n {
            for j in 0..n {
                let column: Vec<f64> = (0..n).map(|k| inverse[(k, j)]).collect();
                let expected = if i == j { 1.0 } else { 0.0 };
                assert!((dot(m.row(i), &column) - expected).abs() < 1e-9);
            }
        }
    }

    #[test]
    fn a_singular_matrix_has_no_inverse() {
        let mut m = Matrix::zero(2);
        m.data = vec![1.0, 1.0, 1.0, 1.0];
        assert_eq!(m.inverse(), None);
        m.data = vec![1.0, f64::NAN, f64::NAN, 1.0];
        assert_eq!(m.inverse(), None);
    }
}
