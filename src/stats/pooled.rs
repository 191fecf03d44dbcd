use serde::Serialize;

use super::distributions::t_quantile_two_sided;
use super::summary::{finite, mean};

/// Standard deviation within groups, pooled over the groups.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct PooledSd {
    /// Standard deviation: square root of the sum of squared deviations from the groups' means, divided by `df`.
    pub sd: f64,
    /// Number of values in the groups.
    pub n: usize,
    /// Number of groups with at least two values.
    pub groups: usize,
    /// Degrees of freedom: `n - groups`.
    pub df: usize,
}

/// The standard deviation within groups, pooled over all groups with at least two finite values; `None` if there is no
/// such group. It is the square root of the mean square within groups of a one-way analysis of variance.
pub fn pooled_sd(groups: &[Vec<f64>]) -> Option<PooledSd> {
    let groups: Vec<Vec<f64>> = groups.iter().map(|values| finite(values)).filter(|values| values.len() > 1).collect();
    let squares = |values: &Vec<f64>| {
        let mean = mean(values);
        values.iter().map(|v| (v - mean).powi(2)).sum::<f64>()
    };
    let n: usize = groups.iter().map(Vec::len).sum();
    let df = n - groups.len();
    let sd = (groups.iter().map(squares).sum::<f64>() / df as f64).sqrt();
    (df > 0).then_some(PooledSd { sd, n, groups: groups.len(), df })
}

impl PooledSd {
    /// Half the width of the 95 % interval (Student's t) of the difference between the means of `n1` and of `n2` values
    /// that differ only by this deviation.
    pub fn bound(&self, n1: usize, n2: usize) -> f64 {
        t_quantile_two_sided(0.05, self.df as f64) * self.sd * (1.0 / n1 as f64 + 1.0 / n2 as f64).sqrt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_of_one_value_have_no_deviation() {
        assert_eq!(pooled_sd(&[]), None);
        assert_eq!(pooled_sd(&[vec![1.0], vec![f64::NAN, 2.0]]), None);
        // Squares: 2 in the first group, 2 in the second; 2 + 1 degrees of freedom.
        let found = pooled_sd(&[vec![1.0, 2.0, 3.0], vec![7.0], vec![5.0, 7.0]]).unwrap();
        assert_eq!((found.n, found.groups, found.df), (5, 2, 3));
        assert!((found.sd - (4.0f64 / 3.0).sqrt()).abs() < 1e-12);
        // t(3, .975) = 3.182446.
        assert!((found.bound(1, 1) - 3.182_446_305 * found.sd * 2f64.sqrt()).abs() < 1e-8);
    }
}
