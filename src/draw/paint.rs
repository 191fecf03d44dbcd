use image::{Rgb, RgbImage};

use super::Spans;

/// Mixes `alpha` of `colour` into the pixels of `spans`.
pub(super) fn paint(picture: &mut RgbImage, spans: &Spans, colour: [u8; 3], alpha: f32) {
    for (y, a, b) in spans.iter() {
        for x in a..b {
            blend(picture.get_pixel_mut(x, y), colour, alpha);
        }
    }
}

/// Mixes `alpha` of `colour` into a pixel.
pub(super) fn blend(pixel: &mut Rgb<u8>, colour: [u8; 3], alpha: f32) {
    for (p, c) in pixel.0.iter_mut().zip(colour) {
        *p = (f32::from(*p) + alpha.clamp(0.0, 1.0) * (f32::from(c) - f32::from(*p))).round() as u8;
    }
}
