use rand::{Rng, RngExt};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{TchError, Tensor};

use super::pixel_noise::change_randomly;
use super::{Amount, Change, DeviceImage, DeviceOperation, LabelledImage, Operation, SampleView, Step};
use crate::violation::Violations;

/// Normal noise of each pixel, independent of the others and of the grey level, as albumentations' `GaussNoise`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct GaussianNoise {
    /// Probability of the step, 0 to 1. Default 0.5.
    pub p: f64,
    /// Standard deviation as a share of 255: a number, or a pair to draw from. From 0 to 1; default `[0.2, 0.44]`,
    /// which is strong: the noise of a radiograph is around 0.02.
    pub sd: Amount,
    /// Mean as a share of 255: a number, or a pair to draw from. From -1 to 1; default 0.
    pub mean: Amount,
}

impl Default for GaussianNoise {
    fn default() -> Self {
        GaussianNoise { p: 0.5, sd: Amount::Between([0.2, 0.44]), mean: Amount::Fixed(0.0) }
    }
}

impl Step for GaussianNoise {
    fn p(&self) -> f64 {
        self.p
    }

    fn draw(&self, _view: &SampleView, rng: &mut ChaCha8Rng) -> Option<Change> {
        let [sd, mean] = [self.sd, self.mean].map(|share| (255.0 * share.draw(rng)) as f32);
        Some(Change::operation(Noise { sd, mean, seed: rng.random() }))
    }

    fn violations(&self) -> Violations {
        let mut wrong = Violations::new();
        self.sd.expect(&mut wrong, "sd", |v| (0.0..=1.0).contains(&v), "from 0 to 1");
        self.mean.expect(&mut wrong, "mean", |v| (-1.0..=1.0).contains(&v), "from -1 to 1");
        wrong
    }
}

/// Normal noise in grey levels.
struct Noise {
    sd: f32,
    mean: f32,
    seed: u64,
}

impl Noise {
    fn draw(&self, rng: &mut impl Rng) -> f32 {
        let unit: f32 = StandardNormal.sample(rng);
        self.mean + self.sd * unit
    }
}

impl Operation for Noise {
    fn apply(&self, image: &mut LabelledImage) {
        change_randomly(&mut image.levels, self.seed, |v, rng| *v = (*v + self.draw(rng)).clamp(0.0, 255.0));
    }

    fn on_device(&self) -> Option<&dyn DeviceOperation> {
        Some(self)
    }
}

impl DeviceOperation for Noise {
    fn apply(&self, image: &mut DeviceImage) -> Result<(), TchError> {
        // Drawn on the CPU, so that the device does not change the result.
        let mut noise = vec![0.0; image.levels.numel()];
        change_randomly(&mut noise, self.seed, |v, rng| *v = self.draw(rng));
        let noise = Tensor::f_from_slice(&noise)?.f_view_as(&image.levels)?.f_to_device(image.levels.device())?;
        image.levels = image.levels.f_add(&noise)?.f_clamp_(0.0, 255.0)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::augment::trial::{applied_by, assert_same_on_device, changed, noise};
    use crate::geometry::Size;

    /// Mean, standard deviation and fourth moment of 40,000 pixels.
    #[test]
    fn noise_is_normal() {
        let step = GaussianNoise { sd: Amount::Fixed(0.05), mean: Amount::Fixed(0.1), ..GaussianNoise::default() };
        let size = Size::square(200);
        let flat = LabelledImage::new(size, vec![100.0; size.pixels()], vec![0; size.pixels()]);
        let noise: Vec<f64> = changed(&step, flat, 4).iter().map(|v| f64::from(*v) - 125.5).collect();
        let moment = |k: i32| noise.iter().map(|v| (v / 12.75).powi(k)).sum::<f64>() / noise.len() as f64;
        // Four standard errors: 1, sqrt(2), sqrt(15), sqrt(96), each over 200.
        assert!(moment(1).abs() < 0.02 && (moment(2) - 1.0).abs() < 0.029, "{} {}", moment(1), moment(2));
        assert!(moment(3).abs() < 0.078 && (moment(4) - 3.0).abs() < 0.2, "{} {}", moment(3), moment(4));
    }

    #[test]
    fn samples_differ_and_levels_stay_in_range() {
        let step = GaussianNoise { sd: Amount::Fixed(0.5), ..GaussianNoise::default() };
        let [a, b] = [1, 2].map(|seed| applied_by(&step, &[128.0; 64], seed));
        assert_ne!(a, b);
        assert!(a.iter().all(|v| (0.0..=255.0).contains(v)) && a.contains(&0.0) && a.contains(&255.0));
        assert_same_on_device(&GaussianNoise::default(), &noise(1, false));
    }
}
