//! A joint normal distribution of one measure of all 29 bones (position, shape or orientation): estimation from
//! hands with missing bones and outliers, and comparison of each bone with its prediction from the other bones.
//!
//! One distribution describes straight and bent wrists: the bend is one direction of the covariance. Each bone is
//! compared given all other bones, which determine the bend of the wrist and the spread of the fingers.

use nalgebra::{Cholesky, DMatrix, DVector};

use crate::bones::COUNT;
use crate::stats::quantile_sorted;

/// A measure of each bone in the first `dims` numbers; `None` where it is unknown.
pub type Values = [Option<[f64; 2]>; COUNT];

/// A bone compared with its prediction from the other bones.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Residual {
    /// Measured minus predicted.
    pub delta: [f64; 2],
    /// Mahalanobis distance, calibrated so that its median over the population is that of a normal distribution.
    pub distance: f64,
}

/// A hand compared with the distribution.
#[derive(Clone, Debug, PartialEq)]
pub struct Screening {
    /// Bones that are consistent with each other.
    pub accepted: [bool; COUNT],
    /// Every measured bone given the other accepted bones.
    pub residuals: [Option<Residual>; COUNT],
    /// Squared Mahalanobis distance of all accepted bones.
    pub chi2: f64,
    /// Number of measured bones that are not accepted.
    pub removed: usize,
}

/// The distribution; see the description of the module.
#[derive(Clone, Debug)]
pub struct Gaussian {
    dims: usize,
    mean: DVector<f64>,
    covariance: DMatrix<f64>,
    precision: DMatrix<f64>,
    calibration: [f64; COUNT],
    active: [bool; COUNT],
}

/// The marginal distribution of the accepted bones.
struct Marginal {
    /// Precision matrix, zero for the other bones.
    precision: DMatrix<f64>,
    /// Precision times deviation from the mean.
    weighted: DVector<f64>,
}

impl Gaussian {
    /// Builds it from a mean of length `29 * dims` and a covariance, ordered by bone. Bones that are not `active`
    /// are ignored. `None` unless the covariance is positive definite.
    pub fn new(dims: usize, mean: DVector<f64>, covariance: DMatrix<f64>, active: [bool; COUNT]) -> Option<Self> {
        let precision = Cholesky::new(covariance.clone())?.inverse();
        if !covariance.iter().chain(&precision).all(|v| v.is_finite()) {
            return None;
        }
        Some(Gaussian { dims, mean, covariance, precision, calibration: [1.0; COUNT], active })
    }

    /// The same covariance around another mean, one entry per bone. `None` if the mean is not finite or has another
    /// length.
    pub fn recentred(&self, centres: &[[f64; 2]]) -> Option<Gaussian> {
        let mean: Vec<f64> = centres.iter().flat_map(|c| c[..self.dims].to_vec()).collect();
        let mean = DVector::from_vec(mean);
        let ok = mean.len() == self.mean.len() && mean.iter().all(|m| m.is_finite());
        ok.then(|| Gaussian { mean, ..self.clone() })
    }

    /// The mean of a bone.
    pub fn mean(&self, bone: usize) -> [f64; 2] {
        self.block(bone, |i| self.mean[i])
    }

    /// The sum of a bone's variances.
    pub fn variance(&self, bone: usize) -> f64 {
        (0..self.dims).map(|d| self.covariance[(bone * self.dims + d, bone * self.dims + d)]).sum()
    }

    /// Whether the bone is compared at all.
    pub fn is_active(&self, bone: usize) -> bool {
        self.active[bone]
    }

    /// -2 log density, up to a constant, of `value` as a measure of `bone` with the other bones unknown. Its squared
    /// distance is limited to `cap`.
    pub fn deviance(&self, bone: usize, value: [f64; 2], cap: f64) -> f64 {
        let block = self.square(&self.covariance, bone);
        let (inverse, determinant) = invert(block, self.dims);
        let delta = self.block(bone, |i| value[i - bone * self.dims] - self.mean[i]);
        quadratic(inverse, delta).min(cap) + determinant.max(f64::MIN_POSITIVE).ln()
    }

