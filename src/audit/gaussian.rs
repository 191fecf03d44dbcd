//! A joint normal distribution of one measure of all 29 bones (place, shape or orientation), learnt from hands
//! that may have gaps and outliers, and what it says of each bone given the others.
//!
//! One distribution serves straight and bent wrists alike: the bend is one direction of the covariance, and a
//! bone is judged given all others, which fix how far this hand is bent and each finger spread.

use nalgebra::{Cholesky, DMatrix, DVector};

use crate::bones::COUNT;
use crate::stats::quantile_sorted;

/// A measure of each bone, in its first `dims` numbers; `None` where a hand lacks it.
pub type Values = [Option<[f64; 2]>; COUNT];

/// A bone against what the others predict for it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Residual {
    /// Measured less predicted.
    pub delta: [f64; 2],
    /// Mahalanobis distance, calibrated so that the population's median is that of a normal distribution.
    pub distance: f64,
}

/// A hand against the distribution.
#[derive(Clone, Debug, PartialEq)]
pub struct Screened {
    /// Bones that agree with each other.
    pub accepted: [bool; COUNT],
    /// Every measured bone given the accepted others.
    pub residuals: [Option<Residual>; COUNT],
    /// Squared Mahalanobis distance of the accepted bones together.
    pub chi2: f64,
    /// Measured bones that were not accepted.
    pub removed: usize,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Gaussian {
    dims: usize,
    mean: DVector<f64>,
    covariance: DMatrix<f64>,
    precision: DMatrix<f64>,
    calibration: [f64; COUNT],
    active: [bool; COUNT],
}

/// What is known of the bones that were kept: the precision of their marginal, zero elsewhere.
struct Given {
    precision: DMatrix<f64>,
    /// Precision times deviation from the mean.
    pull: DVector<f64>,
}

impl Gaussian {
    /// From a mean and a covariance of `29 * dims` numbers, bone after bone. Bones that are not `active` are
    /// never judged. `None` unless the covariance is positive definite.
    pub fn new(dims: usize, mean: DVector<f64>, covariance: DMatrix<f64>, active: [bool; COUNT]) -> Option<Self> {
        let precision = Cholesky::new(covariance.clone())?.inverse();
        if !covariance.iter().chain(&precision).all(|v| v.is_finite()) {
            return None;
        }
        Some(Gaussian { dims, mean, covariance, precision, calibration: [1.0; COUNT], active })
    }

    /// The same spread about another mean, one entry a bone.
    pub fn recentred(&self, centres: &[[f64; 2]]) -> Option<Gaussian> {
        let mean: Vec<f64> = centres.iter().flat_map(|c| c[..self.dims].to_vec()).collect();
        let mean = DVector::from_vec(mean);
        let ok = mean.len() == self.mean.len() && mean.iter().all(|m| m.is_finite());
        ok.then(|| Gaussian { mean, ..self.clone() })
    }

    /// Mean of a bone.
    pub fn mean(&self, bone: usize) -> [f64; 2] {
        self.block(bone, |i| self.mean[i])
    }

    /// Sum of a bone's variances.
    pub fn variance(&self, bone: usize) -> f64 {
        (0..self.dims).map(|d| self.covariance[(bone * self.dims + d, bone * self.dims + d)]).sum()
    }

    /// Whether the bone is judged.
    pub fn is_active(&self, bone: usize) -> bool {
        self.active[bone]
    }

    /// -2 log density (but for a constant) of `value` as a measure of `bone`, the other bones unknown; the
    /// squared distance in it is cut at `cap`.
    pub fn surprise(&self, bone: usize, value: [f64; 2], cap: f64) -> f64 {
        let block = self.square(&self.covariance, bone);
        let (inverse, determinant) = invert(block, self.dims);
        let delta = self.block(bone, |i| value[i - bone * self.dims] - self.mean[i]);
        quadratic(inverse, delta).min(cap) + determinant.max(f64::MIN_POSITIVE).ln()
    }

