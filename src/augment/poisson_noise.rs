use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Poisson};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::pixel_noise::change_randomly;
use super::{Amount, Change, LabelledImage, Operation, SampleView, Step};
use crate::violation::Violations;

/// Shot noise, the noise of counted quanta: a pixel of level v counts n quanta, n from a Poisson distribution with
/// mean `(v / 255)^gamma / scale`, and becomes `255 (n scale)^(1 / gamma)`. The model of albumentations' `ShotNoise`,
/// whose gamma is 2.2.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct PoissonNoise {
    /// Probability of the step, 0 to 1. Default 0.5.
    pub p: f64,
    /// Share of white that one quantum adds; more is noisier: a number, or a pair to draw from. From 0.000001 to 1;
    /// default `[0.1, 0.3]`, which is strong: the noise of a radiograph is around 0.001.
    pub scale: Amount,
    /// Exponent that turns grey levels into a number of quanta; 1 where they are proportional: a number, or a pair to
    /// draw from. From 0.1 to 10; default 2.2.
    pub gamma: Amount,
}

impl Default for PoissonNoise {
    fn default() -> Self {
        PoissonNoise { p: 0.5, scale: Amount::Between([0.1, 0.3]), gamma: Amount::Fixed(2.2) }
    }
}

impl Step for PoissonNoise {
    fn p(&self) -> f64 {
        self.p
    }

    fn draw(&self, _view: &SampleView, rng: &mut ChaCha8Rng) -> Option<Change> {
        let [scale, gamma] = [self.scale, self.gamma].map(|amount| amount.draw(rng));
        Some(Change::operation(Quanta { scale, gamma, seed: rng.random() }))
    }

    fn violations(&self) -> Violations {
        let mut wrong = Violations::new();
        self.scale.expect(&mut wrong, "scale", |v| (1e-6..=1.0).contains(&v), "from 0.000001 to 1");
        self.gamma.expect(&mut wrong, "gamma", |v| (0.1..=10.0).contains(&v), "from 0.1 to 10");
        wrong
    }
}

/// The parameters of one sample. The noise depends on the level, so it is not additive and only made on the CPU.
struct Quanta {
    scale: f64,
    gamma: f64,
    seed: u64,
}

impl Operation for Quanta {
    fn apply(&self, image: &mut LabelledImage) {
        change_randomly(&mut image.levels, self.seed, |v, rng| {
            let mean = (f64::from(*v) / 255.0).powf(self.gamma) / self.scale;
            // A mean of 0 counts nothing; no other mean within the limits is refused.
            let count = Poisson::new(mean).map_or(0.0, |counts| counts.sample(rng));
            *v = (255.0 * (count * self.scale).powf(1.0 / self.gamma)).min(255.0) as f32;
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::augment::trial::{applied, changed};
    use crate::geometry::Size;

    /// Counts of 40,000 pixels: mean and variance are the same.
    #[test]
    fn counts_are_poisson() {
        let step = PoissonNoise { scale: Amount::Fixed(0.01), gamma: Amount::Fixed(1.0), ..PoissonNoise::default() };
        for level in [25.5f32, 127.5] {
            let size = Size::square(200);
            let flat = LabelledImage::new(size, vec![level; size.pixels()], vec![0; size.pixels()]);
            let counts: Vec<f64> = changed(&step, flat, 9).iter().map(|v| f64::from(*v) / 2.55).collect();
            assert!(counts.iter().all(|n| (n - n.round()).abs() < 1e-4), "whole numbers");
            let (n, expected) = (counts.len() as f64, f64::from(level) / 2.55);
            let mean = counts.iter().sum::<f64>() / n;
            let variance = counts.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n;
            // Four standard errors.
            assert!((mean - expected).abs() < 4.0 * (expected / n).sqrt(), "{mean}");
            assert!((variance - expected).abs() < 4.0 * expected * (3.0 / n).sqrt(), "{variance}");
        }
    }

    #[test]
    fn black_stays_black_and_fine_noise_is_small() {
        let step = PoissonNoise { scale: Amount::Fixed(1e-6), ..PoissonNoise::default() };
        let [black, grey, white] = applied(&step, &[0.0, 128.0, 255.0]);
        assert!(black == 0.0 && (grey - 128.0).abs() < 2.0 && white > 254.0);
        let zero = PoissonNoise { scale: Amount::Fixed(0.0), ..step };
        assert!(zero.violations().to_string().starts_with("scale is 0; expected from 0.000001 to 1"));
    }
}
