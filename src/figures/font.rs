//! Lines of text in figures, measured and drawn by the em.

use ab_glyph::{Font, FontRef, Glyph, GlyphId, Point};

use crate::typeface;

fn face(bold: bool) -> &'static FontRef<'static> {
    if bold { typeface::bold() } else { typeface::regular() }
}

/// The glyph of a character: in the weight asked for where it has one, else in the regular weight.
fn glyph(c: char, bold: bool) -> (&'static FontRef<'static>, GlyphId) {
    let id = face(bold).glyph_id(c);
    if id.0 == 0 && bold { (face(false), face(false).glyph_id(c)) } else { (face(bold), id) }
}

fn em(font: &FontRef<'_>) -> f32 {
    font.units_per_em().expect("the embedded fonts have an em")
}

/// Width of a line of text in px at a type size in px.
pub fn text_width(text: &str, size: f64, bold: bool) -> f64 {
    text.chars()
        .map(|c| {
            let (font, id) = glyph(c, bold);
            f64::from(font.h_advance_unscaled(id) / em(font)) * size
        })
        .sum()
}

/// Calls `draw(x, y, coverage)` for the pixels of a line of text whose baseline starts at (0, 0).
pub(super) fn rasterise<E>(
    text: &str,
    size: f64,
    bold: bool,
    mut draw: impl FnMut(i32, i32, f32) -> Result<(), E>,
) -> Result<(), E> {
    let mut x = 0.0;
    for c in text.chars() {
        let (font, id) = glyph(c, bold);
        let scale = font.pt_to_px_scale(size as f32 * 0.75).expect("the embedded fonts have an em");
        // pt_to_px_scale counts 96 dots an inch: 3/4 pt is one px.
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

/// `text` cut with an ellipsis so that it is at most `width` px wide.
pub(super) fn fitted(text: &str, size: f64, bold: bool, width: f64) -> String {
    typeface::fitted(text, width, |text| text_width(text, size, bold))
}

/// `text` broken at spaces into lines of at most `width` px; a longer word is cut.
pub(super) fn wrapped(text: &str, size: f64, bold: bool, width: f64) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        if let Some(line) = lines.last_mut() {
            let longer = format!("{line} {word}");
            if text_width(&longer, size, bold) <= width {
                *line = longer;
                continue;
            }
        }
        lines.push(fitted(word, size, bold, width));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fonts_have_what_figures_and_pages_say() {
        let needed = "AZaz09±°²×–—…·→≥≤≠μσρχ’“”−가나다힝네일있음체중몸무게키신장나이성별남여ㄱㅎ";
        for c in needed.chars() {
            assert_ne!(glyph(c, false).1.0, 0, "{c:?} is not in the regular weight");
            let (font, id) = glyph(c, true);
            assert_ne!(id.0, 0, "{c:?} in bold");
            assert!(font.outline(id).is_some(), "{c:?} has no outline");
        }
    }

    #[test]
    fn text_is_broken_and_cut_to_width() {
        let text = "키(신장) and mask size of 800 images";
        for line in wrapped(text, 13.0, true, 90.0) {
            assert!(text_width(&line, 13.0, true) <= 90.0, "{line}");
        }
        assert_eq!(wrapped(text, 13.0, true, 90.0).join(" "), text);
        let cut = fitted(text, 13.0, false, 60.0);
        assert!(cut.ends_with('…') && text_width(&cut, 13.0, false) <= 60.0);
        assert_eq!(fitted(text, 13.0, false, 1.0), "");
    }
}