    /// Judges a hand: removes the bone farthest from what the others predict until all are within `limit`,
    /// then takes back any that the rest agrees with after all. At least half of the bones are kept.
    pub fn screen(&self, values: &Values, limit: f64) -> Screened {
        let measured: [bool; COUNT] = std::array::from_fn(|b| self.active[b] && values[b].is_some());
        let count = measured.iter().filter(|m| **m).count();
        let mut accepted = measured;
        let mut given = self.given(values, &accepted);
        let mut removed = 0;
        while removed < count / 2 {
            let worst = (0..COUNT)
                .filter(|b| accepted[*b])
                .map(|b| (b, self.leave_one_out(&given, b).distance))
                .max_by(|a, b| a.1.total_cmp(&b.1));
            let Some((bone, _)) = worst.filter(|w| w.1 > limit) else { break };
            accepted[bone] = false;
            removed += 1;
            self.drop_bone(&mut given.precision, bone);
            given.pull = self.pull(&given.precision, values, &accepted);
        }
        while removed > 0 {
            let nearest = (0..COUNT)
                .filter(|b| measured[*b] && !accepted[*b])
                .map(|b| (b, self.predicted(&given, b, values[b]).distance))
                .min_by(|a, b| a.1.total_cmp(&b.1));
            let Some((bone, _)) = nearest.filter(|n| n.1 <= limit) else { break };
            accepted[bone] = true;
            removed -= 1;
            given = self.given(values, &accepted);
        }
        let residuals = std::array::from_fn(|b| match (measured[b], accepted[b]) {
            (true, true) => Some(self.leave_one_out(&given, b)),
            (true, false) => Some(self.predicted(&given, b, values[b])),
            _ => None,
        });
        let chi2 = given.pull.dot(&self.deviation(values, &accepted));
        Screened { accepted, residuals, chi2, removed }
    }

    /// Mean and covariance of the hands' accepted measures, gaps filled in by expectation, drawn towards this
    /// distribution as if it were `strength` further hands; calibrated on the same hands. `None` where the
    /// result is no distribution (measures that are not finite).
    pub fn learnt(&self, prior: &Gaussian, hands: &[(Values, [bool; COUNT])], strength: f64) -> Option<Gaussian> {
        let size = self.mean.len();
        let n = hands.len() as f64;
        let mut filled = Vec::with_capacity(hands.len());
        let mut scatter = DMatrix::zeros(size, size);
        for (values, accepted) in hands {
            let given = self.given(values, accepted);
            let mut x = self.deviation(values, accepted);
            let gaps: Vec<usize> =
                (0..COUNT).filter(|b| !accepted[*b]).flat_map(|b| b * self.dims..(b + 1) * self.dims).collect();
            let through: Vec<DVector<f64>> =
                gaps.iter().map(|g| &given.precision * self.covariance.column(*g)).collect();
            for (g, through_g) in gaps.iter().zip(&through) {
                x[*g] = self.covariance.column(*g).dot(&given.pull);
                for h in &gaps {
                    scatter[(*g, *h)] += self.covariance[(*g, *h)] - through_g.dot(&self.covariance.column(*h));
                }
            }
            filled.push(x + &self.mean);
        }
        // The prior's place counts as two hands only: populations differ more in their mean than in how bones
        // move together.
        const MEAN_STRENGTH: f64 = 2.0;
        let sum = filled.iter().fold(DVector::zeros(size), |sum, x| sum + x);
        let mean = (sum + MEAN_STRENGTH * &prior.mean) / (n + MEAN_STRENGTH);
        for x in &filled {
            let d = x - &mean;
            scatter.ger(1.0, &d, &d, 1.0);
        }
        let covariance = (scatter + strength * &prior.covariance) / (n + strength);
        let mut learnt = Gaussian::new(self.dims, mean, covariance, self.active)?;
        learnt.calibrate(hands);
        Some(learnt)
    }

