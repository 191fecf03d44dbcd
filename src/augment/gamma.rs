use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::TchError;

use super::{Amount, Change, DeviceImage, DeviceOperation, LabelledImage, Operation, SampleView, Step};
use crate::violation::Violations;

/// Gamma curve: grey level v becomes `255 (v / 255)^gamma`, as in albumentations' `RandomGamma`, which cuts the
/// fraction off where this is rounded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Gamma {
    /// Probability of the step, 0 to 1. Default 0.5.
    pub p: f64,
    /// Exponent; below 1 brightens, above 1 darkens: a number, or a pair to draw from. From 0.01 to 100; default
    /// `[0.8, 1.2]`.
    pub gamma: Amount,
}

impl Default for Gamma {
    fn default() -> Self {
        Gamma { p: 0.5, gamma: Amount::Between([0.8, 1.2]) }
    }
}

impl Step for Gamma {
    fn p(&self) -> f64 {
        self.p
    }

    fn draw(&self, _view: &SampleView, rng: &mut ChaCha8Rng) -> Option<Change> {
        Some(Change::operation(Power { exponent: self.gamma.draw(rng) }))
    }

    fn violations(&self) -> Violations {
        let mut wrong = Violations::new();
        self.gamma.expect(&mut wrong, "gamma", |v| (0.01..=100.0).contains(&v), "from 0.01 to 100");
        wrong
    }
}

/// `255 (v / 255)^exponent`.
struct Power {
    exponent: f64,
}

impl Power {
    fn at(&self, level: f32) -> f32 {
        single(255.0 * (f64::from(level) / 255.0).powf(self.exponent))
    }
}

/// A level in single precision, on the same side of a half, so that both round to the same whole level.
fn single(level: f64) -> f32 {
    let nearest = level as f32;
    if f64::from(nearest.round()) == level.round() {
        nearest
    } else if f64::from(nearest) > level {
        nearest.next_down()
    } else {
        nearest.next_up()
    }
}

impl Operation for Power {
    fn apply(&self, image: &mut LabelledImage) {
        // Nearly all levels are whole unless the image was resampled before.
        let whole: [f32; 256] = std::array::from_fn(|level| self.at(level as f32));
        image.levels.par_iter_mut().with_min_len(1 << 14).for_each(|v| {
            let below = *v as u8;
            *v = if f32::from(below) == *v { whole[usize::from(below)] } else { self.at(*v) };
        });
    }

    fn on_device(&self) -> Option<&dyn DeviceOperation> {
        Some(self)
    }
}

impl DeviceOperation for Power {
    fn apply(&self, image: &mut DeviceImage) -> Result<(), TchError> {
        let shares = image.levels.f_div_scalar(255.0)?;
        image.levels = shares.f_pow_tensor_scalar(self.exponent)?.f_mul_scalar(255.0)?.f_clamp_(0.0, 255.0)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::augment::list::tests::assert_uniform;
    use crate::augment::trial::{applied, applied_by, assert_same_on_device, noise};

    #[test]
    fn grey_levels_by_hand() {
        let step = Gamma { gamma: Amount::Fixed(2.0), ..Gamma::default() };
        let levels = applied(&step, &[0.0, 51.0, 127.5, 255.0]);
        assert_eq!(levels.map(f32::round), [0.0, 10.0, 64.0, 255.0]);
        assert_eq!(levels[2], 63.75);
    }

    #[test]
    fn single_precision_does_not_cross_a_half() {
        let below = 12.499_999_999_9;
        assert_eq!((below as f32).round(), 13.0, "the nearest single is the half itself");
        assert_eq!((single(below).round(), single(12.5), single(0.1)), (12.0, 12.5, 0.1));
    }

    #[test]
    fn exponents_are_uniform() {
        let step = Gamma { gamma: Amount::Between([0.5, 1.5]), ..Gamma::default() };
        let drawn: Vec<f64> = (0..4000)
            .map(|seed| {
                let [level] = applied_by(&step, &[100.0], seed);
                ((f64::from(level) / 255.0).ln() / (100.0f64 / 255.0).ln() - 1.0) / 0.5
            })
            .map(|v| v.clamp(-1.0, 1.0))
            .collect();
        assert_uniform(&drawn);
    }

    #[test]
    fn the_device_gives_the_same() {
        assert_same_on_device(&Gamma::default(), &noise(5, true));
        assert_same_on_device(&Gamma::default(), &noise(6, false));
    }

    #[test]
    fn values_out_of_range_are_refused() {
        let step = Gamma { gamma: Amount::Between([1.2, 0.8]), ..Gamma::default() };
        let text = step.violations().to_string();
        assert!(text.starts_with("gamma is [1.2, 0.8]; expected from 0.01 to 100"), "{text}");
    }
}
