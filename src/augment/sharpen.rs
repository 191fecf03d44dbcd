use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Amount, Border, Change, LabelledImage, Operation, SampleView, Step};
use crate::violation::Violations;

/// Sharpening by a 3 x 3 kernel, as albumentations' `Sharpen` by its method `kernel`: the image mixed with a share
/// `alpha` of its sharpened version, in which a pixel counts `8 + lightness` times and its neighbours -1 times each.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Sharpen {
    /// Probability of the step, 0 to 1. Default 0.5.
    pub p: f64,
    /// Share of the sharpened image: a number, or a pair to draw from. From 0 to 1; default `[0.2, 0.5]`.
    pub alpha: Amount,
    /// Brightness of the sharpened image; at 1 flat areas keep their level: a number, or a pair to draw from. From 0
    /// to 10; default `[0.5, 1.0]`.
    pub lightness: Amount,
}

impl Default for Sharpen {
    fn default() -> Self {
        Sharpen { p: 0.5, alpha: Amount::Between([0.2, 0.5]), lightness: Amount::Between([0.5, 1.0]) }
    }
}

impl Step for Sharpen {
    fn p(&self) -> f64 {
        self.p
    }

    fn draw(&self, _view: &SampleView, rng: &mut ChaCha8Rng) -> Option<Change> {
        let alpha = self.alpha.draw(rng);
        let centre = 1.0 - alpha + alpha * (8.0 + self.lightness.draw(rng));
        Some(Change::operation(Kernel { centre: centre as f32, neighbour: -alpha as f32 }))
    }

    fn violations(&self) -> Violations {
        let mut wrong = Violations::new();
        self.alpha.expect(&mut wrong, "alpha", |v| (0.0..=1.0).contains(&v), "from 0 to 1");
        self.lightness.expect(&mut wrong, "lightness", |v| (0.0..=10.0).contains(&v), "from 0 to 10");
        wrong
    }
}

/// A 3 x 3 kernel with one weight for the pixel and one for its eight neighbours.
struct Kernel {
    centre: f32,
    neighbour: f32,
}

impl Operation for Kernel {
    fn apply(&self, image: &mut LabelledImage) {
        let (width, height) = (image.size.width as usize, image.size.height as usize);
        if width == 0 || height == 0 {
            return;
        }
        let source = image.levels.clone();
        let mirrored = |i: i64, side: usize| Border::Reflect.index(i, side as i64).expect("all pixels are mirrored");
        image.levels.par_chunks_mut(width).enumerate().for_each_init(Vec::new, |sums, (y, row)| {
            let [above, own, below] = [-1, 0, 1].map(|by| &source[mirrored(y as i64 + by, height) * width..][..width]);
            // Sums of three rows, with one more column at each side.
            sums.clear();
            sums.resize(width + 2, 0.0);
            for (sum, (a, (o, b))) in sums[1..].iter_mut().zip(above.iter().zip(own.iter().zip(below))) {
                *sum = a + o + b;
            }
            sums[0] = sums[1 + mirrored(-1, width)];
            sums[width + 1] = sums[1 + mirrored(width as i64, width)];
            for (x, (v, own)) in row.iter_mut().zip(own).enumerate() {
                let around = sums[x] + sums[x + 1] + sums[x + 2] - own;
                *v = (self.centre * own + self.neighbour * around).clamp(0.0, 255.0);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::augment::trial::{applied, changed};
    use crate::geometry::Size;

    #[test]
    fn a_point_by_hand() {
        let step = Sharpen { alpha: Amount::Fixed(0.5), lightness: Amount::Fixed(1.0), ..Sharpen::default() };
        let mut levels = vec![20.0; 25];
        levels[12] = 24.0;
        let sharper = changed(&step, LabelledImage::new(Size::square(5), levels, vec![0; 25]), 1);
        // 24 * 5 - 0.5 * 8 * 20 in the middle, 20 * 5 - 0.5 * (7 * 20 + 24) next to it.
        assert_eq!((sharper[12], sharper[11], sharper[0]), (40.0, 18.0, 20.0));
        assert_eq!(applied(&step, &[255.0]), [255.0]);
    }

    #[test]
    fn values_out_of_range_are_refused() {
        let wrong = Sharpen { alpha: Amount::Fixed(1.5), lightness: Amount::Fixed(-1.0), ..Sharpen::default() };
        assert_eq!(wrong.violations().iter().count(), 2);
    }
}
