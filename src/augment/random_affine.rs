use rand_chacha::ChaCha8Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Amount, Border, Change, Geometry, SampleView, Step};
use crate::geometry::{Affine, ModelSpace, Point, Size};
use crate::violation::Violations;

/// Scale, rotation, shear and shift about the centre, in this order, as in albumentations' `Affine`. The defaults there
/// change nothing; these are mild.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct RandomAffine {
    /// Probability of the step, 0 to 1. Default 0.5.
    pub p: f64,
    /// Factor of the size: a number, or a pair from which width and height are drawn each. From 0.01 to 100;
    /// default [0.9, 1.1].
    pub scale: Amount,
    /// Whether width and height have the same factor. Default false.
    pub keep_ratio: bool,
    /// Shift to the right and down, as a share of the side: a number, or a pair from which both are drawn each. From
    /// -1 to 1; default [-0.05, 0.05]. albumentations rounds it to whole px; this step does not.
    pub translate: Amount,
    /// Rotation in degrees, counter-clockwise if positive, as in albumentations. From -360 to 360; default [-15, 15].
    pub rotate: Amount,
    /// Shear in degrees along x and y: a number, or a pair from which both are drawn each. Above -45 and below 45;
    /// default [-5, 5].
    pub shear: Amount,
    /// Pixels outside the image: `black` (without labels), or `reflect` (the image mirrored at its edge). Default
    /// `black`.
    pub border: Border,
}

impl Default for RandomAffine {
    fn default() -> Self {
        RandomAffine {
            p: 0.5,
            scale: Amount::Between([0.9, 1.1]),
            keep_ratio: false,
            translate: Amount::Between([-0.05, 0.05]),
            rotate: Amount::Between([-15.0, 15.0]),
            shear: Amount::Between([-5.0, 5.0]),
            border: Border::Black,
        }
    }
}

/// The map that takes a place relative to the centre of the image by the matrix `linear` (row-major) and then shifts
/// it by `shift` px, read backwards; `None` if the matrix is flat.
pub(super) fn about_centre(size: Size, linear: [f64; 4], shift: Point) -> Option<Affine<ModelSpace, ModelSpace>> {
    let Point { x, y } = size.centre();
    let [a, b, c, d] = linear;
    let to_centre = Affine::<ModelSpace, ModelSpace>::shift(-x, -y);
    let turned = Affine::<ModelSpace, ModelSpace>::new([a, b, x + shift.x, c, d, y + shift.y]);
    let target_from_source: Affine<ModelSpace, ModelSpace> = to_centre.then(&turned);
    target_from_source.inverse()
}

/// The matrix of a rotation by `degrees` clockwise as seen (y is down), row-major.
pub(super) fn clockwise(degrees: f64) -> [f64; 4] {
    let (sin, cos) = degrees.to_radians().sin_cos();
    [cos, -sin, sin, cos]
}

impl Step for RandomAffine {
    fn p(&self) -> f64 {
        self.p
    }

    fn draw(&self, view: &SampleView, rng: &mut ChaCha8Rng) -> Option<Change> {
        let size = view.size();
        let [x, y] = [size.width, size.height].map(|side| self.translate.draw(rng) * f64::from(side));
        let [shear_x, shear_y] = [(); 2].map(|()| -self.shear.draw(rng).to_radians().tan());
        let scale_x = self.scale.draw(rng);
        let scale_y = if self.keep_ratio { scale_x } else { self.scale.draw(rng) };
        let [a, b, c, d] = clockwise(-self.rotate.draw(rng));
        let (a, b, c, d) = (a * scale_x, b * scale_y, c * scale_x, d * scale_y);
        let linear = [a + shear_x * c, b + shear_x * d, c + shear_y * a, d + shear_y * b];
        let map = about_centre(size, linear, Point::new(x, y)).expect("a scale above 0 and shears below 45 degrees");
        Some(Change::Geometry { source_from_target: Geometry::Affine(map), border: Some(self.border) })
    }

    fn draws_from_size_alone(&self) -> bool {
        true
    }

