//! Text on pictures, in Korean and English.

use ab_glyph::{Font, PxScale, ScaleFont, point};
use image::RgbImage;

use super::paint::blend;
use crate::typeface;

/// Width in px of one line of text at the height `px`.
pub fn width(text: &str, px: f32) -> f32 {
    let face = typeface::regular().as_scaled(PxScale::from(px));
    text.chars().map(|c| face.h_advance(face.glyph_id(c))).sum()
}

/// Writes one line of text with its upper left corner at (x, y). Parts outside the picture are cut off.
pub fn draw(picture: &mut RgbImage, x: f32, y: f32, text: &str, px: f32, colour: [u8; 3]) {
    coverage(x, y, text, px, |x, y, cover| {
        if let Some(pixel) = (x >= 0 && y >= 0).then(|| picture.get_pixel_mut_checked(x as u32, y as u32)).flatten() {
            blend(pixel, colour, cover);
        }
    });
}

/// As [`draw`], with a dark halo that makes the text legible on both bone and background.
pub fn draw_haloed(picture: &mut RgbImage, x: f32, y: f32, text: &str, px: f32, colour: [u8; 3]) {
    for (dx, dy) in
        [(-1.0, 0.0), (1.0, 0.0), (0.0, -1.0), (0.0, 1.0), (-1.0, -1.0), (1.0, 1.0), (-1.0, 1.0), (1.0, -1.0)]
    {
        draw(picture, x + dx, y + dy, text, px, [12, 12, 16]);
    }
    draw(picture, x, y, text, px, colour);
}

/// The text, cut with an ellipsis if it is wider than `room` px.
pub fn fitted(text: &str, px: f32, room: f32) -> String {
    typeface::fitted(text, f64::from(room), |text| f64::from(width(text, px)))
}

fn coverage(x: f32, y: f32, text: &str, px: f32, mut set: impl FnMut(i64, i64, f32)) {
    let face = typeface::regular().as_scaled(PxScale::from(px));
    let baseline = y + face.ascent();
    let mut pen = x;
    for c in text.chars() {
        let id = face.glyph_id(c);
        let glyph = id.with_scale_and_position(PxScale::from(px), point(pen, baseline));
        pen += face.h_advance(id);
        if let Some(outline) = typeface::regular().outline_glyph(glyph) {
            let bounds = outline.px_bounds();
            outline.draw(|gx, gy, cover| {
                set(bounds.min.x as i64 + i64::from(gx), bounds.min.y as i64 + i64::from(gy), cover.min(1.0));
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_has_its_measured_width() {
        let mut picture = RgbImage::new(200, 30);
        draw(&mut picture, 5.0, 5.0, "Capitate", 14.0, [255; 3]);
        let columns: Vec<u32> = picture.enumerate_pixels().filter(|p| p.2.0[0] > 40).map(|p| p.0).collect();
        let (first, last) = (columns.iter().min().unwrap(), columns.iter().max().unwrap());
        assert!(*first >= 5 && (*last as f32) <= 5.0 + width("Capitate", 14.0) + 1.0);
        assert!((*last - *first) as f32 > 0.8 * width("Capitate", 14.0));
    }

    #[test]
    fn long_text_is_cut_to_the_available_width() {
        let short = fitted("image1661130828152_R.png, finger-19", 12.0, 100.0);
        assert!(short.ends_with('…') && width(&short, 12.0) <= 100.0 && short.len() > 8, "{short}");
        assert_eq!(fitted("Ulna", 12.0, 100.0), "Ulna");
        assert_eq!(fitted("Ulna", 12.0, 1.0), "");
    }
}
