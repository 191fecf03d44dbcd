use tch::{Kind, TchError, Tensor};

use super::holes::mask_on;
use super::{DeviceImage, DeviceOperation, LabelledImage, Operation};

/// Replaces pixels by those of another image, with all their labels: grey levels and labels of a pasted pixel are those
/// of the other image, whatever was there before.
pub(super) struct Paste {
    /// The image that pixels are taken from, of the same size.
    pub from: LabelledImage,
    /// Whether each pixel is taken, row-major.
    pub is_taken: Vec<bool>,
}

impl Operation for Paste {
    fn apply(&self, image: &mut LabelledImage) {
        for at in self.is_taken.iter().enumerate().filter_map(|(at, is_taken)| is_taken.then_some(at)) {
            image.levels[at] = self.from.levels[at];
            image.words[at] = self.from.words[at];
            if let Some(mixed) = &mut image.mixed {
                mixed.words[at] = self.from.words[at];
            }
        }
    }

    fn on_device(&self) -> Option<&dyn DeviceOperation> {
        Some(self)
    }
}

impl DeviceOperation for Paste {
    fn apply(&self, image: &mut DeviceImage) -> Result<(), TchError> {
        let is_taken = mask_on(&self.is_taken, self.from.size, image)?;
        let levels = Tensor::f_from_slice(&self.from.levels)?.f_view_as(&is_taken)?;
        let words = words_on(&self.from.words, &image.words)?;
        image.levels = levels.f_to_device(image.levels.device())?.f_where_self(&is_taken, &image.levels)?;
        image.words = words.f_where_self(&is_taken, &image.words)?;
        if let Some((second, _)) = &mut image.mixed {
            *second = words.f_where_self(&is_taken, second)?;
        }
        Ok(())
    }
}

/// Label words as a tensor with the shape and device of `like`.
pub(super) fn words_on(words: &[u32], like: &Tensor) -> Result<Tensor, TchError> {
    let words: Vec<i32> = words.iter().map(|word| *word as i32).collect();
    Tensor::f_from_slice(&words)?.f_view_as(like)?.f_to_kind(Kind::Int)?.f_to_device(like.device())
}

#[cfg(test)]
pub(super) mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;
    use tch::Device;

    use super::*;
    use crate::augment::MixedLabels;
    use crate::geometry::Size;

    /// An image with random levels and a few random labels, and a second image's labels.
    pub fn random_image(size: Size, rng: &mut ChaCha8Rng) -> LabelledImage {
        let levels = (0..size.pixels()).map(|_| rng.random_range(0.0..=255.0)).collect();
        let mut words = || (0..size.pixels()).map(|_| 1u32 << rng.random_range(0..29u32) & 0x1111_0011).collect();
        let (first, second) = (words(), words());
        let mixed = Some(MixedLabels { words: second, share: 0.3 });
        LabelledImage { mixed, ..LabelledImage::new(size, levels, first) }
    }

    /// Checks that an operation does the same on a device, up to one grey level.
    pub fn assert_same_on_device(operation: &dyn Operation, image: &LabelledImage) {
        let device = operation.on_device().expect("it can be made on a device");
        let shape = [i64::from(image.size.height), i64::from(image.size.width)];
        let zeros = Tensor::zeros(shape, (Kind::Int, Device::Cpu));
        let mut on_device = DeviceImage {
            levels: Tensor::from_slice(&image.levels).view(shape),
            words: words_on(&image.words, &zeros).unwrap(),
            mixed: image.mixed.as_ref().map(|mixed| (words_on(&mixed.words, &zeros).unwrap(), mixed.share)),
        };
        device.apply(&mut on_device).unwrap();
        let mut here = image.clone();
        operation.apply(&mut here);
        assert_ne!(&here, image, "it changes the image");
        let levels = Tensor::from_slice(&here.levels).view(shape);
        let worst = (levels - on_device.levels).abs().max().double_value(&[]);
        assert!(worst < 1.0, "{worst} grey levels");
        assert_eq!(words_on(&here.words, &zeros).unwrap(), on_device.words);
        let second = |(words, share): (Tensor, f32)| (Vec::<i32>::try_from(words.view([-1])).unwrap(), share);
        let wanted = here.mixed.map(|mixed| (mixed.words.iter().map(|w| *w as i32).collect::<Vec<i32>>(), mixed.share));
        assert_eq!(wanted, on_device.mixed.map(second));
    }

    #[test]
    fn pasted_pixels_have_the_levels_and_labels_of_their_source() {
        let size = Size { width: 3, height: 1 };
        let from = LabelledImage::new(size, vec![1.0, 2.0, 3.0], vec![8, 9, 0]);
        let paste = Paste { from, is_taken: vec![false, true, true] };
        let mut image = LabelledImage::new(size, vec![50.0; 3], vec![1; 3]);
        image.mixed = Some(MixedLabels { words: vec![2; 3], share: 0.5 });
        Operation::apply(&paste, &mut image);
        assert_eq!((&image.levels[..], &image.words[..]), (&[50.0, 2.0, 3.0][..], &[1, 9, 0][..]));
        assert_eq!(image.mixed.unwrap().words, [2, 9, 0], "nothing of the blended image is left either");
    }

    #[test]
    fn a_device_gives_the_same() {
        let (size, mut rng) = (Size { width: 19, height: 11 }, ChaCha8Rng::seed_from_u64(2));
        let is_taken = (0..size.pixels()).map(|_| rng.random_bool(0.4)).collect();
        let from = LabelledImage { mixed: None, ..random_image(size, &mut rng) };
        assert_same_on_device(&Paste { from, is_taken }, &random_image(size, &mut rng));
    }
}
