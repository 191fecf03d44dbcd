use rand_chacha::ChaCha8Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Amount, Border, Change, Displacement, Geometry, SampleView, Step};
use crate::geometry::{Point, Size};
use crate::violation::Violations;

/// Radial distortion of a lens, as in albumentations' `OpticalDistortion`: the pixel at distance r from the centre is
/// read at distance `r * (1 + k r² + k r⁴)` (`camera`; r in widths along x, in heights along y) or `r * (1 + k r²)`
/// (`fisheye`; r in half diagonals). Positive `k` shows more of the image, smaller towards the edges. The centre is
/// that of the image; albumentations' is half a pixel to the right and below, and its `camera` shifts the image by half
/// a pixel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct OpticalDistortion {
    /// Probability of the step, 0 to 1. Default 0.5.
    pub p: f64,
    /// `camera` (OpenCV's camera model) or `fisheye`. Default `camera`.
    pub mode: Lens,
    /// Coefficient of the distortion. From -0.3 (smaller ones fold the image over itself) to 1; default [-0.05, 0.05].
    pub k: Amount,
    /// Pixels outside the image: `black` (without labels), or `reflect` (the image mirrored at its edge). Default
    /// `black`.
    pub border: Border,
}

/// A model of the radial distortion of a lens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Lens {
    /// OpenCV's camera model with `k1 = k2 = k`.
    #[default]
    Camera,
    /// One coefficient, relative to the half diagonal.
    Fisheye,
}

impl Default for OpticalDistortion {
    fn default() -> Self {
        OpticalDistortion { p: 0.5, mode: Lens::Camera, k: Amount::Between([-0.05, 0.05]), border: Border::Black }
    }
}

impl Lens {
    fn displacement(self, size: Size, k: f64) -> Displacement {
        let (centre, [width, height]) = (size.centre(), [size.width, size.height].map(f64::from));
        let diagonal = centre.x.hypot(centre.y).max(1.0);
        // Nodes every 4 px, in small images more closely: bilinear between them, the cubic is exact to 0.01 px.
        let nodes = |side: u32| (side as usize / 4 + 1).max(257).min(side as usize);
        Displacement::of(size, nodes(size.width), nodes(size.height), |p: Point| {
            let (x, y) = (p.x - centre.x, p.y - centre.y);
            let factor = match self {
                Lens::Camera => {
                    let square = (x / width).powi(2) + (y / height).powi(2);
                    k * square * (1.0 + square)
                }
                Lens::Fisheye => k * (x * x + y * y) / (diagonal * diagonal),
            };
            [x * factor, y * factor]
        })
    }
}

impl Step for OpticalDistortion {
    fn p(&self) -> f64 {
        self.p
    }

    fn draw(&self, view: &SampleView, rng: &mut ChaCha8Rng) -> Option<Change> {
        let map = self.mode.displacement(view.size(), self.k.draw(rng));
        Some(Change::Geometry { source_from_target: Geometry::Displacement(map), border: Some(self.border) })
    }

    fn draws_from_size_alone(&self) -> bool {
        true
    }

    fn violations(&self) -> Violations {
        let mut wrong = Violations::new();
        self.k.expect(&mut wrong, "k", |v| (-0.3..=1.0).contains(&v), "a coefficient from -0.3 to 1");
        wrong
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::augment::list::tests::drawn;

    #[test]
    fn places_by_hand() {
        let size = Size { width: 101, height: 51 };
        let read_from = |mode, k, x, y| {
            let step = OpticalDistortion { mode, k: Amount::Fixed(k), ..OpticalDistortion::default() };
            let Change::Geometry { source_from_target: map, .. } = drawn(&step, size, 1) else { panic!("a map") };
            map.apply(Point::new(x, y))
        };
        for (mode, factor) in [
            // r² at the corner is (50 / 101)² + (25 / 51)².
            (Lens::Camera, 1.0 + 0.2 * (0.485_366 + 0.485_366f64.powi(2))),
            (Lens::Fisheye, 1.2),
        ] {
            assert!(read_from(mode, 0.2, 50.0, 25.0).distance(Point::new(50.0, 25.0)) < 1e-4);
            let corner = Point::new(50.0 + 50.0 * factor, 25.0 + 25.0 * factor);
            assert!(read_from(mode, 0.2, 100.0, 50.0).distance(corner) < 1e-3, "{mode:?}");
            assert!(read_from(mode, 0.0, 7.0, 3.0).distance(Point::new(7.0, 3.0)) < 1e-6);
            // The least coefficient does not fold the image.
            let line: Vec<f64> = (0..=100).map(|x| read_from(mode, -0.3, f64::from(x), 0.0).x).collect();
            assert!(line.windows(2).all(|p| p[0] < p[1]));
        }
        let wrong = OpticalDistortion { k: Amount::Between([-0.4, 0.0]), ..OpticalDistortion::default() };
        assert_eq!(wrong.violations().iter().next().unwrap().key, "k");
    }
}
