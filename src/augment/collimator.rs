use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Amount, Change, LabelledImage, Operation, SampleView, Step};
use crate::geometry::Size;
use crate::violation::Violations;

/// Collimation: outside a rectangle that is rotated about the image's centre, the image is dark, with a soft edge.
/// Labels stay as they are, also those of bones that are covered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Collimator {
    /// Probability of the step, 0 to 1. Default 0.5.
    pub p: f64,
    /// Rotation of the rectangle in degrees, clockwise: a number, or a pair to draw from. From -180 to 180; default
    /// `[-10, 10]`.
    pub angle: Amount,
    /// Distance of each side of the rectangle from the image's side, before the rotation, as a share of the image's
    /// width or height: a number, or a pair to draw from for each side. From 0 to 0.45; default `[0.0, 0.1]`.
    pub margin: Amount,
    /// Grey level outside: a number, or a pair to draw from. From 0 to 255; default `[0, 20]`.
    pub level: Amount,
    /// Width of the soft edge as a share of the image's longer side: a number, or a pair to draw from. From 0 to 0.5;
    /// default `[0.002, 0.02]`.
    pub edge: Amount,
}

impl Default for Collimator {
    fn default() -> Self {
        Collimator {
            p: 0.5,
            angle: Amount::Between([-10.0, 10.0]),
            margin: Amount::Between([0.0, 0.1]),
            level: Amount::Between([0.0, 20.0]),
            edge: Amount::Between([0.002, 0.02]),
        }
    }
}

impl Step for Collimator {
    fn p(&self) -> f64 {
        self.p
    }

    fn draw(&self, view: &SampleView, rng: &mut ChaCha8Rng) -> Option<Change> {
        let Size { width, height } = view.size();
        let (width, height) = (f64::from(width), f64::from(height));
        let angle = self.angle.draw(rng).to_radians();
        let [left, top, right, bottom] = [(); 4].map(|()| self.margin.draw(rng));
        let level = self.level.draw(rng) as f32;
        let edge = self.edge.draw(rng) * width.max(height);
        let low = [width * (left - 0.5), height * (top - 0.5)];
        let high = [width * (0.5 - right), height * (0.5 - bottom)];
        Some(Change::operation(Field { angle, low, high, edge, level }))
    }

    fn violations(&self) -> Violations {
        let mut wrong = Violations::new();
        self.angle.expect(&mut wrong, "angle", |v| v.abs() <= 180.0, "degrees from -180 to 180");
        self.margin.expect(&mut wrong, "margin", |v| (0.0..=0.45).contains(&v), "from 0 to 0.45");
        self.level.expect(&mut wrong, "level", |v| (0.0..=255.0).contains(&v), "from 0 to 255");
        self.edge.expect(&mut wrong, "edge", |v| (0.0..=0.5).contains(&v), "from 0 to 0.5");
        wrong
    }
}

/// The parameters of one sample.
struct Field {
    /// Radians, clockwise as seen (y is down).
    angle: f64,
    /// Upper left corner of the rectangle in px from the image's centre, before the rotation.
    low: [f64; 2],
    /// Lower right corner.
    high: [f64; 2],
    /// Width of the soft edge in px.
    edge: f64,
    level: f32,
}

impl Field {
    /// The share of the image at (x, y), in px from the centre: 1 inside, 0 outside, smooth across the edge.
    fn share(&self, x: f64, y: f64, sin: f64, cos: f64) -> f32 {
        let place = [cos * x + sin * y, cos * y - sin * x];
        let inside =
            (0..2).map(|i| (place[i] - self.low[i]).min(self.high[i] - place[i])).fold(f64::INFINITY, f64::min);
        // A hard edge is one pixel wide.
        let t = (inside / self.edge.max(1.0) + 0.5).clamp(0.0, 1.0);
        (t * t * (3.0 - 2.0 * t)) as f32
    }
}

impl Operation for Field {
    fn apply(&self, image: &mut LabelledImage) {
        let centre = image.size.centre();
        let (sin, cos) = self.angle.sin_cos();
        image.levels.par_chunks_mut((image.size.width as usize).max(1)).enumerate().for_each(|(y, row)| {
            for (x, v) in row.iter_mut().enumerate() {
                let share = self.share(x as f64 - centre.x, y as f64 - centre.y, sin, cos);
                *v = self.level + share * (*v - self.level);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::augment::trial::changed;

    fn step(angle: f64, margin: f64, edge: f64) -> Collimator {
        let [angle, margin, edge, level] = [angle, margin, edge, 10.0].map(Amount::Fixed);
        Collimator { p: 1.0, angle, margin, level, edge }
    }

    fn flat(width: u32, height: u32) -> LabelledImage {
        let size = Size { width, height };
        LabelledImage::new(size, vec![200.0; size.pixels()], vec![1; size.pixels()])
    }

    #[test]
    fn a_rectangle_by_hand() {
        // Columns 4 to 15 and rows 2 to 7 of 20 x 10.
        let levels = changed(&step(0.0, 0.2, 0.0), flat(20, 10), 1);
        for (i, level) in levels.iter().enumerate() {
            let inside = (4..16).contains(&(i % 20)) && (2..8).contains(&(i / 20));
            assert_eq!(*level, if inside { 200.0 } else { 10.0 }, "pixel {i}");
        }
        let turned = changed(&step(90.0, 0.2, 0.0), flat(20, 10), 1);
        assert_eq!((turned[5 * 20 + 4], turned[10], turned[9 * 20 + 9]), (10.0, 200.0, 200.0));
    }

    #[test]
    fn the_edge_is_soft_and_centred_on_the_side() {
        let levels = changed(&step(0.0, 0.25, 0.1), flat(100, 100), 1);
        let row = &levels[50 * 100..51 * 100];
        // The side is between columns 24 and 25, the edge 10 px wide.
        assert_eq!((row[19], row[30]), (10.0, 200.0));
        assert!(row[19..=30].is_sorted() && (row[24] + row[25] - 210.0).abs() < 1e-3);
    }

    #[test]
    fn draws_are_within_their_limits() {
        let image = flat(64, 48);
        for seed in 0..50 {
            let levels = changed(&Collimator::default(), image.clone(), seed);
            assert_eq!(levels[24 * 64 + 32], 200.0, "the centre stays");
            assert!(levels.iter().all(|v| (0.0..=200.0).contains(v)));
        }
        let wrong = Collimator { margin: Amount::Fixed(0.5), edge: Amount::Fixed(f64::NAN), ..Collimator::default() };
        assert_eq!(wrong.violations().iter().count(), 2);
    }
}
