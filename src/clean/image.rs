//! The pixels of a crop.

use std::io::{self, Write};

use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ExtendedColorType, GrayImage, ImageEncoder, Luma};

use super::{CropBox, HandRegion};

/// Blackens the first `top` rows and the first `left` columns.
pub fn blacken_strips(image: &mut GrayImage, top: u32, left: u32) {
    let (width, height) = image.dimensions();
    let pixels: &mut [u8] = image;
    pixels[..(top.min(height) * width) as usize].fill(0);
    for row in pixels.chunks_exact_mut(width as usize) {
        row[..left.min(width) as usize].fill(0);
    }
}

/// Blackens the pixels outside the hand.
pub fn blacken_background(image: &mut GrayImage, hand: &HandRegion) {
    for (x, y, pixel) in image.enumerate_pixels_mut() {
        if !hand.contains(x, y) {
            *pixel = Luma([0]);
        }
    }
}

/// Cuts out the box; the crop is black beyond the image.
pub fn cut(image: &GrayImage, area: CropBox) -> GrayImage {
    let mut crop = GrayImage::new(area.width, area.height);
    image::imageops::replace(&mut crop, image, -area.x, -area.y);
    crop
}

/// Writes an 8-bit grey PNG.
///
/// # Errors
/// The image cannot be encoded or written.
pub fn write_png(out: &mut impl Write, image: &GrayImage) -> io::Result<()> {
    PngEncoder::new_with_quality(out, CompressionType::Fast, FilterType::Adaptive)
        .write_image(image, image.width(), image.height(), ExtendedColorType::L8)
        .map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_strips_are_blackened() {
        let mut image = GrayImage::from_pixel(5, 4, Luma([9]));
        blacken_strips(&mut image, 1, 2);
        for (x, y, pixel) in image.enumerate_pixels() {
            assert_eq!(pixel.0[0], if x < 2 || y < 1 { 0 } else { 9 }, "{x} {y}");
        }
        blacken_strips(&mut image, 100, 100);
        assert!(image.pixels().all(|p| p.0[0] == 0));
    }

    #[test]
    fn a_crop_is_black_beyond_the_image() {
        let image = GrayImage::from_fn(4, 3, |x, y| Luma([(10 * y + x + 1) as u8]));
        let crop = cut(&image, CropBox { x: -1, y: 1, width: 6, height: 3 });
        assert_eq!(crop.as_raw(), &[0, 11, 12, 13, 14, 0, 0, 21, 22, 23, 24, 0, 0, 0, 0, 0, 0, 0]);
        let inner = cut(&image, CropBox { x: 1, y: 1, width: 2, height: 2 });
        assert_eq!(inner.as_raw(), &[12, 13, 22, 23]);
    }
}