    /// Separates consistent bones from outliers: removes the bone with the largest distance from its prediction until
    /// all distances are at most `limit`, then accepts removed bones again that are within `limit` of the prediction
    /// by the rest. At least half of the bones are kept.
    pub fn screen(&self, values: &Values, limit: f64) -> Screening {
        let measured: [bool; COUNT] = std::array::from_fn(|b| self.active[b] && values[b].is_some());
        let count = measured.iter().filter(|m| **m).count();
        let mut accepted = measured;
        let mut marginal = self.marginal(values, &accepted);
        let mut removed = 0;
        while removed < count / 2 {
            let worst = (0..COUNT)
                .filter(|b| accepted[*b])
                .map(|b| (b, self.leave_one_out(&marginal, b).distance))
                .max_by(|a, b| a.1.total_cmp(&b.1));
            let Some((bone, _)) = worst.filter(|w| w.1 > limit) else { break };
            accepted[bone] = false;
            removed += 1;
            self.drop_bone(&mut marginal.precision, bone);
            marginal.weighted = self.weighted(&marginal.precision, values, &accepted);
        }
        while removed > 0 {
            let nearest = (0..COUNT)
                .filter(|b| measured[*b] && !accepted[*b])
                .map(|b| (b, self.predicted(&marginal, b, values[b]).distance))
                .min_by(|a, b| a.1.total_cmp(&b.1));
            let Some((bone, _)) = nearest.filter(|n| n.1 <= limit) else { break };
            accepted[bone] = true;
            removed -= 1;
            marginal = self.marginal(values, &accepted);
        }
        let residuals = std::array::from_fn(|b| match (measured[b], accepted[b]) {
            (true, true) => Some(self.leave_one_out(&marginal, b)),
            (true, false) => Some(self.predicted(&marginal, b, values[b])),
            _ => None,
        });
        let chi2 = marginal.weighted.dot(&self.deviation(values, &accepted));
        Screening { accepted, residuals, chi2, removed }
    }

    /// One step of expectation maximisation (EM): mean and covariance of the hands' accepted measures, with missing
    /// measures replaced by their expectation under this distribution. `prior` counts as `strength` additional
    /// hands. The result is calibrated on the same hands. `None` if a measure is not finite.
    pub fn em_step(&self, prior: &Gaussian, hands: &[(Values, [bool; COUNT])], strength: f64) -> Option<Gaussian> {
        let size = self.mean.len();
        let n = hands.len() as f64;
        let mut filled = Vec::with_capacity(hands.len());
        let mut scatter = DMatrix::zeros(size, size);
        for (values, accepted) in hands {
            let marginal = self.marginal(values, accepted);
            let mut x = self.deviation(values, accepted);
            let gaps: Vec<usize> =
                (0..COUNT).filter(|b| !accepted[*b]).flat_map(|b| b * self.dims..(b + 1) * self.dims).collect();
            let through: Vec<DVector<f64>> =
                gaps.iter().map(|g| &marginal.precision * self.covariance.column(*g)).collect();
            for (g, through_g) in gaps.iter().zip(&through) {
                x[*g] = self.covariance.column(*g).dot(&marginal.weighted);
                for h in &gaps {
                    scatter[(*g, *h)] += self.covariance[(*g, *h)] - through_g.dot(&self.covariance.column(*h));
                }
            }
            filled.push(x + &self.mean);
        }
        // The mean of the prior counts as two hands only: populations differ more in their mean than in their
        // covariance.
        const MEAN_STRENGTH: f64 = 2.0;
        let sum = filled.iter().fold(DVector::zeros(size), |sum, x| sum + x);
        let mean = (sum + MEAN_STRENGTH * &prior.mean) / (n + MEAN_STRENGTH);
        for x in &filled {
            let d = x - &mean;
            scatter.ger(1.0, &d, &d, 1.0);
        }
        let covariance = (scatter + strength * &prior.covariance) / (n + strength);
        let mut estimate = Gaussian::new(self.dims, mean, covariance, self.active)?;
        estimate.calibrate(hands);
        Some(estimate)
    }

    /// Sets the calibration of each bone from the hands' leave-one-out distances: from their median, or from their
    /// 95 % quantile where the tails are heavy. With few hands it is close to 1.
    fn calibrate(&mut self, hands: &[(Values, [bool; COUNT])]) {
        const PRIOR_HANDS: f64 = 30.0;
        // Median and 95 % quantile of the chi distribution with one and two degrees of freedom.
        let (middle, tail) = if self.dims == 1 { (0.6745, 1.96) } else { (1.1774, 2.4477) };
        let mut distances: Vec<Vec<f64>> = vec![Vec::new(); COUNT];
        for (values, accepted) in hands {
            let marginal = self.marginal(values, accepted);
            for bone in (0..COUNT).filter(|b| accepted[*b]) {
                distances[bone].push(self.leave_one_out(&marginal, bone).distance);
            }
        }
        for (bone, d) in distances.iter_mut().enumerate() {
            if d.is_empty() {
                continue;
            }
            d.sort_by(f64::total_cmp);
            let n = d.len() as f64;
            let ratio = (quantile_sorted(d, 0.5) / middle).max(quantile_sorted(d, 0.95) / tail).max(0.05);
            self.calibration[bone] = (ratio.ln() * n / (n + PRIOR_HANDS)).exp();
        }
    }

