use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Change, Step, expect_share};
use crate::violation::Violations;

/// Random brightness and contrast: grey level v becomes `v * (1 + c) + 255 b` with uniform `c` and `b`, as in
/// albumentations' `RandomBrightnessContrast`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct BrightnessContrast {
    /// Probability of the step, 0 to 1. Default 0.5.
    pub p: f64,
    /// Limit of `b` in `v * (1 + c) + 255 b`, where v is the grey level: `b` is drawn uniformly from `-brightness` to
    /// `brightness`. From 0 to below 1; default 0.2.
    pub brightness: f64,
    /// Limit of `c` in `v * (1 + c) + 255 b`: `c` is drawn uniformly from `-contrast` to `contrast`. From 0 to below 1;
    /// default 0.2.
    pub contrast: f64,
}

impl Default for BrightnessContrast {
    fn default() -> Self {
        BrightnessContrast { p: 0.5, brightness: 0.2, contrast: 0.2 }
    }
}

impl Step for BrightnessContrast {
    fn p(&self) -> f64 {
        self.p
    }

    fn draw(&self, _size: u32, rng: &mut ChaCha8Rng) -> Change {
        let [brightness, contrast] = [self.brightness, self.contrast].map(|most| rng.random_range(-1.0..=1.0) * most);
        Change::Pixels(Box::new(move |pixels| apply(pixels, brightness, contrast)))
    }

    fn violations(&self) -> Violations {
        let mut wrong = Violations::new();
        expect_share(&mut wrong, "brightness", self.brightness);
        expect_share(&mut wrong, "contrast", self.contrast);
        wrong
    }
}

/// `v * (1 + contrast) + 255 * brightness`, clamped to 0 to 255.
fn apply(pixels: &mut [f32], brightness: f64, contrast: f64) {
    let (alpha, beta) = ((1.0 + contrast) as f32, (255.0 * brightness) as f32);
    pixels.iter_mut().for_each(|v| *v = v.mul_add(alpha, beta).clamp(0.0, 255.0));
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn grey_levels_by_hand() {
        let mut pixels = [0.0, 100.0, 250.0];
        apply(&mut pixels, 0.1, 0.2);
        assert_eq!(pixels, [25.5, 145.5, 255.0]);
    }

    /// Two grey levels give `b` and `c`, which are drawn independently.
    #[test]
    fn draws_are_uniform_within_the_limits() {
        let step = BrightnessContrast { p: 1.0, brightness: 0.1, contrast: 0.3 };
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let drawn: Vec<[f64; 2]> = (0..4000)
            .map(|_| {
                let Change::Pixels(apply) = step.draw(8, &mut rng) else { panic!("the step only changes grey levels") };
                let mut levels = [100.0, 150.0];
                apply(&mut levels);
                let contrast = f64::from(levels[1] - levels[0]) / 50.0 - 1.0;
                [(f64::from(levels[0]) - 100.0 * (1.0 + contrast)) / 255.0, contrast]
            })
            .collect();
        for (i, limit) in [(0, 0.1), (1, 0.3)] {
            let values: Vec<f64> = drawn.iter().map(|d| d[i] / limit).collect();
            super::super::list::tests::assert_uniform(&values);
        }
        let product = drawn.iter().map(|d| d[0] / 0.1 * d[1] / 0.3).sum::<f64>() / 4000.0;
        assert!(product.abs() < 0.03, "brightness and contrast are correlated: {product}");
    }
}
