use rand_chacha::ChaCha8Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::TchError;

use super::histogram::{LevelCounts, histogram, histogram_of_tensor};
use super::level_curve::LevelCurve;
use super::reference_image::ReferenceImage;
use super::{Amount, Change, DeviceImage, DeviceOperation, LabelledImage, Operation, SampleView, Step};
use crate::violation::Violations;

/// Gives the image the histogram of another one, as scikit-image's `match_histograms`, and mixes the result with the
/// image itself. As albumentations' `HistogramMatching`, which cuts the fraction off matched levels and resizes the
/// other image to this one's size before it counts its levels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct HistogramMatching {
    /// Probability of the step, 0 to 1. Default 0.5.
    pub p: f64,
    /// Image file to match; absent: another image of the training set, drawn for each sample.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<std::path::PathBuf>", example = &"reference.png")]
    pub reference: Option<ReferenceImage>,
    /// Share of the matched image in the result: a number, or a pair to draw from. From 0 to 1; default `[0.5, 1.0]`.
    pub blend: Amount,
}

impl Default for HistogramMatching {
    fn default() -> Self {
        HistogramMatching { p: 0.5, reference: None, blend: Amount::Between([0.5, 1.0]) }
    }
}

impl Step for HistogramMatching {
    fn p(&self) -> f64 {
        self.p
    }

    /// # Panics
    /// The file `reference` cannot be read, which [`HistogramMatching::violations`] refuses.
    fn draw(&self, view: &SampleView, rng: &mut ChaCha8Rng) -> Option<Change> {
        let blend = self.blend.draw(rng) as f32;
        let wanted = match &self.reference {
            Some(reference) => *reference.histogram().unwrap_or_else(|reason| {
                panic!("augment: the reference image {} cannot be read: {reason}", reference.path().display())
            }),
            None => histogram(&view.other(rng)?.levels),
        };
        Some(Change::operation(Matching { wanted, blend }))
    }

    fn violations(&self) -> Violations {
        let mut wrong = Violations::new();
        if let Some(reference) = &self.reference
            && let Err(reason) = reference.histogram()
        {
            let expected = format!("an image file that can be read ({reason})");
            wrong.refuse("reference", reference.path().display(), expected);
        }
        self.blend.expect(&mut wrong, "blend", |v| (0.0..=1.0).contains(&v), "from 0 to 1");
        wrong
    }

    fn needs_other_images(&self) -> bool {
        self.reference.is_none()
    }
}

/// The histogram to match, and the share of the matched image.
struct Matching {
    wanted: LevelCounts,
    blend: f32,
}

impl Matching {
    /// Each level of an image with these counts becomes the level up to which the wanted histogram has the same share of
    /// pixels, interpolated linearly between its levels.
    fn curve(&self, counts: &LevelCounts) -> LevelCurve {
        let shares = |counts: &LevelCounts| {
            let (mut sum, all) = (0, counts.iter().sum::<u64>() as f64);
            counts.map(|n| {
                sum += n;
                sum as f64 / all
            })
        };
        let own = shares(counts);
        let wanted = shares(&self.wanted);
        let present: Vec<usize> = (0..256).filter(|level| self.wanted[*level] > 0).collect();
        let matched = |share: f64| {
            let after = present.partition_point(|level| wanted[*level] <= share);
            match (after.checked_sub(1).map(|i| present[i]), present.get(after)) {
                (None, first) => first.map_or(0.0, |level| *level as f64),
                (Some(last), None) => last as f64,
                (Some(a), Some(b)) => {
                    let slope = (b - a) as f64 / (wanted[*b] - wanted[a]);
                    slope * (share - wanted[a]) + a as f64
                }
            }
        };
        let mixed = |level: usize| {
            let level_f32 = level as f32;
            level_f32 + self.blend * (matched(own[level]) as f32 - level_f32)
        };
        LevelCurve(std::array::from_fn(mixed))
    }
}

impl Operation for Matching {
    fn apply(&self, image: &mut LabelledImage) {
        self.curve(&histogram(&image.levels)).apply(&mut image.levels);
    }

    fn on_device(&self) -> Option<&dyn DeviceOperation> {
        Some(self)
    }
}

impl DeviceOperation for Matching {
    fn apply(&self, image: &mut DeviceImage) -> Result<(), TchError> {
        image.levels = self.curve(&histogram_of_tensor(&image.levels)?).of_tensor(&image.levels)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;
    use crate::augment::list::tests::drawn_for;
    use crate::augment::trial::{applied, assert_same_on_device, noise};
    use crate::augment::{Augmentation, OtherImages};
    use crate::geometry::Size;

    fn to(path: &std::path::Path, blend: f64) -> HistogramMatching {
        let reference = Some(ReferenceImage::from(path.to_path_buf()));
        HistogramMatching { reference, blend: Amount::Fixed(blend), ..HistogramMatching::default() }
    }

    #[test]
    fn levels_by_hand() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("reference.png");
        image::GrayImage::from_raw(4, 1, vec![100, 100, 100, 200]).unwrap().save(&path).unwrap();
        // Half of the pixels are at 10 or below: below the three quarters at 100. At 20, all are.
        assert_eq!(applied(&to(&path, 1.0), &[10.0, 10.0, 20.0, 20.0]), [100.0, 100.0, 200.0, 200.0]);
        assert_eq!(applied(&to(&path, 0.5), &[10.0, 10.0, 20.0, 20.0]), [55.0, 55.0, 110.0, 110.0]);
        // 7 of 8 pixels are in the middle between the two levels' shares.
        let eighths = [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 2.0];
        assert_eq!(applied(&to(&path, 1.0), &eighths)[0], 150.0);
        assert_same_on_device(&to(&path, 0.7), &noise(3, false));
    }

    #[test]
    fn the_reference_is_read_once_and_an_unreadable_one_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("reference.png");
        let text = to(&path, 2.0).violations().to_string();
        assert!(text.contains("reference.png; expected an image file that can be read"), "{text}");
        assert!(text.contains("blend is 2; expected from 0 to 1"), "{text}");
        image::GrayImage::from_pixel(4, 4, image::Luma([9])).save(&path).unwrap();
        let step = to(&path, 1.0);
        assert!(step.violations().is_empty());
        std::fs::remove_file(&path).unwrap();
        assert_eq!(applied(&step.clone(), &[1.0, 2.0]), [9.0, 9.0]);
    }

    #[test]
    fn without_a_reference_another_image_is_matched() {
        struct One(LabelledImage);
        impl OtherImages for One {
            fn count(&self) -> usize {
                1
            }
            fn image(&self, _: usize) -> Option<LabelledImage> {
                Some(self.0.clone())
            }
        }
        let step = HistogramMatching { blend: Amount::Fixed(1.0), ..HistogramMatching::default() };
        assert!(step.needs_other_images());
        let image = LabelledImage::new(Size { width: 2, height: 1 }, vec![1.0, 2.0], vec![3, 4]);
        let other = One(LabelledImage { levels: vec![50.0, 70.0], words: vec![0, 0], ..image.clone() });
        assert!(drawn_for(&step, &image, 1).is_none(), "there is no other image");
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let matched = Augmentation::HistogramMatching(step).apply_always(image, &other, &mut rng);
        assert_eq!((matched.levels, matched.words), (vec![50.0, 70.0], vec![3, 4]));
    }
}
