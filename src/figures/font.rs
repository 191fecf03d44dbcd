//! Measuring and drawing lines of text in figures.

use ab_glyph::{Font, FontRef, Glyph, GlyphId, Point};

use super::style::Weight;
use crate::typeface;

fn face(weight: Weight) -> &'static FontRef<'static> {
    match weight {
        Weight::Regular => typeface::regular(),
        Weight::Bold => typeface::bold(),
    }
}

/// The font and glyph of a character: in the given weight if that has the glyph, else in the regular weight.
fn glyph(c: char, weight: Weight) -> (&'static FontRef<'static>, GlyphId) {
    let id = face(weight).glyph_id(c);
    if id.0 == 0 && weight == Weight::Bold {
        (face(Weight::Regular), face(Weight::Regular).glyph_id(c))
    } else {
        (face(weight), id)
    }
}

fn em(font: &FontRef<'_>) -> f32 {
    font.units_per_em().expect("the embedded fonts have an em")
}

/// Width in px of a line of text at a font size in px.
pub fn text_width(text: &str, size: f64, weight: Weight) -> f64 {
    text.chars()
        .map(|c| {
            let (font, id) = glyph(c, weight);
            f64::from(font.h_advance_unscaled(id) / em(font)) * size
        })
        .sum()
}

/// Calls `draw(x, y, coverage)` for the pixels of a line of text whose baseline starts at (0, 0).
pub(super) fn rasterise<E>(
    text: &str,
    size: f64,
    weight: Weight,
    mut draw: impl FnMut(i32, i32, f32) -> Result<(), E>,
) -> Result<(), E> {
    let mut x = 0.0;
    for c in text.chars() {
        let (font, id) = glyph(c, weight);
        let scale = font.pt_to_px_scale(size as f32 * 0.75).expect("the embedded fonts have an em");
        // pt_to_px_scale assumes 96 dots per inch: 3/4 pt is one px.
        let placed = Glyph { id, scale, position: Point { x: x as f32, y: 0.0 } };
        if let Some(outline) = font.outline_glyph(placed) {
            let bounds = outline.px_bounds();
            let mut result = Ok(());
            outline.draw(|dx, dy, coverage| {
                if result.is_ok() && coverage > 0.0 {
                    result = draw(bounds.min.x as i32 + dx as i32, bounds.min.y as i32 + dy as i32, coverage.min(1.0));
                }
            });
            result?;
        }
        x += f64::from(font.h_advance_unscaled(id) / em(font)) * size;
    }
    Ok(())
}

/// `text`, cut with an ellipsis if it is wider than `width` px.
pub(super) fn fitted(text: &str, size: f64, weight: Weight, width: f64) -> String {
    typeface::fitted(text, width, |text| text_width(text, size, weight))
}

/// `text` broken at spaces into lines of at most `width` px. A wider word is cut.
pub(super) fn wrapped(text: &str, size: f64, weight: Weight, width: f64) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        if let Some(line) = lines.last_mut() {
            let longer = format!("{line} {word}");
            if text_width(&longer, size, weight) <= width {
                *line = longer;
                continue;
            }
        }
        lines.push(fitted(word, size, weight, width));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fonts_have_all_characters_of_figures_and_pages() {
        let needed = "AZaz09±°²×–—…·→≥≤≠μσρχ’“”−가나다힝네일있음체중몸무게키신장나이성별남여ㄱㅎ";
        for c in needed.chars() {
            assert_ne!(glyph(c, Weight::Regular).1.0, 0, "{c:?} is not in the regular weight");
            let (font, id) = glyph(c, Weight::Bold);
            assert_ne!(id.0, 0, "{c:?} is in no weight");
            assert!(font.outline(id).is_some(), "{c:?} has no outline");
        }
    }

    #[test]
    fn text_is_broken_and_cut_to_width() {
        let text = "키(신장) and mask size of 800 images";
        for line in wrapped(text, 13.0, Weight::Bold, 90.0) {
            assert!(text_width(&line, 13.0, Weight::Bold) <= 90.0, "{line}");
        }
        assert_eq!(wrapped(text, 13.0, Weight::Bold, 90.0).join(" "), text);
        let cut = fitted(text, 13.0, Weight::Regular, 60.0);
        assert!(cut.ends_with('…') && text_width(&cut, 13.0, Weight::Regular) <= 60.0);
        assert_eq!(fitted(text, 13.0, Weight::Regular, 1.0), "");
    }
}
