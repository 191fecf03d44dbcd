use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Kind, TchError, Tensor};

use super::{DeviceImage, DeviceOperation, LabelledImage, Operation};
use crate::geometry::{PixelBox, Size};
use crate::violation::Violations;

/// The grey levels of dropped pixels.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "a grey level from 0 to 255, \"random\" or \"noise\"")]
pub enum HoleFill {
    /// This level.
    Level(f64),
    /// Random levels.
    Random(RandomFill),
}

/// Random grey levels of dropped pixels.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RandomFill {
    /// One whole level from 0 to 255 for each hole.
    Random,
    /// A whole level from 0 to 255 for each pixel.
    Noise,
}

impl Default for HoleFill {
    fn default() -> Self {
        HoleFill::Level(0.0)
    }
}

impl HoleFill {
    pub(super) fn violations(self) -> Violations {
        let mut wrong = Violations::new();
        if let HoleFill::Level(level) = self {
            let expected = "a grey level from 0 to 255, \"random\" or \"noise\"";
            wrong.expect((0.0..=255.0).contains(&level), "fill", level, expected);
        }
        wrong
    }
}

/// Replaces the grey levels of rectangles; a later one covers an earlier one.
pub(super) struct Holes {
    size: Size,
    /// Whether each pixel is in a hole, row-major.
    is_hole: Vec<bool>,
    /// The new levels, 0 outside the holes.
    levels: Vec<f32>,
    erase_labels: bool,
}

impl Holes {
    /// Holes in an image of this size with levels drawn from `rng`.
    pub fn new(size: Size, holes: &[PixelBox], fill: HoleFill, erase_labels: bool, rng: &mut ChaCha8Rng) -> Holes {
        let mut made =
            Holes { size, is_hole: vec![false; size.pixels()], levels: vec![0.0; size.pixels()], erase_labels };
        let mut whole = || f32::from(rng.random_range(0..=255u8));
        for hole in holes {
            let constant = match fill {
                HoleFill::Level(level) => Some(level as f32),
                HoleFill::Random(RandomFill::Random) => Some(whole()),
                HoleFill::Random(RandomFill::Noise) => None,
            };
            for y in hole.y_min..=hole.y_max {
                for x in hole.x_min..=hole.x_max {
                    let at = y as usize * size.width as usize + x as usize;
                    made.is_hole[at] = true;
                    made.levels[at] = constant.unwrap_or_else(&mut whole);
                }
            }
        }
        made
    }
}

impl Operation for Holes {
    fn apply(&self, image: &mut LabelledImage) {
        let levels = image.levels.iter_mut().zip(&self.levels).zip(&self.is_hole);
        levels.filter(|(_, is_hole)| **is_hole).for_each(|((level, new), _)| *level = *new);
        if self.erase_labels {
            let second = image.mixed.as_mut().map(|mixed| &mut mixed.words);
            for words in [Some(&mut image.words), second].into_iter().flatten() {
                words.iter_mut().zip(&self.is_hole).filter(|(_, is_hole)| **is_hole).for_each(|(word, _)| *word = 0);
            }
        }
    }

    fn on_device(&self) -> Option<&dyn DeviceOperation> {
        Some(self)
    }
}

impl DeviceOperation for Holes {
    fn apply(&self, image: &mut DeviceImage) -> Result<(), TchError> {
        let device = image.levels.device();
        let is_hole = mask_on(&self.is_hole, self.size, image)?;
        let levels = Tensor::f_from_slice(&self.levels)?.f_view_as(&is_hole)?.f_to_device(device)?;
        image.levels = levels.f_where_self(&is_hole, &image.levels)?;
        if self.erase_labels {
            image.words = image.words.f_masked_fill(&is_hole, 0)?;
            if let Some((words, _)) = &mut image.mixed {
                *words = words.f_masked_fill(&is_hole, 0)?;
            }
        }
        Ok(())
    }
}

