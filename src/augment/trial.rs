//! Applies single steps to small images, for their tests.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tch::Tensor;

use super::list::tests::drawn_for;
use super::{Change, DeviceImage, LabelledImage, Step};
use crate::geometry::Size;

/// The levels after a step that was drawn with `seed`.
pub fn changed(step: &dyn Step, mut image: LabelledImage, seed: u64) -> Vec<f32> {
    let Some(Change::Operation(operation)) = drawn_for(step, &image, seed) else { panic!("an operation") };
    operation.apply(&mut image);
    image.levels
}

/// The levels of a row of pixels after a step that was drawn with `seed`.
pub fn applied_by<const N: usize>(step: &dyn Step, levels: &[f32; N], seed: u64) -> [f32; N] {
    let image = LabelledImage::new(Size { width: N as u32, height: 1 }, levels.to_vec(), vec![0; N]);
    changed(step, image, seed).try_into().expect("no pixel is lost")
}

/// The levels of a row of pixels after a step.
pub fn applied<const N: usize>(step: &dyn Step, levels: &[f32; N]) -> [f32; N] {
    applied_by(step, levels, 1)
}

/// Random grey levels of an image of 61 x 43 px, whole or with fractions.
pub fn noise(seed: u64, whole: bool) -> LabelledImage {
    let size = Size { width: 61, height: 43 };
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let level = |_| {
        let level: f32 = rng.random_range(0.0..=255.0);
        if whole { level.round() } else { level }
    };
    LabelledImage::new(size, (0..size.pixels()).map(level).collect(), vec![0; size.pixels()])
}

/// Checks that a step changes an image on the CPU and on a device in the same way, within one grey level.
pub fn assert_same_on_device(step: &dyn Step, image: &LabelledImage) {
    for seed in 0..5 {
        let Some(Change::Operation(operation)) = drawn_for(step, image, seed) else { panic!("an operation") };
        let mut here = image.clone();
        operation.apply(&mut here);
        let shape = [i64::from(image.size.height), i64::from(image.size.width)];
        let words: Vec<i32> = image.words.iter().map(|w| *w as i32).collect();
        let mut there = DeviceImage {
            levels: Tensor::from_slice(&image.levels).view(shape),
            words: Tensor::from_slice(&words).view(shape),
            mixed: None,
        };
        operation.on_device().expect("the step can run on a device").apply(&mut there).unwrap();
        assert_eq!(there.levels.size(), shape);
        let there = Vec::<f32>::try_from(there.levels.contiguous().view([-1])).unwrap();
        assert_ne!(here.levels, image.levels, "the step changes something");
        for (here, there) in here.levels.iter().zip(there) {
            assert!((here - there).abs() <= 1.0, "{here} on the CPU, {there} on the device, seed {seed}");
        }
    }
}
