use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;
use rayon::prelude::*;
use statrs::function::erf::erfc_inv;

use super::Displacement;
use crate::geometry::Size;

/// Nodes per standard deviation of a smooth field. Halfway between four nodes bilinear interpolation lowers the variance
/// by `1 / (4 * 6²)` = 0.7 %, on average by 0.5 %.
const NODES_PER_SIGMA: f64 = 6.0;
/// Standard deviation in px from which a lattice has at most a node every second pixel.
const COARSE: f64 = 2.0 * NODES_PER_SIGMA;
/// Half the width of the Gaussian in standard deviations, as in OpenCV's for single precision.
const REACH: f64 = 4.0;

/// White noise (one standard normal number per pixel and direction) smoothed by a Gaussian of standard deviation
/// `sigma` px and multiplied by `factor`: a displacement with standard deviation `factor / (2 sqrt(pi) sigma)` px, and
/// autocorrelation `exp(-d² / (4 sigma²))` at distance d px. The noise continues beyond the image, so that the
/// displacements at its edges are like the others.
///
/// A small `sigma` is computed pixel by pixel. Otherwise the noise is drawn on a coarser lattice, where the Gaussian is
/// narrower by the same factor, and scaled to the same variance: the autocorrelation is the same as well.
pub(super) fn smooth_noise(size: Size, sigma: f64, factor: f64, rng: &mut ChaCha8Rng) -> Displacement {
    let [columns, rows] = [size.width, size.height].map(|side| Side::new(side, sigma));
    let energy = Gaussian::new(sigma).energy;
    let scale = factor * energy / (columns.gaussian.energy * rows.gaussian.energy).sqrt();
    let [x, y] = [(); 2].map(|()| smoothed(&columns, &rows, scale as f32, rng));
    let by = x.into_iter().zip(y).map(|(x, y)| [x, y]).collect();
    Displacement::new(size, columns.nodes, by).expect("full rows")
}

/// The greatest absolute value of `n` draws from the standard normal distribution, drawn itself.
pub(super) fn greatest_of(n: usize, rng: &mut impl Rng) -> f64 {
    let u: f64 = rng.random_range(f64::MIN_POSITIVE..1.0);
    // All of them are within a bound with probability `u`, one of them with `u^(1/n)`.
    let outside = -(u.ln() / n as f64).exp_m1();
    std::f64::consts::SQRT_2 * erfc_inv(outside)
}

/// The nodes along one side of an image, and the Gaussian in nodes.
struct Side {
    nodes: usize,
    gaussian: Gaussian,
}

impl Side {
    fn new(pixels: u32, sigma: f64) -> Side {
        let last = f64::from(pixels) - 1.0;
        if sigma < COARSE || last == 0.0 {
            return Side { nodes: pixels as usize, gaussian: Gaussian::new(sigma) };
        }
        let cells = (last * NODES_PER_SIGMA / sigma).ceil();
        Side { nodes: cells as usize + 1, gaussian: Gaussian::new(sigma * cells / last) }
    }
}

/// Weights of a Gaussian at whole distances, with sum 1.
struct Gaussian {
    weights: Vec<f32>,
    /// Sum of the squares of the weights: the variance of smoothed white noise.
    energy: f64,
}

impl Gaussian {
    fn new(sigma: f64) -> Gaussian {
        let reach = (REACH * sigma).round();
        let exact: Vec<f64> =
            (0..=2 * reach as i64).map(|i| (-((i as f64 - reach) / sigma).powi(2) / 2.0).exp()).collect();
        let sum: f64 = exact.iter().sum();
        let energy = exact.iter().map(|w| (w / sum).powi(2)).sum();
        Gaussian { weights: exact.iter().map(|w| (w / sum) as f32).collect(), energy }
    }

    /// Adds the weighted sum of the values around each place: `result[i]` those from `values[i]` on.
    fn smooth(&self, values: &[f32], result: &mut [f32]) {
        for (i, weight) in self.weights.iter().enumerate() {
            add(*weight, &values[i..], result);
        }
    }
}

fn add(weight: f32, values: &[f32], result: &mut [f32]) {
    result.iter_mut().zip(values).for_each(|(r, v)| *r += weight * v);
}

