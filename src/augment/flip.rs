use rand_chacha::ChaCha8Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Change, Geometry, SampleView, Step};
use crate::geometry::Affine;
use crate::violation::Violations;

/// Left-right mirror image, as albumentations' `HorizontalFlip`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Flip {
    /// Probability of the step, 0 to 1. Default 0.5.
    pub p: f64,
}

impl Default for Flip {
    fn default() -> Self {
        Flip { p: 0.5 }
    }
}

impl Step for Flip {
    fn p(&self) -> f64 {
        self.p
    }

    fn draw(&self, view: &SampleView, _rng: &mut ChaCha8Rng) -> Option<Change> {
        let mirrored = Affine::scale_shift(-1.0, 1.0, f64::from(view.size().width) - 1.0, 0.0);
        Some(Change::Geometry { source_from_target: Geometry::Affine(mirrored), border: None })
    }

    fn draws_from_size_alone(&self) -> bool {
        true
    }

    fn violations(&self) -> Violations {
        Violations::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::augment::list::tests::drawn;
    use crate::geometry::{Point, Size};

    #[test]
    fn column_0_is_read_from_the_last_column() {
        let change = drawn(&Flip::default(), Size { width: 64, height: 32 }, 1);
        let Change::Geometry { source_from_target, border: None } = change else { panic!("a map within the image") };
        assert!(source_from_target.apply(Point::new(0.0, 5.0)).distance(Point::new(63.0, 5.0)) < 1e-9);
    }
}
