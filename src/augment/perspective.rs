use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Amount, Border, Change, Geometry, SampleView, Step};
use crate::geometry::{Point, Projective};
use crate::violation::Violations;

/// Greatest distance of a corner from that of the image, as a share of the side; beyond it the distances start again
/// at 0, as in albumentations.
const MOST: f64 = 0.32;

/// Perspective: a quadrilateral within the image, whose corners are at random distances from those of the image, fills
/// the result, as in albumentations' `Perspective`. That one (2.0.8, with `keep_size`) also enlarges the result about
/// its top left corner, which cuts off the quadrilateral's right and lower parts; this step does not.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Perspective {
    /// Probability of the step, 0 to 1. Default 0.5.
    pub p: f64,
    /// Standard deviation of the normal distribution of the corners' distances, whose absolute values are taken, as a
    /// share of the side. From 0 to 0.32; default [0.05, 0.1].
    pub scale: Amount,
    /// Pixels outside the image, which only the maps of other steps reach: `black` (without labels), or `reflect` (the
    /// image mirrored at its edge). Default `black`.
    pub border: Border,
}

impl Default for Perspective {
    fn default() -> Self {
        Perspective { p: 0.5, scale: Amount::Between([0.05, 0.1]), border: Border::Black }
    }
}

impl Step for Perspective {
    fn p(&self) -> f64 {
        self.p
    }

    fn draw(&self, view: &SampleView, rng: &mut ChaCha8Rng) -> Option<Change> {
        let scale = self.scale.draw(rng);
        let [width, height] = [view.size().width, view.size().height].map(f64::from);
        let corners = [[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]];
        let at = |[x, y]: [f64; 2]| Point::new(x * width, y * height);
        let inwards =
            |corner: [f64; 2]| corner.map(|v| (v - (scale * rng.sample::<f64, _>(StandardNormal)).abs() % MOST).abs());
        let map = Projective::through(corners.map(at), corners.map(inwards).map(at))
            .expect("corners that move by less than a third of the side stay convex");
        Some(Change::Geometry { source_from_target: Geometry::Projective(map), border: Some(self.border) })
    }

    fn draws_from_size_alone(&self) -> bool {
        true
    }

    fn violations(&self) -> Violations {
        let mut wrong = Violations::new();
        self.scale.expect(&mut wrong, "scale", |v| (0.0..=MOST).contains(&v), "a share of the side from 0 to 0.32");
        wrong
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::augment::list::tests::drawn;
    use crate::geometry::Size;

    #[test]
    fn the_corners_of_the_result_are_read_within_the_image() {
        let size = Size { width: 200, height: 100 };
        let fixed = |scale| Perspective { scale: Amount::Fixed(scale), ..Perspective::default() };
        let corners = |scale, seed| {
            let Change::Geometry { source_from_target: map, .. } = drawn(&fixed(scale), size, seed) else {
                panic!("a map")
            };
            [(0.0, 0.0), (200.0, 0.0), (200.0, 100.0), (0.0, 100.0)].map(|(x, y)| {
                let p = map.apply(Point::new(x, y));
                [(p.x - x).abs() / 200.0, (p.y - y).abs() / 100.0]
            })
        };
        assert!(corners(0.0, 1).iter().flatten().all(|d| *d < 1e-12));
        let distances: Vec<f64> = (0..1000).flat_map(|seed| corners(0.1, seed)).flatten().collect();
        assert!(distances.iter().all(|d| *d <= MOST + 1e-9));
        // The mean of |N(0, 0.1)|; its error is 0.0007. The part above 0.32 (0.14 %) starts again at 0.
        let mean = distances.iter().sum::<f64>() / distances.len() as f64;
        assert!((mean - 0.1 * (2.0 / std::f64::consts::PI).sqrt() + 0.0005).abs() < 0.003, "{mean}");
        assert!(fixed(0.4).violations().iter().next().is_some());
    }
}
