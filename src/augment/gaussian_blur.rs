use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Amount, Border, Change, LabelledImage, Operation, SampleView, Step};
use crate::violation::Violations;

/// Gaussian blur; the image is mirrored at its edge. As albumentations' `GaussianBlur` and OpenCV's `sepFilter2D`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct GaussianBlur {
    /// Probability of the step, 0 to 1. Default 0.5.
    pub p: f64,
    /// Standard deviation in px: a number, or a pair to draw from. From 0.1 to 100; default `[0.5, 3.0]`.
    pub sigma: Amount,
    /// Radius of the kernel in px, which has `2 radius + 1` pixels per side: a number, or a pair to draw from. Whole,
    /// from 0 to 400, where 0 is 3.5 `sigma` rounded down; default 0.
    pub radius: Amount,
}

impl Default for GaussianBlur {
    fn default() -> Self {
        GaussianBlur { p: 0.5, sigma: Amount::Between([0.5, 3.0]), radius: Amount::Fixed(0.0) }
    }
}

impl Step for GaussianBlur {
    fn p(&self) -> f64 {
        self.p
    }

    fn draw(&self, _view: &SampleView, rng: &mut ChaCha8Rng) -> Option<Change> {
        let sigma = self.sigma.draw(rng);
        let radius = match self.radius.draw_whole(rng) {
            0 => (3.5 * sigma) as u32,
            radius => radius,
        };
        Some(Change::operation(Convolution { kernel: kernel(sigma, radius) }))
    }

    fn violations(&self) -> Violations {
        let mut wrong = Violations::new();
        self.sigma.expect(&mut wrong, "sigma", |v| (0.1..=100.0).contains(&v), "from 0.1 to 100");
        self.radius.expect_whole(&mut wrong, "radius", 0, 400);
        wrong
    }
}

/// A normal density at whole numbers from `-radius` to `radius`, scaled to the sum 1.
fn kernel(sigma: f64, radius: u32) -> Vec<f32> {
    let radius = i64::from(radius);
    let density: Vec<f64> = (-radius..=radius).map(|x| (-0.5 * (x as f64 / sigma).powi(2)).exp()).collect();
    let sum: f64 = density.iter().sum();
    density.iter().map(|v| (v / sum) as f32).collect()
}

/// A convolution with the same kernel along rows and columns.
struct Convolution {
    kernel: Vec<f32>,
}

impl Convolution {
    fn radius(&self) -> usize {
        self.kernel.len() / 2
    }

    /// One row from the row `padded`, which has `radius` more pixels on each side.
    fn along_row(&self, padded: &[f32], result: &mut [f32]) {
        result.fill(0.0);
        for (i, weight) in self.kernel.iter().enumerate() {
            result.iter_mut().zip(&padded[i..]).for_each(|(sum, v)| *sum += weight * v);
        }
    }
}

impl Operation for Convolution {
    fn apply(&self, image: &mut LabelledImage) {
        let (width, height) = (image.size.width as usize, image.size.height as usize);
        if width == 0 || height == 0 {
            return;
        }
        let radius = self.radius();
        let mirrored = |i: usize, side: usize| {
            Border::Reflect.index(i as i64 - radius as i64, side as i64).expect("a mirrored side has all pixels")
        };
        let columns: Vec<usize> = (0..width + 2 * radius).map(|x| mirrored(x, width)).collect();
        let mut across = vec![0.0; image.levels.len()];
        across.par_chunks_mut(width).zip(image.levels.par_chunks(width)).for_each_init(Vec::new, |padded, rows| {
            let (result, row) = rows;
            padded.clear();
            padded.extend(columns.iter().map(|x| row[*x]));
            self.along_row(padded, result);
        });
        image.levels.par_chunks_mut(width).enumerate().for_each(|(y, result)| {
            result.fill(0.0);
            for (i, weight) in self.kernel.iter().enumerate() {
                let row = &across[mirrored(y + i, height) * width..][..width];
                result.iter_mut().zip(row).for_each(|(sum, v)| *sum += weight * v);
            }
            // The weights' sum may be 1 plus a rounding error.
            result.iter_mut().for_each(|v| *v = v.clamp(0.0, 255.0));
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::augment::trial::{applied, changed, noise};

    #[test]
    fn a_kernel_by_hand() {
        let k = kernel(1.0, 1);
        let side = (-0.5f64).exp() / (1.0 + 2.0 * (-0.5f64).exp());
        assert!((f64::from(k[0]) - side).abs() < 1e-7 && k[0] == k[2] && (k.iter().sum::<f32>() - 1.0).abs() < 1e-6);
        assert_eq!(kernel(0.1, 0), [1.0]);
    }

    #[test]
    fn a_row_by_hand() {
        let step = GaussianBlur { sigma: Amount::Fixed(1.0), radius: Amount::Fixed(1.0), ..GaussianBlur::default() };
        let [a, b, _, d] = applied(&step, &[0.0, 100.0, 0.0, 0.0]);
        let k = kernel(1.0, 1);
        // At the left edge, the pixel outside mirrors the second one.
        assert!((a - 200.0 * k[0]).abs() < 1e-3 && (b - 100.0 * k[1]).abs() < 1e-3 && d.abs() < 1e-3);
    }

    #[test]
    fn a_constant_image_stays_and_a_small_one_is_mirrored_repeatedly() {
        let step = GaussianBlur { sigma: Amount::Fixed(9.0), ..GaussianBlur::default() };
        assert!(applied(&step, &[255.0; 3]).iter().all(|v| (v - 255.0).abs() < 1e-3));
        let image = noise(3, false);
        let mean = |levels: &[f32]| levels.iter().sum::<f32>() / levels.len() as f32;
        assert!((mean(&changed(&step, image.clone(), 1)) - mean(&image.levels)).abs() < 4.0);
        let wrong = GaussianBlur { sigma: Amount::Fixed(0.0), radius: Amount::Fixed(0.5), ..step }.violations();
        assert_eq!(wrong.iter().map(|v| &*v.key).collect::<Vec<_>>(), ["sigma", "radius"]);
    }
}
