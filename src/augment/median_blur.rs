use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::histogram::rounded;
use super::{Amount, Change, LabelledImage, Operation, SampleView, Step};
use crate::geometry::Size;
use crate::violation::Violations;

/// Median of the square around each pixel; the outermost pixels are repeated outside the image. As OpenCV's
/// `medianBlur` and albumentations' `MedianBlur`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct MedianBlur {
    /// Probability of the step, 0 to 1. Default 0.5.
    pub p: f64,
    /// Side of the square in px: a number, or a pair to draw from. Odd, from 3 to 99; default `[3, 7]`.
    pub side: Amount,
}

impl Default for MedianBlur {
    fn default() -> Self {
        MedianBlur { p: 0.5, side: Amount::Between([3.0, 7.0]) }
    }
}

impl Step for MedianBlur {
    fn p(&self) -> f64 {
        self.p
    }

    fn draw(&self, _view: &SampleView, rng: &mut ChaCha8Rng) -> Option<Change> {
        let radius = |side: f64| (side - 1.0) / 2.0;
        let radius = match self.side {
            Amount::Fixed(side) => Amount::Fixed(radius(side)),
            Amount::Between(ends) => Amount::Between(ends.map(radius)),
        };
        Some(Change::operation(Median { radius: radius.draw_whole(rng) as usize }))
    }

    fn violations(&self) -> Violations {
        let mut wrong = Violations::new();
        let is_odd = |v: f64| v % 2.0 == 1.0 && (3.0..=99.0).contains(&v);
        self.side.expect(&mut wrong, "side", is_odd, "odd, from 3 to 99");
        wrong
    }
}

/// The median of the square with `2 radius + 1` pixels per side.
struct Median {
    radius: usize,
}

impl Operation for Median {
    fn apply(&self, image: &mut LabelledImage) {
        let Size { width, height } = image.size;
        let levels = std::mem::take(&mut image.levels);
        let eight_bit: Vec<u8> = levels.iter().map(|v| rounded(*v)).collect();
        let source = Source {
            is_whole: eight_bit.iter().zip(&levels).all(|(v, level)| f32::from(*v) == *level),
            rounded: eight_bit,
            levels: &levels,
            width: width as usize,
            height: height as usize,
            radius: self.radius,
        };
        let mut result = vec![0.0; levels.len()];
        result.par_chunks_mut(source.width.max(1)).enumerate().for_each(|(y, row)| source.median_row(y, row));
        image.levels = result;
    }
}

/// An image with its levels rounded as well.
struct Source<'a> {
    rounded: Vec<u8>,
    /// Whether no level has a fraction.
    is_whole: bool,
    levels: &'a [f32],
    width: usize,
    height: usize,
    radius: usize,
}

impl Source<'_> {
    /// The rows around row `y`, repeated at the edges.
    fn rows(&self, y: usize) -> impl Iterator<Item = usize> + Clone + '_ {
        (y..=y + 2 * self.radius).map(move |y| y.saturating_sub(self.radius).min(self.height - 1) * self.width)
    }

    /// The column at `x - radius`, repeated at the edges.
    fn column(&self, x: usize) -> usize {
        x.saturating_sub(self.radius).min(self.width - 1)
    }

    /// The medians of row `y`, by a histogram that moves along the row (Huang 1979).
    fn median_row(&self, y: usize, result: &mut [f32]) {
        let side = 2 * self.radius + 1;
        let half = (side * side / 2) as u32;
        let mut counts = [0u32; 256];
        for row in self.rows(y) {
            (0..side).for_each(|x| counts[usize::from(self.rounded[row + self.column(x)])] += 1);
        }
        // The number of pixels below the level in which the median is.
        let (mut level, mut below) = (0, 0);
        for (x, median) in result.iter_mut().enumerate() {
            while below > half {
                level -= 1;
                below -= counts[level];
            }
            while below + counts[level] <= half {
                below += counts[level];
                level += 1;
            }
            let found = level as u8;
            *median = if self.is_whole { found.into() } else { self.ranked(x, y, found, (half - below) as usize) };
            for row in self.rows(y) {
                let (old, new) = (self.rounded[row + self.column(x)], self.rounded[row + self.column(x + side)]);
                counts[usize::from(old)] -= 1;
                counts[usize::from(new)] += 1;
                below -= u32::from(usize::from(old) < level);
                below += u32::from(usize::from(new) < level);
            }
        }
    }

    /// Of the pixels around (x, y) whose rounded level is `level`, the one with this rank.
    fn ranked(&self, x: usize, y: usize, level: u8, rank: usize) -> f32 {
        let places = self.rows(y).flat_map(|row| (x..=x + 2 * self.radius).map(move |x| row + self.column(x)));
        let equal = places.filter(|place| self.rounded[*place] == level).map(|place| self.levels[place]);
        *equal.collect::<Vec<_>>().select_nth_unstable_by(rank, f32::total_cmp).1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::augment::trial::{applied, changed, noise};

    #[test]
    fn a_row_by_hand() {
        let step = MedianBlur { side: Amount::Fixed(3.0), ..MedianBlur::default() };
        assert_eq!(applied(&step, &[5.0, 1.0, 9.0, 2.0]), [5.0, 5.0, 2.0, 2.0]);
        assert_eq!(applied(&step, &[0.25, 0.1, 0.4, 0.3]), [0.25, 0.25, 0.3, 0.3]);
    }

    #[test]
    fn fractions_are_sorted_too() {
        for (whole, side) in [(true, 3), (false, 3), (false, 7), (true, 99)] {
            let image = noise(side, whole);
            let step = MedianBlur { side: Amount::Fixed(side as f64), ..MedianBlur::default() };
            let result = changed(&step, image.clone(), 1);
            let (width, height, r) = (61i64, 43i64, side as i64 / 2);
            for (x, y) in [(0, 0), (60, 42), (30, 20), (59, 3)] {
                let at =
                    |x: i64, y: i64| image.levels[(y.clamp(0, height - 1) * width + x.clamp(0, width - 1)) as usize];
                let mut around: Vec<f32> = (-r..=r)
                    .flat_map(|dy| (-r..=r).map(move |dx| (dx, dy)))
                    .map(|(dx, dy)| at(x + dx, y + dy))
                    .collect();
                around.sort_by(f32::total_cmp);
                assert_eq!(result[(y * width + x) as usize], around[around.len() / 2], "{x} {y}, side {side}");
            }
        }
    }

    #[test]
    fn only_odd_sides_are_drawn_and_accepted() {
        let step = MedianBlur { side: Amount::Between([3.0, 4.0]), ..MedianBlur::default() };
        assert!(step.violations().to_string().contains("odd, from 3 to 99"));
        assert!(MedianBlur::default().violations().is_empty());
    }
}
