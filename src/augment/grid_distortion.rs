use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Amount, Border, Change, Displacement, Geometry, SampleView, Step, expect_share};
use crate::violation::Violations;

/// Columns and rows of a grid get random widths and heights, as in albumentations' `GridDistortion` with `normalized`
/// (the default of 2.0.8): the whole image stays in the result. The grid reaches exactly from the first to the last
/// pixel; albumentations rounds its cells to whole pixels, and each of them to one pixel less.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct GridDistortion {
    /// Probability of the step, 0 to 1. Default 0.5.
    pub p: f64,
    /// Columns and rows of the grid. Whole, from 1 to 100; default 5.
    pub steps: Amount,
    /// The part of the image that a column or row shows is its own size times a factor between `1 - limit` and
    /// `1 + limit`, drawn uniformly, before all are scaled to fit the image. From 0 to below 1; default 0.3.
    pub limit: f64,
    /// Pixels outside the image, which only the maps of other steps reach: `black` (without labels), or `reflect` (the
    /// image mirrored at its edge). Default `black`.
    pub border: Border,
}

impl Default for GridDistortion {
    fn default() -> Self {
        GridDistortion { p: 0.5, steps: Amount::Fixed(5.0), limit: 0.3, border: Border::Black }
    }
}

impl GridDistortion {
    /// How far each line of a grid of `steps` cells is moved along a side of `pixels` px.
    fn lines(&self, steps: u32, pixels: u32, rng: &mut ChaCha8Rng) -> Vec<f64> {
        let factors: Vec<f64> = (0..steps).map(|_| 1.0 + self.limit * rng.random_range(-1.0..=1.0)).collect();
        let (sum, last) = (factors.iter().sum::<f64>(), f64::from(pixels) - 1.0);
        let mut before = 0.0;
        let mut moved = vec![0.0];
        for (i, factor) in factors.iter().enumerate() {
            before += factor;
            moved.push(last * (before / sum - (i + 1) as f64 / f64::from(steps)));
        }
        moved
    }
}

impl Step for GridDistortion {
    fn p(&self) -> f64 {
        self.p
    }

    fn draw(&self, view: &SampleView, rng: &mut ChaCha8Rng) -> Option<Change> {
        let size = view.size();
        let steps = self.steps.draw_whole(rng);
        let [xs, ys] = [size.width, size.height].map(|side| self.lines(steps, side, rng));
        let by = ys.iter().flat_map(|y| xs.iter().map(|x| [*x as f32, *y as f32])).collect();
        let grid = Displacement::new(size, xs.len(), by).expect("full rows");
        Some(Change::Geometry { source_from_target: Geometry::Displacement(grid), border: Some(self.border) })
    }

    fn draws_from_size_alone(&self) -> bool {
        true
    }

    fn violations(&self) -> Violations {
        let mut wrong = Violations::new();
        self.steps.expect_whole(&mut wrong, "steps", 1, 100);
        expect_share(&mut wrong, "limit", self.limit);
        wrong
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::augment::list::tests::drawn;
    use crate::geometry::{Point, Size};

    #[test]
    fn lines_keep_their_order_and_the_corners_their_place() {
        let size = Size { width: 101, height: 61 };
        for seed in 0..200 {
            let step = GridDistortion { limit: 0.9, ..GridDistortion::default() };
            let Change::Geometry { source_from_target: map, .. } = drawn(&step, size, seed) else { panic!("a map") };
            for corner in [Point::default(), Point::new(100.0, 60.0), Point::new(0.0, 60.0)] {
                assert!(map.apply(corner).distance(corner) < 1e-4);
            }
            let line: Vec<Point> = (0..=100).map(|x| map.apply(Point::new(f64::from(x), 30.0))).collect();
            assert!(line.windows(2).all(|p| p[0].x < p[1].x && (p[0].y - p[1].y).abs() < 1e-4));
            // Each column is linear.
            assert!(line[..=20].windows(3).all(|p| (p[0].x + p[2].x - 2.0 * p[1].x).abs() < 1e-4));
        }
        let still = GridDistortion { limit: 0.0, ..GridDistortion::default() };
        let Change::Geometry { source_from_target: map, .. } = drawn(&still, size, 1) else { panic!("a map") };
        assert!(map.apply(Point::new(33.0, 7.0)).distance(Point::new(33.0, 7.0)) < 1e-4);
        let keys: Vec<String> = GridDistortion { steps: Amount::Fixed(0.0), limit: 1.0, ..still }
            .violations()
            .iter()
            .map(|v| v.key.clone())
            .collect();
        assert_eq!(keys, ["steps", "limit"]);
    }
}