/// Smoothed noise at the nodes, row-major.
fn smoothed(columns: &Side, rows: &Side, scale: f32, rng: &mut ChaCha8Rng) -> Vec<f32> {
    let wide = columns.nodes + columns.gaussian.weights.len() - 1;
    // Every row has a generator of its own, so that threads do not change the numbers.
    let seeds: Vec<u64> = (1..rows.nodes + rows.gaussian.weights.len()).map(|_| rng.random()).collect();
    let mut across = vec![0.0; seeds.len() * columns.nodes];
    across.par_chunks_mut(columns.nodes).zip(seeds).for_each(|(row, seed)| {
        let mut own = ChaCha8Rng::seed_from_u64(seed);
        let noise: Vec<f32> = (0..wide).map(|_| scale * own.sample::<f32, _>(StandardNormal)).collect();
        columns.gaussian.smooth(&noise, row);
    });
    let mut result = vec![0.0; rows.nodes * columns.nodes];
    result.par_chunks_mut(columns.nodes).enumerate().for_each(|(y, row)| {
        for (i, weight) in rows.gaussian.weights.iter().enumerate() {
            add(*weight, &across[(y + i) * columns.nodes..], row);
        }
    });
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::Point;

    /// Mean square and autocorrelation at distances sigma and 2 sigma of many fields, with that of white noise
    /// smoothed pixel by pixel. There are some 20,000 independent values: the standard error of the variance is 1 %.
    #[test]
    fn variance_and_autocorrelation_are_those_of_the_dense_field() {
        for (sigma, side, draws, dense) in [(3.0, 160, 50, true), (12.0, 600, 50, false), (40.0, 1500, 75, false)] {
            let size = Size { width: side, height: side - 7 };
            let mut rng = ChaCha8Rng::seed_from_u64(sigma as u64);
            let (mut squares, mut products, mut count) = (0.0, [[0.0; 2]; 2], 0.0);
            for _ in 0..draws {
                let field = smooth_noise(size, sigma, 1000.0, &mut rng);
                assert_eq!(field.columns() == side as usize, dense);
                let at = |x: f64, y: f64| {
                    let p = field.apply(Point::new(x, y));
                    [p.x - x, p.y - y]
                };
                let stride = 0.8 * sigma + 0.37;
                let mut y = 0.0;
                while y < f64::from(size.height) - 2.0 * sigma {
                    let mut x = 0.0;
                    while x < f64::from(side) - 2.0 * sigma {
                        let here = at(x, y);
                        for (i, d) in [sigma, 2.0 * sigma].into_iter().enumerate() {
                            let (right, below) = (at(x + d, y), at(x, y + d));
                            for axis in 0..2 {
                                products[i][0] += here[axis] * right[axis];
                                products[i][1] += here[axis] * below[axis];
                            }
                        }
                        squares += here[0] * here[0] + here[1] * here[1];
                        count += 2.0;
                        x += stride;
                    }
                    y += stride;
                }
            }
            let energy = Gaussian::new(sigma).energy;
            let ratio = squares / count / (1000.0 * energy).powi(2);
            assert!((ratio - 1.0).abs() < 0.03, "sigma {sigma}: variance {ratio} of the dense field's");
            for (i, expected) in [(-0.25f64).exp(), (-1.0f64).exp()].into_iter().enumerate() {
                for product in products[i] {
                    let correlation = product / squares;
                    assert!((correlation - expected).abs() < 0.03, "sigma {sigma}: {correlation}, not {expected}");
                }
            }
        }
    }

    /// Exact: the variance at any place of the lattice is that of the pixel's own sum of weights, without draws.
    #[test]
    fn interpolation_lowers_the_variance_by_less_than_a_hundredth() {
        for (pixels, sigma) in [(2048, 50.0), (777, 12.0), (1024, 300.0), (64, 20.0)] {
            let side = Side::new(pixels, sigma);
            let (g, dense) = (&side.gaussian, Gaussian::new(sigma));
            let shifted: f64 = g.weights.iter().zip(&g.weights[1..]).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
            // Halfway between two nodes along each axis, relative to the nodes, where the variance is exact.
            let halfway = ((g.energy + shifted) / 2.0 / g.energy).powi(2);
            assert!((0.99..1.0).contains(&halfway), "{pixels} {sigma}: {halfway}");
            // The two Gaussians are sampled closely enough to have the area of the continuous one.
            let continuous = |s: f64| 1.0 / (2.0 * std::f64::consts::PI.sqrt() * s);
            let cells = (side.nodes - 1) as f64 / (f64::from(pixels) - 1.0);
            assert!((g.energy / continuous(sigma * cells) - 1.0).abs() < 1e-3);
            assert!((dense.energy / continuous(sigma) - 1.0).abs() < 1e-3);
        }
    }

    #[test]
    fn the_greatest_of_many_normal_numbers_has_its_distribution() {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let (n, draws) = (500, 3000);
        let quick: Vec<f64> = (0..draws).map(|_| greatest_of(n, &mut rng)).collect();
        let direct: Vec<f64> = (0..draws)
            .map(|_| (0..n).map(|_| rng.sample::<f64, _>(StandardNormal).abs()).fold(0.0, f64::max))
            .collect();
        let moments = |values: &[f64]| {
            let mean = values.iter().sum::<f64>() / draws as f64;
            (mean, (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / draws as f64).sqrt())
        };
        let ((a, b), (c, d)) = (moments(&quick), moments(&direct));
        // The standard deviation is 0.33: errors of 0.009 and 0.007 of the differences.
        assert!((a - c).abs() < 0.035 && (b - d).abs() < 0.03, "{a} {b}; {c} {d}");
    }
}
