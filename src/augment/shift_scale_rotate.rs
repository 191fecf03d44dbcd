use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Border, Change, Geometry, SampleView, Step, expect_share};
use crate::geometry::{Affine, ModelSpace, Point, Size};
use crate::violation::Violations;

/// Random shift, scale and rotation about the centre, each uniform, as in albumentations' `ShiftScaleRotate`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ShiftScaleRotate {
    /// Probability of the step, 0 to 1. Default 0.5.
    pub p: f64,
    /// Greatest shift in each direction, as a share of the side. From 0 to below 1; default 0.0625.
    pub shift: f64,
    /// The scale is between `1 - scale` and `1 + scale`. From 0 to below 1; default 0.1.
    pub scale: f64,
    /// Greatest rotation in each direction, in degrees. From 0 to 180; default 45.
    pub rotate: f64,
    /// Pixels outside the image: `black` (without labels), or `reflect` (the image mirrored at its edge). Default
    /// `black`.
    pub border: Border,
}

impl Default for ShiftScaleRotate {
    fn default() -> Self {
        ShiftScaleRotate { p: 0.5, shift: 0.0625, scale: 0.1, rotate: 45.0, border: Border::Black }
    }
}

/// The parameters of one sample.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Parameters {
    /// Degrees, positive clockwise as seen (y is down).
    rotate: f64,
    /// Scale factor; 1 keeps the size.
    scale: f64,
    /// Shift to the right and down, as shares of the side.
    shift: [f64; 2],
}

impl ShiftScaleRotate {
    fn parameters(&self, rng: &mut ChaCha8Rng) -> Parameters {
        let [rotate, scale, x, y] = std::array::from_fn(|_| rng.random_range(-1.0..=1.0f64));
        Parameters {
            rotate: rotate * self.rotate,
            scale: 1.0 + scale * self.scale,
            shift: [x * self.shift, y * self.shift],
        }
    }
}

impl Parameters {
    fn source_from_target(self, size: Size) -> Affine<ModelSpace, ModelSpace> {
        let Point { x, y } = size.centre();
        let (sin, cos) = self.rotate.to_radians().sin_cos();
        let (sin, cos) = (self.scale * sin, self.scale * cos);
        let to_centre = Affine::<ModelSpace, ModelSpace>::shift(-x, -y);
        let turned = Affine::<ModelSpace, ModelSpace>::new([cos, -sin, 0.0, sin, cos, 0.0]);
        let shift = [self.shift[0] * f64::from(size.width), self.shift[1] * f64::from(size.height)];
        let back = Affine::<ModelSpace, ModelSpace>::shift(x + shift[0], y + shift[1]);
        let target_from_source: Affine<ModelSpace, ModelSpace> = to_centre.then(&turned).then(&back);
        target_from_source.inverse().expect("a scale above 0 can be undone")
    }
}

impl Step for ShiftScaleRotate {
    fn p(&self) -> f64 {
        self.p
    }

    fn draw(&self, view: &SampleView, rng: &mut ChaCha8Rng) -> Option<Change> {
        let source_from_target = Geometry::Affine(self.parameters(rng).source_from_target(view.size()));
        Some(Change::Geometry { source_from_target, border: Some(self.border) })
    }

    fn draws_from_size_alone(&self) -> bool {
        true
    }

    fn violations(&self) -> Violations {
        let mut wrong = Violations::new();
        expect_share(&mut wrong, "shift", self.shift);
        expect_share(&mut wrong, "scale", self.scale);
        wrong.expect((0.0..=180.0).contains(&self.rotate), "rotate", self.rotate, "degrees from 0 to 180");
        wrong
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn maps_by_hand() {
        // A quarter turn clockwise brings what was at the top to the right.
        let still = Parameters { rotate: 0.0, scale: 1.0, shift: [0.0; 2] };
        let turn = Parameters { rotate: 90.0, ..still }.source_from_target(Size::square(65));
        assert!(turn.apply(Point::new(64.0, 32.0)).distance(Point::new(32.0, 0.0)) < 1e-9);
        // A shift by a quarter to the right reads a quarter to the left.
        let shift = Parameters { shift: [0.25, 0.0], ..still }.source_from_target(Size::square(64));
        assert!(shift.apply(Point::new(20.0, 7.0)).distance(Point::new(4.0, 7.0)) < 1e-9);
        // Twice the size reads half as far from the centre.
        let scale = Parameters { scale: 2.0, ..still }.source_from_target(Size::square(65));
        assert!(scale.apply(Point::new(64.0, 32.0)).distance(Point::new(48.0, 32.0)) < 1e-9);
    }

    #[test]
    fn draws_are_uniform_within_the_limits() {
        let step = ShiftScaleRotate { shift: 0.2, scale: 0.4, rotate: 30.0, ..ShiftScaleRotate::default() };
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let drawn: Vec<Parameters> = (0..4000).map(|_| step.parameters(&mut rng)).collect();
        let values = |of: fn(&Parameters) -> f64, limit: f64| drawn.iter().map(|d| of(d) / limit).collect::<Vec<_>>();
        for values in [
            values(|d| d.rotate, 30.0),
            values(|d| d.scale - 1.0, 0.4),
            values(|d| d.shift[0], 0.2),
            values(|d| d.shift[1], 0.2),
        ] {
            super::super::list::tests::assert_uniform(&values);
        }
    }
}
