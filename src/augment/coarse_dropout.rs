use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::holes::Holes;
use super::{Amount, Change, HoleFill, SampleView, Step};
use crate::geometry::{PixelBox, Size};
use crate::violation::Violations;

/// Drops rectangles at random places, as albumentations' `CoarseDropout`. T. DeVries, G. W. Taylor, Improved
/// regularization of convolutional neural networks with cutout, 2017.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct CoarseDropout {
    /// Probability of the step, 0 to 1. Default 0.5.
    pub p: f64,
    /// Number of rectangles: a number, or [least, most]. Whole, from 1 to 1000; default [1, 2].
    pub holes: Amount,
    /// Height of each rectangle as a share of the image's height: a number, or [least, most]. Above 0 to 1; default
    /// [0.1, 0.2].
    pub height: Amount,
    /// Width of each rectangle as a share of the image's width: a number, or [least, most]. Above 0 to 1; default
    /// [0.1, 0.2].
    pub width: Amount,
    /// Grey level of the dropped pixels: a number from 0 to 255, `random` (one random level for each rectangle;
    /// albumentations' `random_uniform`) or `noise` (a random level for each pixel; albumentations' `random`). Default 0.
    pub fill: HoleFill,
    /// Whether the dropped pixels lose their labels too. Default false: the model has to guess the hidden bone.
    pub erase_labels: bool,
}

impl Default for CoarseDropout {
    fn default() -> Self {
        CoarseDropout {
            p: 0.5,
            holes: Amount::Between([1.0, 2.0]),
            height: Amount::Between([0.1, 0.2]),
            width: Amount::Between([0.1, 0.2]),
            fill: HoleFill::default(),
            erase_labels: false,
        }
    }
}

impl CoarseDropout {
    /// The rectangles of one sample; those of less than a pixel are left out.
    fn rectangles(&self, size: Size, rng: &mut ChaCha8Rng) -> Vec<PixelBox> {
        let holes = (0..self.holes.draw_whole(rng)).map(|_| {
            let mut side = |share: Amount, pixels: u32| {
                let length = (f64::from(pixels) * share.draw(rng)) as u32;
                (rng.random_range(0..=pixels - length), length)
            };
            let (y, height) = side(self.height, size.height);
            let (x, width) = side(self.width, size.width);
            (height > 0 && width > 0).then(|| PixelBox {
                x_min: x,
                y_min: y,
                x_max: x + width - 1,
                y_max: y + height - 1,
            })
        });
        holes.flatten().collect()
    }
}

impl Step for CoarseDropout {
    fn p(&self) -> f64 {
        self.p
    }

    fn draw(&self, view: &SampleView, rng: &mut ChaCha8Rng) -> Option<Change> {
        let holes = self.rectangles(view.size(), rng);
        Some(Change::operation(Holes::new(view.size(), &holes, self.fill, self.erase_labels, rng)))
    }

    fn violations(&self) -> Violations {
        let mut wrong = Violations::new();
        self.holes.expect_whole(&mut wrong, "holes", 1, 1000);
        for (key, share) in [("height", self.height), ("width", self.width)] {
            share.expect(&mut wrong, key, |v| v > 0.0 && v <= 1.0, "a share above 0 to 1");
        }
        wrong.extend(self.fill.violations());
        wrong
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;
    use crate::augment::list::tests::assert_uniform;

    #[test]
    fn rectangles_have_the_drawn_number_size_and_place() {
        let size = Size { width: 4000, height: 3000 };
        let step = CoarseDropout {
            holes: Amount::Between([2.0, 4.0]),
            height: Amount::Between([0.1, 0.3]),
            width: Amount::Fixed(0.25),
            ..CoarseDropout::default()
        };
        let mut rng = ChaCha8Rng::seed_from_u64(4);
        let drawn: Vec<Vec<PixelBox>> = (0..4000).map(|_| step.rectangles(size, &mut rng)).collect();
        for n in 2..=4 {
            // Four standard deviations about 1333.
            let count = drawn.iter().filter(|holes| holes.len() == n).count();
            assert!((1214..=1453).contains(&count), "{count} with {n}");
        }
        let scaled = |of: fn(&PixelBox) -> f64| -> Vec<f64> { drawn.iter().map(|holes| of(&holes[1])).collect() };
        assert!(drawn.iter().flatten().all(|hole| hole.width() == 1000));
        assert_uniform(&scaled(|hole| (f64::from(hole.height()) + 0.5 - 600.0) / 300.5));
        assert_uniform(&scaled(|hole| (f64::from(hole.x_min) - 1500.0) / 1500.0));
        assert_uniform(&scaled(|hole| {
            let most = 3000.0 - f64::from(hole.height());
            2.0 * f64::from(hole.y_min) / most - 1.0
        }));
    }

    #[test]
    fn a_whole_image_can_be_dropped_and_a_tiny_hole_is_none() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let of = |share| {
            let (height, width) = (Amount::Fixed(share), Amount::Fixed(share));
            CoarseDropout { holes: Amount::Fixed(1.0), height, width, ..CoarseDropout::default() }
        };
        let whole = PixelBox { x_min: 0, y_min: 0, x_max: 8, y_max: 8 };
        assert_eq!(of(1.0).rectangles(Size::square(9), &mut rng), [whole]);
        assert_eq!(of(0.1).rectangles(Size::square(9), &mut rng), []);
        let wrong = CoarseDropout { holes: Amount::Fixed(0.0), fill: HoleFill::Level(300.0), ..of(1.5) }.violations();
        let keys: Vec<&str> = wrong.iter().map(|v| v.key.as_str()).collect();
        assert_eq!(keys, ["holes", "height", "width", "fill"]);
    }
}