    /// Sets each bone's calibration from the hands' leave-one-out distances: by their median, or their 95 %
    /// quantile where tails are heavy; towards 1 where hands are few.
    fn calibrate(&mut self, hands: &[(Values, [bool; COUNT])]) {
        const HANDS_TO_TRUST: f64 = 30.0;
        // Median and 95 % quantile of the chi distribution with one and two degrees of freedom.
        let (middle, tail) = if self.dims == 1 { (0.6745, 1.96) } else { (1.1774, 2.4477) };
        let mut distances: Vec<Vec<f64>> = vec![Vec::new(); COUNT];
        for (values, accepted) in hands {
            let given = self.given(values, accepted);
            for bone in (0..COUNT).filter(|b| accepted[*b]) {
                distances[bone].push(self.leave_one_out(&given, bone).distance);
            }
        }
        for (bone, d) in distances.iter_mut().enumerate() {
            if d.is_empty() {
                continue;
            }
            d.sort_by(f64::total_cmp);
            let n = d.len() as f64;
            let found = (quantile_sorted(d, 0.5) / middle).max(quantile_sorted(d, 0.95) / tail).max(0.05);
            self.calibration[bone] = (found.ln() * n / (n + HANDS_TO_TRUST)).exp();
        }
    }

    fn given(&self, values: &Values, accepted: &[bool; COUNT]) -> Given {
        let mut precision = self.precision.clone();
        for bone in (0..COUNT).filter(|b| !accepted[*b]) {
            self.drop_bone(&mut precision, bone);
        }
        let pull = self.pull(&precision, values, accepted);
        Given { precision, pull }
    }

    /// The precision of the marginal without `bone`: Schur's complement.
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

    fn pull(&self, precision: &DMatrix<f64>, values: &Values, accepted: &[bool; COUNT]) -> DVector<f64> {
        precision * self.deviation(values, accepted)
    }

    /// An accepted bone given the other accepted ones.
    fn leave_one_out(&self, given: &Given, bone: usize) -> Residual {
        let (covariance, _) = invert(self.square(&given.precision, bone), self.dims);
        let pull = self.block(bone, |i| given.pull[i]);
        let distance = quadratic(covariance, pull).max(0.0).sqrt() / self.calibration[bone];
        Residual { delta: product(covariance, pull), distance }
    }

    /// A bone outside the accepted ones given them.
    fn predicted(&self, given: &Given, bone: usize, value: Option<[f64; 2]>) -> Residual {
        let mut covariance = self.square(&self.covariance, bone);
        let through: Vec<DVector<f64>> =
            (0..self.dims).map(|d| &given.precision * self.covariance.column(bone * self.dims + d)).collect();
        for (row, through) in covariance.iter_mut().zip(&through) {
            for (j, cell) in row.iter_mut().enumerate().take(self.dims) {
                *cell -= through.dot(&self.covariance.column(bone * self.dims + j));
            }
        }
        let value = value.unwrap_or(self.mean(bone));
        let delta = self
            .block(bone, |i| value[i - bone * self.dims] - self.mean[i] - self.covariance.column(i).dot(&given.pull));
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

/// Inverse and determinant of a symmetric 2x2 block, or of its first number where `dims` is 1.
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
    fn leaving_out_and_predicting_agree() {
        for dims in [1, 2] {
            let g = chain(dims);
            let mut values = at_mean(&g);
            values.iter_mut().enumerate().for_each(|(i, v)| v.as_mut().unwrap()[0] += 0.3 * (i as f64 * 1.7).sin());
            let all = g.given(&values, &[true; COUNT]);
            let mut but = [true; COUNT];
            but[11] = false;
            let (left, predicted) = (g.leave_one_out(&all, 11), g.predicted(&g.given(&values, &but), 11, values[11]));
            assert!((left.distance - predicted.distance).abs() < 1e-8, "{left:?} {predicted:?}");
            assert!((left.delta[0] - predicted.delta[0]).abs() < 1e-8);
        }
    }

    #[test]
    fn a_displaced_bone_is_removed_and_its_neighbours_stay() {
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
    fn learning_finds_mean_and_spread_despite_gaps() {
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
        let mut learnt = prior.clone();
        for _ in 0..4 {
            learnt = learnt.learnt(&prior, &hands, 5.0).unwrap();
        }
        for b in 0..COUNT {
            assert!((learnt.mean(b)[0] - truth.mean(b)[0]).abs() < 0.2, "bone {b}: {:?}", learnt.mean(b));
            assert!((learnt.variance(b) - 2.0).abs() < 0.4, "bone {b}: {}", learnt.variance(b));
        }
        assert!(learnt.covariance[(4, 5)] > 1.5, "neighbours are seen to move together");
    }

    #[test]
    fn only_a_positive_definite_covariance_makes_a_distribution() {
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
