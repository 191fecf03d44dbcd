use rand_chacha::ChaCha8Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Change, Geometry, Step};
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

    fn draw(&self, size: u32, _rng: &mut ChaCha8Rng) -> Change {
        let mirrored = Affine::scale_shift(-1.0, 1.0, f64::from(size) - 1.0, 0.0);
        Change::Geometry { source_from_target: Geometry::Affine(mirrored), border: None }
    }

    fn violations(&self) -> Violations {
        Violations::new()
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;
    use crate::geometry::Point;

    #[test]
    fn column_0_is_read_from_the_last_column() {
        let change = Flip::default().draw(64, &mut ChaCha8Rng::seed_from_u64(1));
        let Change::Geometry { source_from_target, border: None } = change else { panic!("a map within the image") };
        assert!(source_from_target.apply(Point::new(0.0, 5.0)).distance(Point::new(63.0, 5.0)) < 1e-9);
    }
}
