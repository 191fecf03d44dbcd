use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Amount, Change, Geometry, SampleView, Step};
use crate::geometry::{Affine, Size};
use crate::violation::Violations;

/// Draws of a crop that may not fit into the image before the central crop is taken.
const TRIES: usize = 10;

/// A random part of the image, scaled to the size of the sample, as in albumentations' and torchvision's
/// `RandomResizedCrop`. The centres of the part's corner pixels become those of the result's, so that no pixel outside
/// the part is read; parts are not rounded to whole pixels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RandomResizedCrop {
    /// Probability of the step, 0 to 1. Default 0.5.
    pub p: f64,
    /// Area of the part as a share of the image's. Above 0, at most 1; default [0.08, 1].
    pub scale: Amount,
    /// Width of the part divided by its height; its logarithm is drawn uniformly. From 0.01 to 100; default
    /// [0.75, 1.3333333333333333].
    pub ratio: Amount,
}

impl Default for RandomResizedCrop {
    fn default() -> Self {
        RandomResizedCrop { p: 0.5, scale: Amount::Between([0.08, 1.0]), ratio: Amount::Between([0.75, 4.0 / 3.0]) }
    }
}

/// A part of an image in px: its first pixel, and its size.
#[derive(Clone, Copy, Debug)]
struct Part {
    left: f64,
    top: f64,
    width: f64,
    height: f64,
}

impl RandomResizedCrop {
    fn part(&self, size: Size, rng: &mut ChaCha8Rng) -> Part {
        let [whole_width, whole_height] = [size.width, size.height].map(f64::from);
        let [narrowest, widest] = self.ratio.ends();
        let logarithm = match self.ratio {
            Amount::Fixed(ratio) => Amount::Fixed(ratio.ln()),
            Amount::Between(ends) => Amount::Between(ends.map(f64::ln)),
        };
        for _ in 0..TRIES {
            let area = self.scale.draw(rng) * whole_width * whole_height;
            let ratio = logarithm.draw(rng).exp();
            let (width, height) = ((area * ratio).sqrt(), (area / ratio).sqrt());
            if (2.0..=whole_width).contains(&width) && (2.0..=whole_height).contains(&height) {
                let [left, top] = [whole_width - width, whole_height - height].map(|room| room * rng.random::<f64>());
                return Part { left, top, width, height };
            }
        }
        let width = whole_width.min(whole_height * widest);
        let height = whole_height.min(whole_width / narrowest);
        Part { left: (whole_width - width) / 2.0, top: (whole_height - height) / 2.0, width, height }
    }
}

impl Step for RandomResizedCrop {
    fn p(&self) -> f64 {
        self.p
    }

    fn draw(&self, view: &SampleView, rng: &mut ChaCha8Rng) -> Option<Change> {
        let size = view.size();
        let part = self.part(size, rng);
        let step = |part: f64, whole: u32| {
            let factor = (part - 1.0) / (f64::from(whole) - 1.0);
            (factor > 0.0 && factor.is_finite()).then_some(factor)
        };
        // An image of one row or column has no smaller part.
        let (x, y) = (step(part.width, size.width)?, step(part.height, size.height)?);
        let map = Affine::scale_shift(x, y, part.left, part.top);
        Some(Change::Geometry { source_from_target: Geometry::Affine(map), border: None })
    }

    fn draws_from_size_alone(&self) -> bool {
        true
    }

    fn violations(&self) -> Violations {
        let mut wrong = Violations::new();
        self.scale.expect(&mut wrong, "scale", |v| v > 0.0 && v <= 1.0, "a share of the area above 0, at most 1");
        self.ratio.expect(&mut wrong, "ratio", |v| (0.01..=100.0).contains(&v), "width by height from 0.01 to 100");
        wrong
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::augment::list::tests::drawn;
    use crate::geometry::Point;

    fn corners(step: &RandomResizedCrop, size: Size, seed: u64) -> [Point; 2] {
        let Change::Geometry { source_from_target, border: None } = drawn(step, size, seed) else {
            panic!("a map within the image")
        };
        let last = Point::new(f64::from(size.width) - 1.0, f64::from(size.height) - 1.0);
        [Point::default(), last].map(|p| source_from_target.apply(p))
    }

    #[test]
    fn parts_are_within_the_image_and_have_area_and_ratio() {
        let size = Size { width: 300, height: 200 };
        let step = RandomResizedCrop { scale: Amount::Between([0.1, 0.3]), ..RandomResizedCrop::default() };
        let (mut areas, mut ratios) = (Vec::new(), Vec::new());
        for seed in 0..4000 {
            let [first, last] = corners(&step, size, seed);
            assert!(first.x >= 0.0 && first.y >= 0.0 && last.x <= 299.0 + 1e-9 && last.y <= 199.0 + 1e-9);
            let (width, height) = (last.x - first.x + 1.0, last.y - first.y + 1.0);
            areas.push(((width * height / 60_000.0 - 0.2) / 0.1).clamp(-1.0, 1.0));
            ratios.push(((width / height).ln() / (4f64 / 3.0).ln()).clamp(-1.0, 1.0));
        }
        crate::augment::list::tests::assert_uniform(&areas);
        crate::augment::list::tests::assert_uniform(&ratios);
    }

    #[test]
    fn a_part_that_never_fits_is_the_central_one() {
        let wide = Size { width: 301, height: 101 };
        let step =
            RandomResizedCrop { scale: Amount::Fixed(1.0), ratio: Amount::Fixed(1.0), ..RandomResizedCrop::default() };
        let [first, last] = corners(&step, wide, 1);
        assert!(first.distance(Point::new(100.0, 0.0)) < 1e-9 && last.distance(Point::new(200.0, 100.0)) < 1e-9);
        let [first, last] = corners(&step, Size { width: 101, height: 301 }, 1);
        assert!(first.distance(Point::new(0.0, 100.0)) < 1e-9 && last.distance(Point::new(100.0, 200.0)) < 1e-9);
        let wrong = RandomResizedCrop { scale: Amount::Fixed(0.0), ratio: Amount::Between([2.0, 1.0]), p: 0.5 };
        let keys: Vec<String> = wrong.violations().iter().map(|v| v.key.clone()).collect();
        assert_eq!(keys, ["scale", "ratio"]);
    }
}
