use rand_chacha::ChaCha8Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::TchError;

use super::histogram::{LevelCounts, histogram, histogram_of_tensor};
use super::level_curve::LevelCurve;
use super::{Change, DeviceImage, DeviceOperation, LabelledImage, Operation, SampleView, Step};
use crate::violation::Violations;

/// LevelCounts equalisation of the whole image, as OpenCV's `equalizeHist` and albumentations' `Equalize`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Equalise {
    /// Probability of the step, 0 to 1. Default 0.5.
    pub p: f64,
}

impl Default for Equalise {
    fn default() -> Self {
        Equalise { p: 0.5 }
    }
}

impl Step for Equalise {
    fn p(&self) -> f64 {
        self.p
    }

    fn draw(&self, _view: &SampleView, _rng: &mut ChaCha8Rng) -> Option<Change> {
        Some(Change::operation(Equalisation))
    }

    fn violations(&self) -> Violations {
        Violations::new()
    }
}

/// Each level becomes its rank among the pixels above the darkest level.
struct Equalisation;

/// The curve that equalises an image with these counts; `None` if the image has one level only.
fn curve(counts: &LevelCounts) -> Option<LevelCurve> {
    let darkest = counts.iter().position(|n| *n > 0)?;
    let others: u64 = counts[darkest + 1..].iter().sum();
    if others == 0 {
        return None;
    }
    // In single precision and to the even number at a half, as OpenCV computes it.
    let scale = 255.0 / others as f32;
    let (mut table, mut sum) = ([0.0; 256], 0);
    for (level, n) in table.iter_mut().zip(counts).skip(darkest + 1) {
        sum += n;
        *level = (sum as f32 * scale).round_ties_even().min(255.0);
    }
    Some(LevelCurve(table))
}

impl Operation for Equalisation {
    fn apply(&self, image: &mut LabelledImage) {
        if let Some(curve) = curve(&histogram(&image.levels)) {
            curve.apply(&mut image.levels);
        }
    }

    fn on_device(&self) -> Option<&dyn DeviceOperation> {
        Some(self)
    }
}

impl DeviceOperation for Equalisation {
    fn apply(&self, image: &mut DeviceImage) -> Result<(), TchError> {
        if let Some(curve) = curve(&histogram_of_tensor(&image.levels)?) {
            image.levels = curve.of_tensor(&image.levels)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::augment::trial::{applied, assert_same_on_device, noise};

    #[test]
    fn four_pixels_by_hand() {
        // Three pixels are above the darkest level: 85 levels for each.
        assert_eq!(applied(&Equalise::default(), &[10.0, 20.0, 20.0, 200.0]), [0.0, 170.0, 170.0, 255.0]);
        assert_eq!(applied(&Equalise::default(), &[7.0, 7.0]), [7.0, 7.0]);
    }

    #[test]
    fn the_device_gives_the_same() {
        assert_same_on_device(&Equalise::default(), &noise(3, true));
        assert_same_on_device(&Equalise::default(), &noise(4, false));
    }
}