    fn marginal(&self, values: &Values, accepted: &[bool; COUNT]) -> Marginal {
        let mut precision = self.precision.clone();
        for bone in (0..COUNT).filter(|b| !accepted[*b]) {
            self.drop_bone(&mut precision, bone);
        }
        let weighted = self.weighted(&precision, values, accepted);
        Marginal { precision, weighted }
    }

    /// Removes `bone` from the precision matrix of a marginal: Schur complement.
    fn drop_bone(&self, precision: &mut DMatrix<f64>, bone: usize) {
        for i in (bone * self.dims)..(bone + 1) * self.dims {
            let pivot = precision[(i, i)];
            if pivot <= 0.0 {
                continue;
            }
            let column = precision.column(i).into_owned();
            precision.ger(-1.0 / pivot, &column, &column, 1.0);
            precision.row_mut(i).fill(0.0);
            precision.column_mut(i).fill(0.0);
        }
    }

    fn deviation(&self, values: &Values, accepted: &[bool; COUNT]) -> DVector<f64> {
        let mut x = DVector::zeros(self.mean.len());
        for bone in (0..COUNT).filter(|b| accepted[*b]) {
            if let Some(value) = values[bone] {
                for d in 0..self.dims {
                    x[bone * self.dims + d] = value[d] - self.mean[bone * self.dims + d];
                }
            }
        }
        x
    }

    fn weighted(&self, precision: &DMatrix<f64>, values: &Values, accepted: &[bool; COUNT]) -> DVector<f64> {
        precision * self.deviation(values, accepted)
    }

    /// An accepted bone given the other accepted bones.
    fn leave_one_out(&self, marginal: &Marginal, bone: usize) -> Residual {
        let (covariance, _) = invert(self.square(&marginal.precision, bone), self.dims);
        let weighted = self.block(bone, |i| marginal.weighted[i]);
        let distance = quadratic(covariance, weighted).max(0.0).sqrt() / self.calibration[bone];
        Residual { delta: product(covariance, weighted), distance }
    }

    /// A bone that is not accepted, given the accepted bones.
    fn predicted(&self, marginal: &Marginal, bone: usize, value: Option<[f64; 2]>) -> Residual {
        let mut covariance = self.square(&self.covariance, bone);
        let through: Vec<DVector<f64>> =
            (0..self.dims).map(|d| &marginal.precision * self.covariance.column(bone * self.dims + d)).collect();
        for (row, through) in covariance.iter_mut().zip(&through) {
            for (j, cell) in row.iter_mut().enumerate().take(self.dims) {
                *cell -= through.dot(&self.covariance.column(bone * self.dims + j));
            }
        }
        let value = value.unwrap_or(self.mean(bone));
        let delta = self.block(bone, |i| {
            value[i - bone * self.dims] - self.mean[i] - self.covariance.column(i).dot(&marginal.weighted)
        });
        let (inverse, _) = invert(covariance, self.dims);
        let distance = quadratic(inverse, delta).max(0.0).sqrt() / self.calibration[bone];
        Residual { delta, distance }
    }

    fn block(&self, bone: usize, at: impl Fn(usize) -> f64) -> [f64; 2] {
        let first = bone * self.dims;
        [at(first), if self.dims == 2 { at(first + 1) } else { 0.0 }]
    }

    fn square(&self, m: &DMatrix<f64>, bone: usize) -> [[f64; 2]; 2] {
        let i = bone * self.dims;
        if self.dims == 1 {
            return [[m[(i, i)], 0.0], [0.0, 1.0]];
        }
        [[m[(i, i)], m[(i, i + 1)]], [m[(i + 1, i)], m[(i + 1, i + 1)]]]
    }
}

/// Inverse and determinant of a symmetric 2x2 block, or of its first number if `dims` is 1.
fn invert(m: [[f64; 2]; 2], dims: usize) -> ([[f64; 2]; 2], f64) {
    if dims == 1 {
        let v = m[0][0].max(f64::MIN_POSITIVE);
        return ([[1.0 / v, 0.0], [0.0, 0.0]], v);
    }
    let determinant = (m[0][0] * m[1][1] - m[0][1] * m[1][0]).max(f64::MIN_POSITIVE);
    let i = 1.0 / determinant;
    ([[m[1][1] * i, -m[0][1] * i], [-m[1][0] * i, m[0][0] * i]], determinant)
}