/// A mask as booleans `[H, W]` on the device of the image.
pub(super) fn mask_on(mask: &[bool], size: Size, image: &DeviceImage) -> Result<Tensor, TchError> {
    let bytes: Vec<u8> = mask.iter().map(|set| u8::from(*set)).collect();
    let mask = Tensor::f_from_slice(&bytes)?.f_view([i64::from(size.height), i64::from(size.width)])?;
    mask.f_to_kind(Kind::Bool)?.f_to_device(image.levels.device())
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;
    use crate::augment::paste::tests::{assert_same_on_device, random_image};

    #[test]
    fn holes_by_hand() {
        let size = Size { width: 4, height: 2 };
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let hole = |x_min, x_max| PixelBox { x_min, y_min: 0, x_max, y_max: 0 };
        for erase_labels in [false, true] {
            let holes = Holes::new(size, &[hole(0, 1), hole(3, 3)], HoleFill::Level(7.5), erase_labels, &mut rng);
            let mut image = LabelledImage::new(size, vec![100.0; 8], vec![5; 8]);
            Operation::apply(&holes, &mut image);
            assert_eq!(image.levels, [7.5, 7.5, 100.0, 7.5, 100.0, 100.0, 100.0, 100.0]);
            let first = if erase_labels { [0, 0, 5, 0] } else { [5; 4] };
            assert_eq!((&image.words[..4], &image.words[4..]), (&first[..], &[5; 4][..]));
        }
    }

    #[test]
    fn random_levels_are_per_hole_or_per_pixel() {
        let size = Size { width: 60, height: 40 };
        let whole = PixelBox { x_min: 0, y_min: 0, x_max: 59, y_max: 39 };
        let levels = |fill, seed| {
            Holes::new(size, &[whole], HoleFill::Random(fill), false, &mut ChaCha8Rng::seed_from_u64(seed)).levels
        };
        let noise = levels(RandomFill::Noise, 1);
        // 2,400 of the 256 levels: nearly all occur, and their mean is 127.5 up to four standard errors.
        let distinct: std::collections::BTreeSet<i32> = noise.iter().map(|v| *v as i32).collect();
        let mean = noise.iter().sum::<f32>() / 2400.0;
        assert!(distinct.len() > 250 && (mean - 127.5).abs() < 6.1, "{} levels, mean {mean}", distinct.len());
        let constant: Vec<f32> = (0..40).map(|seed| levels(RandomFill::Random, seed)).map(|of| of[17]).collect();
        assert!(levels(RandomFill::Random, 3).iter().all(|v| *v == constant[3]));
        assert!(constant.iter().any(|v| *v != constant[0]));
    }

    #[test]
    fn a_device_gives_the_same() {
        let size = Size { width: 23, height: 17 };
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let holes = [
            PixelBox { x_min: 2, y_min: 1, x_max: 9, y_max: 12 },
            PixelBox { x_min: 8, y_min: 8, x_max: 22, y_max: 16 },
        ];
        for (fill, erase_labels) in [(HoleFill::Level(3.25), true), (HoleFill::Random(RandomFill::Noise), false)] {
            let operation = Holes::new(size, &holes, fill, erase_labels, &mut rng);
            assert_same_on_device(&operation, &random_image(size, &mut rng));
        }
    }

    #[test]
    fn fills_are_read_and_checked() {
        #[derive(Deserialize)]
        struct File {
            fill: HoleFill,
        }
        for (text, wanted) in [
            ("fill = 12", HoleFill::Level(12.0)),
            ("fill = 0.5", HoleFill::Level(0.5)),
            ("fill = 'random'", HoleFill::Random(RandomFill::Random)),
            ("fill = 'noise'", HoleFill::Random(RandomFill::Noise)),
        ] {
            let fill = toml::from_str::<File>(text).unwrap().fill;
            assert_eq!(fill, wanted);
            assert!(fill.violations().is_empty());
        }
        assert!(toml::from_str::<File>("fill = 'grey'").is_err());
        for level in [-1.0, 256.0, f64::NAN] {
            assert_eq!(HoleFill::Level(level).violations().iter().next().unwrap().key, "fill");
        }
    }
}
