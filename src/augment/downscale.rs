use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Amount, Change, LabelledImage, Operation, SampleView, Step};
use crate::closed_enum::closed_enum;
use crate::violation::Violations;

closed_enum! {
    /// How an image is enlarged.
    #[derive(Default)]
    pub enum Enlarging ("interpolation") {
        /// Each pixel becomes a block.
        #[default]
        Nearest = "nearest",
        /// Linear between the centres of pixels.
        Bilinear = "bilinear",
    }
}

/// Lower resolution: the image is reduced by averaging areas and enlarged again. albumentations' `Downscale` takes the
/// pixel at the upper left of each area by default, which moves the image relative to its labels; this step does not.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Downscale {
    /// Probability of the step, 0 to 1. Default 0.5.
    pub p: f64,
    /// Size of the reduced image as a share of the sample's: a number, or a pair to draw from. Above 0, up to 1;
    /// default 0.25.
    pub scale: Amount,
    /// How the reduced image is enlarged: `nearest` or `bilinear`. Default `nearest`.
    pub interpolation: Enlarging,
}

impl Default for Downscale {
    fn default() -> Self {
        Downscale { p: 0.5, scale: Amount::Fixed(0.25), interpolation: Enlarging::Nearest }
    }
}

impl Step for Downscale {
    fn p(&self) -> f64 {
        self.p
    }

    fn draw(&self, _view: &SampleView, rng: &mut ChaCha8Rng) -> Option<Change> {
        Some(Change::operation(Resampling { scale: self.scale.draw(rng), interpolation: self.interpolation }))
    }

    fn violations(&self) -> Violations {
        let mut wrong = Violations::new();
        self.scale.expect(&mut wrong, "scale", |v| v > 0.0 && v <= 1.0, "above 0, up to 1");
        wrong
    }
}

/// The parameters of one sample.
struct Resampling {
    scale: f64,
    interpolation: Enlarging,
}

impl Operation for Resampling {
    fn apply(&self, image: &mut LabelledImage) {
        let sides = [image.size.width, image.size.height].map(|side| side as usize);
        if sides.contains(&0) {
            return;
        }
        let small = sides.map(|side| ((side as f64 * self.scale).round_ties_even() as usize).max(1));
        let [down_x, down_y] = [0, 1].map(|i| areas(sides[i], small[i]));
        let [up_x, up_y] = [0, 1].map(|i| self.interpolation.taps(small[i], sides[i]));
        let reduced = resampled(&image.levels, sides[0], &down_x, &down_y);
        image.levels = resampled(&reduced, small[0], &up_x, &up_y);
    }
}

/// The pixels of a source side that one pixel is a weighted mean of: the first one, and the weights from there on.
struct Taps {
    first: usize,
    weights: Vec<f32>,
}

/// Each pixel of `target` is the mean of its area of `source`.
fn areas(source: usize, target: usize) -> Vec<Taps> {
    let per_pixel = source as f64 / target as f64;
    let taps = (0..target).map(|i| {
        let (start, end) = (i as f64 * per_pixel, ((i + 1) as f64 * per_pixel).min(source as f64));
        let first = start as usize;
        let pixels = first..(end.ceil() as usize).clamp(first + 1, source);
        let overlap = |x: usize| ((end.min((x + 1) as f64) - start.max(x as f64)) / per_pixel) as f32;
        Taps { first, weights: pixels.map(overlap).collect() }
    });
    taps.collect()
}

impl Enlarging {
    /// Each pixel of `target` from one or two of the smaller `source`.
    fn taps(self, source: usize, target: usize) -> Vec<Taps> {
        let centre = |i: usize| (i as f64 + 0.5) * source as f64 / target as f64;
        let taps = (0..target).map(|i| match self {
            Enlarging::Nearest => Taps { first: (centre(i) as usize).min(source - 1), weights: vec![1.0] },
            Enlarging::Bilinear => {
                let at = (centre(i) - 0.5).clamp(0.0, (source - 1) as f64);
                let first = (at as usize).min(source.saturating_sub(2));
                let second = (at - first as f64) as f32;
                Taps { first, weights: if source == 1 { vec![1.0] } else { vec![1.0 - second, second] } }
            }
        });
        taps.collect()
    }
}

/// The weighted means of an image along its columns, then along its rows.
fn resampled(levels: &[f32], width: usize, columns: &[Taps], rows: &[Taps]) -> Vec<f32> {
    let mut result = vec![0.0; columns.len() * rows.len()];
    result.par_chunks_mut(columns.len()).zip(rows).for_each_init(Vec::new, |sums, (result, row)| {
        sums.clear();
        sums.resize(width, 0.0f32);
        for (weight, source) in row.weights.iter().zip(levels[row.first * width..].chunks(width)) {
            sums.iter_mut().zip(source).for_each(|(sum, v)| *sum += weight * v);
        }
        for (v, column) in result.iter_mut().zip(columns) {
            let terms = column.weights.iter().zip(&sums[column.first..]);
            *v = terms.map(|(weight, v)| weight * v).sum::<f32>().clamp(0.0, 255.0);
        }
    });
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::augment::trial::{applied, changed, noise};

    fn step(scale: f64, interpolation: Enlarging) -> Downscale {
        Downscale { scale: Amount::Fixed(scale), interpolation, ..Downscale::default() }
    }

    #[test]
    fn rows_by_hand() {
        let levels = [0.0, 100.0, 200.0, 200.0];
        assert_eq!(applied(&step(0.5, Enlarging::Nearest), &levels), [50.0, 50.0, 200.0, 200.0]);
        assert_eq!(applied(&step(0.5, Enlarging::Bilinear), &levels), [50.0, 87.5, 162.5, 200.0]);
        // Areas of 4 / 3 px.
        let [a, b, c, d] = applied(&step(0.75, Enlarging::Nearest), &levels);
        let expected = [25.0, 150.0, 150.0, 200.0];
        assert!([a, b, c, d].iter().zip(expected).all(|(v, e)| (v - e).abs() < 1e-3), "{a} {b} {c} {d}");
    }

    #[test]
    fn scale_1_keeps_the_image_and_a_tiny_one_leaves_its_mean() {
        let image = noise(6, false);
        for interpolation in Enlarging::ALL {
            let same = changed(&step(1.0, *interpolation), image.clone(), 1);
            assert!(same.iter().zip(&image.levels).all(|(a, b)| (a - b).abs() < 1e-3));
            let mean = image.levels.iter().sum::<f32>() / image.levels.len() as f32;
            let flat = changed(&step(1e-6, *interpolation), image.clone(), 1);
            assert!(flat.iter().all(|v| (v - mean).abs() < 0.1));
        }
        assert_eq!(step(0.0, Enlarging::Nearest).violations().iter().count(), 1);
    }
}
