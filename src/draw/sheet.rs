use image::imageops;
use image::{Rgb, RgbImage};

use super::text;

/// Look of a contact sheet.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SheetStyle {
    /// Pictures per row; at least 1.
    pub columns: u32,
    /// Space between and around pictures in px.
    pub gap: u32,
    /// Height of captions in px.
    pub text_px: f32,
    /// Colour behind the pictures.
    pub background: [u8; 3],
    /// Colour of the captions.
    pub ink: [u8; 3],
}

impl Default for SheetStyle {
    fn default() -> Self {
        SheetStyle { columns: 4, gap: 8, text_px: 14.0, background: [255; 3], ink: [30; 3] }
    }
}

/// Pictures in rows, each above its caption. `pictures` are captions with pictures. Cells have the size of the largest
/// picture; a caption too long for its cell is cut with an ellipsis.
pub fn contact_sheet(pictures: &[(String, RgbImage)], style: &SheetStyle) -> RgbImage {
    let columns = style.columns.max(1).min(pictures.len().max(1) as u32);
    let rows = (pictures.len() as u32).div_ceil(columns);
    let cell = |side: fn(&RgbImage) -> u32| pictures.iter().map(|p| side(&p.1)).max().unwrap_or(0);
    let (width, height) = (cell(RgbImage::width), cell(RgbImage::height));
    let caption = if pictures.iter().all(|p| p.0.is_empty()) { 0 } else { (style.text_px * 1.4).ceil() as u32 };
    let (step_x, step_y) = (width + style.gap, height + caption + style.gap);
    let mut sheet =
        RgbImage::from_pixel(columns * step_x + style.gap, rows * step_y + style.gap, Rgb(style.background));
    for (i, (name, picture)) in pictures.iter().enumerate() {
        let (column, row) = (i as u32 % columns, i as u32 / columns);
        let (x, y) = (style.gap + column * step_x, style.gap + row * step_y);
        let centred = (i64::from(x + (width - picture.width()) / 2), i64::from(y + (height - picture.height()) / 2));
        imageops::replace(&mut sheet, picture, centred.0, centred.1);
        let name = text::fitted(name, style.text_px, width as f32);
        let left = x as f32 + (width as f32 - text::width(&name, style.text_px)) / 2.0;
        text::draw(&mut sheet, left, (y + height) as f32 + 1.0, &name, style.text_px, style.ink);
    }
    sheet
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_are_in_rows_above_their_captions() {
        let picture = |v: u8, w: u32| RgbImage::from_pixel(w, 20, Rgb([v, 0, 0]));
        let pictures: Vec<(String, RgbImage)> =
            (0..5).map(|i| (format!("n{i}"), picture(100 + i, if i == 0 { 40 } else { 30 }))).collect();
        let style = SheetStyle { columns: 3, gap: 4, text_px: 10.0, ..SheetStyle::default() };
        let sheet = contact_sheet(&pictures, &style);
        assert_eq!(sheet.dimensions(), (3 * 44 + 4, 2 * (20 + 14 + 4) + 4));
        for i in 0..5u32 {
            let (column, row) = (i % 3, i / 3);
            assert_eq!(sheet.get_pixel(4 + column * 44 + 20, 4 + row * 38 + 10).0, [100 + i as u8, 0, 0]);
        }
        let caption = (25..38).flat_map(|y| (4..44).map(move |x| (x, y)));
        assert!(caption.into_iter().any(|(x, y)| sheet.get_pixel(x, y).0[0] < 128));
    }

    #[test]
    fn no_pictures_make_a_small_empty_sheet() {
        assert!(contact_sheet(&[], &SheetStyle::default()).width() > 0);
    }
}