    fn violations(&self) -> Violations {
        let mut wrong = Violations::new();
        self.scale.expect(&mut wrong, "scale", |v| (0.01..=100.0).contains(&v), "a factor from 0.01 to 100");
        self.translate.expect(&mut wrong, "translate", |v| v.abs() <= 1.0, "a share of the side from -1 to 1");
        self.rotate.expect(&mut wrong, "rotate", |v| v.abs() <= 360.0, "degrees from -360 to 360");
        self.shear.expect(&mut wrong, "shear", |v| v.abs() < 45.0, "degrees above -45 and below 45");
        wrong
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::augment::list::tests::drawn;

    /// All values fixed, none of which changes anything.
    fn still() -> RandomAffine {
        let [zero, one] = [0.0, 1.0].map(Amount::Fixed);
        RandomAffine { scale: one, translate: zero, rotate: zero, shear: zero, ..RandomAffine::default() }
    }

    fn read_from(step: &RandomAffine, size: Size, target: Point) -> Point {
        let Change::Geometry { source_from_target, .. } = drawn(step, size, 1) else { panic!("a map") };
        source_from_target.apply(target)
    }

    #[test]
    fn maps_by_hand() {
        let (size, square) = (Size { width: 65, height: 33 }, Size::square(65));
        let near = |a: Point, x: f64, y: f64| assert!(a.distance(Point::new(x, y)) < 1e-9, "{a:?}, not {x} {y}");
        near(read_from(&still(), size, Point::new(3.0, 4.0)), 3.0, 4.0);
        // Twice the size reads half as far from the centre.
        let scale = RandomAffine { scale: Amount::Fixed(2.0), ..still() };
        near(read_from(&scale, size, Point::new(64.0, 32.0)), 48.0, 24.0);
        // A shift by a fifth of the side reads a fifth to the left and above.
        let shift = RandomAffine { translate: Amount::Fixed(0.2), ..still() };
        near(read_from(&shift, size, Point::new(20.0, 10.0)), 7.0, 3.4);
        // A quarter turn counter-clockwise brings what was at the right to the top.
        let turn = RandomAffine { rotate: Amount::Fixed(90.0), ..still() };
        near(read_from(&turn, square, Point::new(32.0, 0.0)), 64.0, 32.0);
        let shear = RandomAffine { shear: Amount::Fixed(10.0), ..still() };
        // x' = x - t y, y' = y - t x about the centre.
        let (t, p) = (10f64.to_radians().tan(), read_from(&shear, square, Point::new(40.0, 20.0)));
        let (x, y) = (p.x - 32.0, p.y - 32.0);
        assert!((x - t * y - 8.0).abs() < 1e-9 && (y - t * x + 12.0).abs() < 1e-9);
    }

    #[test]
    fn values_are_drawn_uniformly() {
        let scale = |keep_ratio| RandomAffine { scale: Amount::Between([0.5, 1.5]), keep_ratio, ..still() };
        let factors = |step: &RandomAffine, seed| {
            let Change::Geometry { source_from_target: Geometry::Affine(map), .. } = drawn(step, Size::square(9), seed)
            else {
                panic!("an affine map")
            };
            let [a, _, _, _, d, _] = map.coefficients();
            [a, d].map(|v| (1.0 / v - 1.0) / 0.5)
        };
        let drawn: Vec<[f64; 2]> = (0..4000).map(|seed| factors(&scale(false), seed)).collect();
        for axis in 0..2 {
            let values: Vec<f64> = drawn.iter().map(|v| v[axis].clamp(-1.0, 1.0)).collect();
            crate::augment::list::tests::assert_uniform(&values);
        }
        assert!(drawn.iter().all(|[x, y]| x != y));
        assert!((0..20).map(|seed| factors(&scale(true), seed)).all(|[x, y]| (x - y).abs() < 1e-12));
    }

    #[test]
    fn invalid_values_are_refused() {
        let step = RandomAffine {
            scale: Amount::Fixed(0.0),
            translate: Amount::Between([-0.1, 1.1]),
            rotate: Amount::Between([20.0, -20.0]),
            shear: Amount::Fixed(45.0),
            ..RandomAffine::default()
        };
        let keys: Vec<String> = step.violations().iter().map(|v| v.key.clone()).collect();
        assert_eq!(keys, ["scale", "translate", "rotate", "shear"]);
    }
}
