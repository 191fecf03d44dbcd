use rand_chacha::ChaCha8Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{TchError, Tensor};

use super::cut_mix::{alpha_violations, beta};
use super::paste::words_on;
use super::{Change, DeviceImage, DeviceOperation, LabelledImage, MixedLabels, Operation, SampleView, Step};
use crate::violation::Violations;

/// Blends another training image into the sample: grey levels and labels are `lambda` times those of the sample plus
/// `1 - lambda` times those of the other image. Only losses that take soft targets can be used. H. Zhang et al., mixup:
/// Beyond empirical risk minimization, ICLR 2018.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct MixUp {
    /// Probability of the step, 0 to 1. Default 0.5.
    pub p: f64,
    /// lambda is drawn from the beta distribution Beta(alpha, alpha): near 0 or 1 for a small alpha, near 0.5 for a large
    /// one. From 0.01 to 100; default 1, which makes lambda uniform.
    pub alpha: f64,
}

impl Default for MixUp {
    fn default() -> Self {
        MixUp { p: 0.5, alpha: 1.0 }
    }
}

impl Step for MixUp {
    fn p(&self) -> f64 {
        self.p
    }

    fn draw(&self, view: &SampleView, rng: &mut ChaCha8Rng) -> Option<Change> {
        let share = (1.0 - beta(self.alpha, rng)) as f32;
        Some(Change::operation(Blend { other: view.other(rng)?, share }))
    }

    fn violations(&self) -> Violations {
        alpha_violations(self.alpha)
    }

    fn needs_other_images(&self) -> bool {
        true
    }

    fn mixes_labels(&self) -> bool {
        true
    }
}

/// Blends an image into another one, which has hard labels.
struct Blend {
    other: LabelledImage,
    /// Share of the other image.
    share: f32,
}

impl Operation for Blend {
    fn apply(&self, image: &mut LabelledImage) {
        let levels = image.levels.iter_mut().zip(&self.other.levels);
        levels.for_each(|(level, other)| *level = (1.0 - self.share) * *level + self.share * other);
        image.mixed = Some(MixedLabels { words: self.other.words.clone(), share: self.share });
    }

    fn on_device(&self) -> Option<&dyn DeviceOperation> {
        Some(self)
    }
}

impl DeviceOperation for Blend {
    fn apply(&self, image: &mut DeviceImage) -> Result<(), TchError> {
        let other = Tensor::f_from_slice(&self.other.levels)?.f_view_as(&image.levels)?;
        let other = other.f_to_device(image.levels.device())?.f_mul_scalar_(f64::from(self.share))?;
        image.levels = image.levels.f_mul_scalar(f64::from(1.0 - self.share))?.f_add_(&other)?;
        image.mixed = Some((words_on(&self.other.words, &image.words)?, self.share));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;
    use crate::augment::paste::tests::{assert_same_on_device, random_image};
    use crate::augment::{Augmentation, Augmentations, Flip, OtherImages};
    use crate::geometry::Size;

    #[test]
    fn levels_are_blended_and_labels_kept_apart() {
        let size = Size { width: 2, height: 1 };
        let blend = Blend { other: LabelledImage::new(size, vec![200.0, 0.0], vec![4, 1]), share: 0.25 };
        let mut image = LabelledImage::new(size, vec![100.0, 40.0], vec![1, 2]);
        Operation::apply(&blend, &mut image);
        assert_eq!((&image.levels[..], &image.words[..]), (&[125.0, 30.0][..], &[1, 2][..]));
        assert_eq!(image.mixed, Some(MixedLabels { words: vec![4, 1], share: 0.25 }));
    }

    #[test]
    fn a_device_gives_the_same() {
        let (size, mut rng) = (Size { width: 9, height: 14 }, ChaCha8Rng::seed_from_u64(8));
        let hard = |rng: &mut ChaCha8Rng| LabelledImage { mixed: None, ..random_image(size, rng) };
        let blend = Blend { other: hard(&mut rng), share: 0.37 };
        assert_same_on_device(&blend, &hard(&mut rng));
    }

    struct One(LabelledImage);

    impl OtherImages for One {
        fn count(&self) -> usize {
            1
        }

        fn image(&self, _: usize) -> Option<LabelledImage> {
            Some(self.0.clone())
        }
    }

    /// A map after the step moves the labels of both images.
    #[test]
    fn maps_before_and_after_move_both_images() {
        let size = Size { width: 5, height: 1 };
        let other = One(LabelledImage::new(size, vec![0.0, 0.0, 0.0, 0.0, 250.0], vec![0, 0, 0, 0, 2]));
        let image = LabelledImage::new(size, vec![250.0, 0.0, 0.0, 0.0, 0.0], vec![1, 0, 0, 0, 0]);
        let flip = Augmentation::Flip(Flip { p: 1.0 });
        let mix = Augmentation::MixUp(MixUp { p: 1.0, ..MixUp::default() });
        let at = |words: &[u32], class| words.iter().position(|word| *word == class);
        for (steps, first, second) in [(vec![mix.clone(), flip.clone()], 4, 0), (vec![flip, mix], 4, 0)] {
            let mixed = Augmentations(steps).apply(image.clone(), &other, &mut ChaCha8Rng::seed_from_u64(2));
            let labels = mixed.mixed.unwrap();
            assert_eq!((at(&mixed.words, 1), at(&labels.words, 2)), (Some(first), Some(second)));
            assert!((mixed.levels[second] - 250.0 * labels.share).abs() < 1e-3, "{:?}", mixed.levels);
            assert!((mixed.levels[first] - 250.0 * (1.0 - labels.share)).abs() < 1e-3, "{:?}", mixed.levels);
        }
    }
}
