//! The pixels of a crop.

use std::io::{self, Write};

use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ExtendedColorType, ImageEncoder};

use super::{CropBox, HandRegion};
use crate::dataset::{GreyImage, Levels};

/// Blackens the first `top` rows and the first `left` columns of an image with 0 as black.
pub fn blacken_strips(image: &mut GreyImage, top: u32, left: u32) {
    let width = image.width() as usize;
    let [top, left] = [top.min(image.height()), left.min(image.width())].map(|px| px as usize);
    fn blacken<T: Copy + Default>(levels: &mut [T], width: usize, top: usize, left: usize) {
        levels[..top * width].fill(T::default());
        levels.chunks_exact_mut(width).for_each(|row| row[..left].fill(T::default()));
    }
    match image.levels_mut() {
        Levels::Eight(levels) => blacken(levels, width, top, left),
        Levels::Sixteen(levels) => blacken(levels, width, top, left),
    }
}

/// Blackens the pixels outside the hand, in an image with 0 as black.
pub fn blacken_background(image: &mut GreyImage, hand: &HandRegion) {
    let width = image.width() as usize;
    let is_outside = |at: usize| !hand.contains((at % width) as u32, (at / width) as u32);
    fn blacken<T: Copy + Default>(levels: &mut [T], is_outside: impl Fn(usize) -> bool) {
        levels.iter_mut().enumerate().filter(|(at, _)| is_outside(*at)).for_each(|(_, level)| *level = T::default());
    }
    match image.levels_mut() {
        Levels::Eight(levels) => blacken(levels, is_outside),
        Levels::Sixteen(levels) => blacken(levels, is_outside),
    }
}

/// Cuts the box out of an image with 0 as black; the crop is black beyond the image.
pub fn cut(image: &GreyImage, area: CropBox) -> GreyImage {
    let levels = match image.levels() {
        Levels::Eight(levels) => Levels::Eight(cut_levels(levels, image, area)),
        Levels::Sixteen(levels) => Levels::Sixteen(cut_levels(levels, image, area)),
    };
    image.with_levels(area.width, area.height, levels).expect("one level per pixel of the box")
}

fn cut_levels<T: Copy + Default>(levels: &[T], image: &GreyImage, area: CropBox) -> Vec<T> {
    let (width, height) = (i64::from(image.width()), i64::from(image.height()));
    let mut crop = vec![T::default(); area.width as usize * area.height as usize];
    let (from, to) = (area.x.clamp(0, width), (area.x + i64::from(area.width)).clamp(0, width));
    for (y, row) in (area.y..).zip(crop.chunks_exact_mut(area.width as usize)) {
        if from < to && (0..height).contains(&y) {
            let source = &levels[(y * width + from) as usize..(y * width + to) as usize];
            row[(from - area.x) as usize..][..source.len()].copy_from_slice(source);
        }
    }
    crop
}

/// Writes a grey PNG with the image's own depth, 8 or 16 bits.
///
/// # Errors
/// The image cannot be encoded or written.
pub fn write_png(out: &mut impl Write, image: &GreyImage) -> io::Result<()> {
    let encoder = PngEncoder::new_with_quality(out, CompressionType::Fast, FilterType::Adaptive);
    let (width, height) = image.dimensions();
    let written = match image.levels() {
        Levels::Eight(levels) => encoder.write_image(levels, width, height, ExtendedColorType::L8),
        Levels::Sixteen(levels) => {
            let bytes: Vec<u8> = levels.iter().flat_map(|level| level.to_ne_bytes()).collect();
            encoder.write_image(&bytes, width, height, ExtendedColorType::L16)
        }
    };
    written.map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::image::decode;

    fn both(width: u32, height: u32, level: impl Fn(u32, u32) -> u8) -> [GreyImage; 2] {
        let levels: Vec<u8> = (0..width * height).map(|at| level(at % width, at / width)).collect();
        let deep = levels.iter().map(|v| u16::from(*v) * 10).collect();
        [Levels::Eight(levels), Levels::Sixteen(deep)].map(|levels| GreyImage::new(width, height, levels).unwrap())
    }

    #[test]
    fn only_strips_are_blackened() {
        for mut image in both(5, 4, |_, _| 9) {
            let kept = image.level_at(4, 3);
            blacken_strips(&mut image, 1, 2);
            for (x, y) in (0..20).map(|at| (at % 5, at / 5)) {
                assert_eq!(image.level_at(x, y), if x < 2 || y < 1 { 0 } else { kept }, "{x} {y}");
            }
            blacken_strips(&mut image, 100, 100);
            assert!(image.to_eight_bit().iter().all(|level| *level == 0));
        }
    }

    #[test]
    fn a_crop_is_black_beyond_the_image_and_keeps_its_depth() {
        for image in both(4, 3, |x, y| (10 * y + x + 1) as u8) {
            let factor = if image.sixteen_bit_top().is_some() { 10 } else { 1 };
            let cut = |area: CropBox| {
                let crop = cut(&image.clone().with_top(4000), area);
                let mut file = Vec::new();
                write_png(&mut file, &crop).unwrap();
                let (read, bits) = decode(&file).unwrap();
                assert_eq!((bits, read.levels()), (if factor == 1 { 8 } else { 16 }, crop.levels()));
                assert_eq!(crop.top(), 4000);
                let all = (0..crop.height()).flat_map(|y| (0..crop.width()).map(move |x| (x, y)));
                all.map(|(x, y)| crop.level_at(x, y) / factor).collect::<Vec<_>>()
            };
            let crop = cut(CropBox { x: -1, y: 1, width: 6, height: 3 });
            assert_eq!(crop, [0, 11, 12, 13, 14, 0, 0, 21, 22, 23, 24, 0, 0, 0, 0, 0, 0, 0]);
            assert_eq!(cut(CropBox { x: 1, y: 1, width: 2, height: 2 }), [12, 13, 22, 23]);
            for (x, y) in [(-9, 0), (9, 0), (0, -9), (0, 9)] {
                assert_eq!(cut(CropBox { x, y, width: 2, height: 2 }), [0; 4]);
            }
        }
    }
}
