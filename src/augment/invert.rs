use rand_chacha::ChaCha8Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::TchError;

use super::{Change, DeviceImage, DeviceOperation, LabelledImage, Operation, SampleView, Step};
use crate::violation::Violations;

/// Negative: grey level v becomes `255 - v`, as in albumentations' `InvertImg`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Invert {
    /// Probability of the step, 0 to 1. Default 0.5.
    pub p: f64,
}

impl Default for Invert {
    fn default() -> Self {
        Invert { p: 0.5 }
    }
}

impl Step for Invert {
    fn p(&self) -> f64 {
        self.p
    }

    fn draw(&self, _view: &SampleView, _rng: &mut ChaCha8Rng) -> Option<Change> {
        Some(Change::operation(Negative))
    }

    fn violations(&self) -> Violations {
        Violations::new()
    }
}

/// `255 - v`.
struct Negative;

impl Operation for Negative {
    fn apply(&self, image: &mut LabelledImage) {
        image.levels.iter_mut().for_each(|v| *v = 255.0 - *v);
    }

    fn on_device(&self) -> Option<&dyn DeviceOperation> {
        Some(self)
    }
}

impl DeviceOperation for Negative {
    fn apply(&self, image: &mut DeviceImage) -> Result<(), TchError> {
        image.levels = image.levels.f_neg()?.f_add_scalar(255.0)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::augment::trial::{applied, assert_same_on_device, noise};

    #[test]
    fn levels_are_mirrored() {
        assert_eq!(applied(&Invert::default(), &[0.0, 100.25, 255.0]), [255.0, 154.75, 0.0]);
        assert_same_on_device(&Invert::default(), &noise(2, false));
    }
}
