use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Beta, Distribution};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::paste::Paste;
use super::{Change, SampleView, Step};
use crate::geometry::Size;
use crate::violation::Violations;

/// Replaces a rectangle by that of another training image, with its labels. S. Yun et al., CutMix: Regularization
/// strategy to train strong classifiers with localizable features, ICCV 2019; the box is drawn as in torchvision.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct CutMix {
    /// Probability of the step, 0 to 1. Default 0.5.
    pub p: f64,
    /// The rectangle has the share `1 - lambda` of the image's area, less what lies outside the image, with lambda from
    /// the beta distribution Beta(alpha, alpha). From 0.01 to 100; default 1, which makes lambda uniform.
    pub alpha: f64,
}

impl Default for CutMix {
    fn default() -> Self {
        CutMix { p: 0.5, alpha: 1.0 }
    }
}

/// A draw from Beta(alpha, alpha).
pub(super) fn beta(alpha: f64, rng: &mut ChaCha8Rng) -> f64 {
    Beta::new(alpha, alpha).expect("alpha is above 0").sample(rng).clamp(0.0, 1.0)
}

/// Refuses a parameter of the beta distribution that is out of range.
pub(super) fn alpha_violations(alpha: f64) -> Violations {
    let mut wrong = Violations::new();
    wrong.expect((0.01..=100.0).contains(&alpha), "alpha", alpha, "from 0.01 to 100");
    wrong
}

/// The columns and rows of a rectangle about a random pixel, without what lies outside the image.
fn rectangle(size: Size, lambda: f64, rng: &mut ChaCha8Rng) -> [std::ops::Range<usize>; 2] {
    [size.width, size.height].map(|side| {
        let centre = rng.random_range(0..side);
        let half = (0.5 * (1.0 - lambda).sqrt() * f64::from(side)) as u32;
        centre.saturating_sub(half) as usize..(centre + half).min(side) as usize
    })
}

impl Step for CutMix {
    fn p(&self) -> f64 {
        self.p
    }

    fn draw(&self, view: &SampleView, rng: &mut ChaCha8Rng) -> Option<Change> {
        let size = view.size();
        let lambda = beta(self.alpha, rng);
        let [columns, rows] = rectangle(size, lambda, rng);
        let from = view.other(rng)?;
        let mut is_taken = vec![false; size.pixels()];
        let width = size.width as usize;
        rows.for_each(|y| is_taken[y * width..][columns.clone()].fill(true));
        Some(Change::operation(Paste { from, is_taken }))
    }

    fn violations(&self) -> Violations {
        alpha_violations(self.alpha)
    }

    fn needs_other_images(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;
    use crate::augment::list::tests::{assert_uniform, drawn_for};
    use crate::augment::{LabelledImage, NoOtherImages, Warp};

    #[test]
    fn rectangles_by_hand() {
        let size = Size { width: 100, height: 60 };
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        for _ in 0..200 {
            let [columns, rows] = rectangle(size, 0.75, &mut rng);
            assert!(columns.len() <= 50 && columns.len() >= 25 && rows.len() <= 30 && rows.len() >= 15);
            assert!(columns.end <= 100 && rows.end <= 60);
            assert!(rectangle(size, 1.0, &mut rng).iter().any(|range| range.is_empty()));
        }
    }

    #[test]
    fn lambda_has_a_beta_distribution() {
        let mut rng = ChaCha8Rng::seed_from_u64(9);
        let uniform: Vec<f64> = (0..4000).map(|_| 2.0 * beta(1.0, &mut rng) - 1.0).collect();
        assert_uniform(&uniform);
        // The variance of Beta(a, a) is 1 / (4 (2 a + 1)).
        for alpha in [0.2, 4.0] {
            let values: Vec<f64> = (0..4000).map(|_| beta(alpha, &mut rng)).collect();
            let variance = values.iter().map(|v| (v - 0.5).powi(2)).sum::<f64>() / 4000.0;
            assert!((variance * 4.0 * (2.0 * alpha + 1.0) - 1.0).abs() < 0.1, "{alpha}: {variance}");
        }
        assert_eq!(alpha_violations(0.0).iter().next().unwrap().key, "alpha");
        assert!(!alpha_violations(f64::NAN).is_empty());
    }

    #[test]
    fn the_rectangle_comes_from_the_other_image() {
        let size = Size { width: 20, height: 12 };
        let image = LabelledImage::new(size, vec![10.0; size.pixels()], vec![1; size.pixels()]);
        let other = || LabelledImage::new(size, vec![90.0; size.pixels()], vec![6; size.pixels()]);
        let view = SampleView { image: &image, pending: &Warp::default(), other: &|_| Some(other()) };
        let mut seen = [false; 2];
        for seed in 0..20 {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let Some(Change::Operation(operation)) = CutMix::default().draw(&view, &mut rng) else { panic!() };
            let mut mixed = image.clone();
            operation.apply(&mut mixed);
            for (level, word) in mixed.levels.iter().zip(&mixed.words) {
                assert!([(10.0, 1), (90.0, 6)].contains(&(*level, *word)));
                seen[usize::from(*word == 6)] = true;
            }
            assert!(mixed.mixed.is_none(), "each pixel has hard labels");
        }
        assert_eq!(seen, [true; 2]);
        // Without other images nothing changes.
        assert!(drawn_for(&CutMix::default(), &image, 1).is_none());
        let alone = crate::augment::Augmentation::CutMix(CutMix::default());
        assert_eq!(alone.apply_always(image.clone(), &NoOtherImages, &mut ChaCha8Rng::seed_from_u64(1)), image);
    }
}
