use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use tch::TchError;

use super::{Change, DeviceImage, DeviceOperation, LabelledImage, Operation, SampleView, Step, expect_share};
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

    fn draw(&self, _view: &SampleView, rng: &mut ChaCha8Rng) -> Option<Change> {
        let [brightness, contrast] = [self.brightness, self.contrast].map(|most| rng.random_range(-1.0..=1.0) * most);
        Some(Change::operation(Linear { factor: (1.0 + contrast) as f32, offset: (255.0 * brightness) as f32 }))
    }

    fn draws_from_size_alone(&self) -> bool {
        true
    }

    fn violations(&self) -> Violations {
        let mut wrong = Violations::new();
        expect_share(&mut wrong, "brightness", self.brightness);
        expect_share(&mut wrong, "contrast", self.contrast);
        wrong
    }
}

/// `v * factor + offset`, clamped to 0 to 255.
struct Linear {
    factor: f32,
    offset: f32,
}

impl Operation for Linear {
    fn apply(&self, image: &mut LabelledImage) {
        image.levels.iter_mut().for_each(|v| *v = v.mul_add(self.factor, self.offset).clamp(0.0, 255.0));
    }

    fn on_device(&self) -> Option<&dyn DeviceOperation> {
        Some(self)
    }
}

impl DeviceOperation for Linear {
    fn apply(&self, image: &mut DeviceImage) -> Result<(), TchError> {
        let [factor, offset] = [self.factor, self.offset].map(f64::from);
        image.levels = image.levels.f_mul_scalar(factor)?.f_add_scalar(offset)?.f_clamp_(0.0, 255.0)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::augment::list::tests::drawn;
    use crate::geometry::Size;

    #[test]
    fn grey_levels_by_hand() {
        let mut image = LabelledImage::new(Size { width: 3, height: 1 }, vec![0.0, 100.0, 250.0], vec![0; 3]);
        Operation::apply(&Linear { factor: 1.2, offset: 25.5 }, &mut image);
        assert_eq!(image.levels, [25.5, 145.5, 255.0]);
    }

    /// Two grey levels give `b` and `c`, which are drawn independently.
    #[test]
    fn draws_are_uniform_within_the_limits() {
        let step = BrightnessContrast { p: 1.0, brightness: 0.1, contrast: 0.3 };
        let drawn: Vec<[f64; 2]> = (0..4000)
            .map(|seed| {
                let pair = Size { width: 2, height: 1 };
                let Change::Operation(operation) = drawn(&step, pair, seed) else { panic!("an operation") };
                let mut image = LabelledImage::new(pair, vec![100.0, 150.0], vec![0; 2]);
                operation.apply(&mut image);
                let levels = image.levels;
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