fn product(m: [[f64; 2]; 2], v: [f64; 2]) -> [f64; 2] {
    [m[0][0] * v[0] + m[0][1] * v[1], m[1][0] * v[0] + m[1][1] * v[1]]
}

fn quadratic(m: [[f64; 2]; 2], v: [f64; 2]) -> f64 {
    let p = product(m, v);
    v[0] * p[0] + v[1] * p[1]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(dims: usize) -> Gaussian {
        let size = COUNT * dims;
        let covariance = DMatrix::from_fn(size, size, |i, j| {
            let same = if i % dims == j % dims { 1.0 } else { 0.2 };
            4.0 * same * (-0.1 * ((i / dims) as f64 - (j / dims) as f64).abs()).exp()
        });
        Gaussian::new(dims, DVector::from_fn(size, |i, _| i as f64), covariance, [true; COUNT]).unwrap()
    }

    fn at_mean(g: &Gaussian) -> Values {
        std::array::from_fn(|b| Some(g.mean(b)))
    }

    #[test]
    fn leave_one_out_equals_prediction_from_the_others() {
        for dims in [1, 2] {
            let g = chain(dims);
            let mut values = at_mean(&g);
            values.iter_mut().enumerate().for_each(|(i, v)| v.as_mut().unwrap()[0] += 0.3 * (i as f64 * 1.7).sin());
            let all = g.marginal(&values, &[true; COUNT]);
            let mut others = [true; COUNT];
            others[11] = false;
            let (left, predicted) =
                (g.leave_one_out(&all, 11), g.predicted(&g.marginal(&values, &others), 11, values[11]));
            assert!((left.distance - predicted.distance).abs() < 1e-8, "{left:?} {predicted:?}");
            assert!((left.delta[0] - predicted.delta[0]).abs() < 1e-8);
        }
    }

    #[test]
    fn a_displaced_bone_is_removed_and_its_neighbours_are_kept() {
        let g = chain(2);
        let mut values = at_mean(&g);
        values[7].as_mut().unwrap()[0] += 9.0;
        values[3] = None;
        let screened = g.screen(&values, 4.5);
        assert_eq!(screened.removed, 1);
        assert!(!screened.accepted[7] && !screened.accepted[3]);
        let residual = screened.residuals[7].unwrap();
        assert!((residual.delta[0] - 9.0).abs() < 1e-6 && residual.distance > 9.0, "{residual:?}");
        assert!(screened.residuals[8].unwrap().distance < 1e-6);
        assert_eq!(screened.residuals[3], None);
    }

    #[test]
    fn estimation_finds_mean_and_variance_despite_missing_bones() {
        let truth = chain(1);
        let flat = DMatrix::from_diagonal_element(COUNT, COUNT, 4.0);
        let prior = Gaussian::new(1, DVector::zeros(COUNT), flat, [true; COUNT]).unwrap();
        let hands: Vec<(Values, [bool; COUNT])> = (0..600u64)
            .map(|h| {
                // A slow wave along the chain: neighbours move together.
                let phase = (h as f64 * 0.618_034).fract() * std::f64::consts::TAU;
                let values: Values =
                    std::array::from_fn(|b| Some([truth.mean(b)[0] + 2.0 * (phase + 0.05 * b as f64).sin(), 0.0]));
                (values, std::array::from_fn(|b| !(h as usize + b).is_multiple_of(10)))
            })
            .collect();
        let mut estimate = prior.clone();
        for _ in 0..4 {
            estimate = estimate.em_step(&prior, &hands, 5.0).unwrap();
        }
        for b in 0..COUNT {
            assert!((estimate.mean(b)[0] - truth.mean(b)[0]).abs() < 0.2, "bone {b}: {:?}", estimate.mean(b));
            assert!((estimate.variance(b) - 2.0).abs() < 0.4, "bone {b}: {}", estimate.variance(b));
        }
        assert!(estimate.covariance[(4, 5)] > 1.5, "neighbours are correlated");
    }

    #[test]
    fn a_covariance_that_is_not_positive_definite_is_refused() {
        for (variance, covariance) in [(1.0, 1.0), (-1.0, 0.0), (f64::NAN, 0.0), (f64::INFINITY, 0.0), (1.0, f64::NAN)]
        {
            let mut matrix = DMatrix::identity(COUNT, COUNT);
            matrix[(3, 3)] = variance;
            (matrix[(3, 4)], matrix[(4, 3)]) = (covariance, covariance);
            let gaussian = Gaussian::new(1, DVector::zeros(COUNT), matrix, [true; COUNT]);
            assert!(gaussian.is_none(), "{variance} {covariance}");
        }
    }
}
