//! Drawing a picture as SVG or PNG, with one painting function for all backends.

use std::convert::Infallible;

use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ExtendedColorType, ImageEncoder};
use plotters::prelude::{BitMapBackend, SVGBackend};
use plotters_backend::text_anchor::{HPos, Pos, VPos};
use plotters_backend::{
    BackendColor, BackendCoord, BackendStyle, BackendTextStyle, DrawingBackend, DrawingErrorKind, FontFamily,
    FontStyle, FontTransform,
};

use super::font::{rasterise, text_width};
use super::style::{Ink, Rgb, Weight};
use super::{Anchor, Picture, PictureShape, TextShape};
use crate::artefact::sign_png;
use crate::typeface::FAMILY;

/// Backend units per px. Backends use whole units, and a PNG is drawn at a higher resolution than it is stored.
const FINE: f64 = 4.0;
/// Pixels of a PNG per px of the picture, for print and high-resolution screens.
const PNG_SCALE: usize = 2;
/// plotters writes an SVG font size of `size / 1.24` and places top-anchored text .76 em above its baseline.
const SVG_SIZE: f64 = 1.24;
const SVG_ASCENT: f64 = 0.76;

/// Why a picture cannot be drawn or encoded.
#[derive(Debug, thiserror::Error)]
pub enum PaintError {
    /// A backend failed.
    #[error("cannot draw a figure: {0}")]
    Backend(String),
    /// PNG encoding failed.
    #[error("cannot encode a figure as PNG: {0}")]
    Png(#[from] image::ImageError),
}

impl Picture {
    /// The picture as a self-contained SVG document.
    ///
    /// # Errors
    /// The backend fails.
    pub fn svg(&self) -> Result<String, PaintError> {
        let mut text = String::new();
        let fine = self.fine_size();
        paint(self, &mut SVGBackend::with_string(&mut text, fine))?;
        let opening_end = text.find('>').map_or(0, |at| at + 1);
        let label = escape(&self.description);
        let opening = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{}\" height=\"{}\" viewBox=\"0 0 {} {}\" role=\"img\" \
             aria-label=\"{label}\" font-family=\"{FAMILY}, sans-serif\">",
            self.width, self.height, fine.0, fine.1
        );
        // The root element has the font family; plotters repeats it for each text.
        let body =
            text[opening_end..].replace(&format!(" font-family=\"{FAMILY}\""), "").replace("\n</text>", "</text>");
        Ok(opening + &self.with_lengths(&body))
    }

    /// Adds to each text the length of its layout, so that texts do not overlap if another font is used.
    fn with_lengths(&self, svg: &str) -> String {
        const TAG: &str = "<text ";
        let mut pieces = svg.split(TAG);
        let mut out = pieces.next().unwrap_or_default().to_owned();
        for (piece, text) in pieces.zip(self.texts()) {
            let length = text_width(&text.text, text.size, text.weight) * FINE;
            out += &format!("{TAG}textLength=\"{length:.0}\" lengthAdjust=\"spacingAndGlyphs\" {piece}");
        }
        out
    }

    /// The picture as SVG for an HTML page: themed inks become the page's CSS variables, and the address of the SVG
    /// namespace is left out, so that a self-contained page contains no addresses.
    ///
    /// # Errors
    /// The backend fails.
    pub fn inline_svg(&self) -> Result<String, PaintError> {
        let mut svg = self.svg()?.replacen("xmlns=\"http://www.w3.org/2000/svg\" ", "", 1);
        for (ink, variable) in Ink::THEMED {
            let [r, g, b] = ink.rgb();
            for attribute in ["fill", "stroke"] {
                svg = svg.replace(
                    &format!(" {attribute}=\"#{r:02X}{g:02X}{b:02X}\""),
                    &format!(" {attribute}=\"var({variable})\""),
                );
            }
        }
        Ok(svg)
    }

    /// The picture as a PNG file with two pixels per px, which names carpus as its software.
    ///
    /// # Errors
    /// The backend or the PNG encoder fails.
    pub fn png(&self) -> Result<Vec<u8>, PaintError> {
        let (width, height) = self.fine_size();
        let mut fine = vec![255; width as usize * height as usize * 3];
        paint(self, &mut BitMapBackend::with_buffer(&mut fine, (width, height)))?;
        let (pixels, width, height) = shrink(&fine, width as usize, height as usize, FINE as usize / PNG_SCALE);
        let mut file = Vec::new();
        PngEncoder::new_with_quality(&mut file, CompressionType::Default, FilterType::Adaptive).write_image(
            &pixels,
            width as u32,
            height as u32,
            ExtendedColorType::Rgb8,
        )?;
        sign_png(&mut file);
        Ok(file)
    }

    fn fine_size(&self) -> (u32, u32) {
        ((self.width * FINE).ceil() as u32, (self.height * FINE).ceil() as u32)
    }
}

/// The means of `by` x `by` blocks of an RGB image of `width` x `height` pixels, with the new width and height.
fn shrink(fine: &[u8], width: usize, height: usize, by: usize) -> (Vec<u8>, usize, usize) {
    let (w, h) = (width / by, height / by);
    let mut out = Vec::with_capacity(w * h * 3);
    let (half, n) = ((by * by / 2) as u32, (by * by) as u32);
    let mut sums = vec![0u32; w * 3];
    for rows in fine.chunks_exact(width * 3 * by) {
        sums.fill(0);
        for row in rows.chunks_exact(width * 3) {
            for (sum, block) in sums.chunks_exact_mut(3).zip(row.chunks_exact(3 * by)) {
                for pixel in block.chunks_exact(3) {
                    sum[0] += u32::from(pixel[0]);
                    sum[1] += u32::from(pixel[1]);
                    sum[2] += u32::from(pixel[2]);
                }
            }
        }
        out.extend(sums.iter().map(|sum| ((sum + half) / n) as u8));
    }
    (out, w, h)
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

struct Stroke {
    colour: BackendColor,
    width: u32,
}

impl BackendStyle for Stroke {
    fn color(&self) -> BackendColor {
        self.colour
    }
    fn stroke_width(&self) -> u32 {
        self.width
    }
}

fn colour(rgb: Rgb, alpha: f64) -> BackendColor {
    BackendColor { alpha, rgb: (rgb[0], rgb[1], rgb[2]) }
}

fn paint<B: DrawingBackend>(picture: &Picture, backend: &mut B) -> Result<(), PaintError> {
    let failed = |e: DrawingErrorKind<B::ErrorType>| PaintError::Backend(e.to_string());
    let unit = |v: f64| (v * FINE).round() as i32;
    let at = |p: &(f64, f64)| -> BackendCoord { (unit(p.0), unit(p.1)) };
    backend.ensure_prepared().map_err(failed)?;
    let paper = colour(Ink::Paper.rgb(), 1.0);
    backend.draw_rect((0, 0), (unit(picture.width), unit(picture.height)), &paper, true).map_err(failed)?;
    for shape in &picture.shapes {
        match shape {
            PictureShape::Line { points, ink, width } => {
                let style = Stroke { colour: colour(ink.rgb(), 1.0), width: (width * FINE).round().max(1.0) as u32 };
                match &points[..] {
                    [a, b] => backend.draw_line(at(a), at(b), &style),
                    _ => backend.draw_path(points.iter().map(at), &style),
                }
            }
            PictureShape::Area { points, ink, alpha } => {
                backend.fill_polygon(points.iter().map(at), &colour(ink.rgb(), *alpha))
            }
            PictureShape::Rect { bounds: [l, t, r, b], ink, alpha } => {
                backend.draw_rect((unit(*l), unit(*t)), (unit(*r), unit(*b)), &colour(ink.rgb(), *alpha), true)
            }
            PictureShape::Disc { centre, radius, ink, alpha } => {
                let radius = (radius * FINE).round().max(1.0) as u32;
                backend.draw_circle(at(centre), radius, &colour(ink.rgb(), *alpha), true)
            }
            PictureShape::Text(text) => {
                // The backend places the text by its top; move it so that the baseline is at the text's y (upright: x).
                let rise = SVG_ASCENT * text.size;
                let top_anchor = if text.upright { (text.x - rise, text.y) } else { (text.x, text.y - rise) };
                backend.draw_text(&text.text, &Type { text }, at(&top_anchor))
            }
        }
        .map_err(failed)?;
    }
    backend.present().map_err(failed)
}

/// The style of a line of text, for the backend.
struct Type<'a> {
    text: &'a TextShape,
}

impl BackendTextStyle for Type<'_> {
    type FontError = Infallible;

    fn color(&self) -> BackendColor {
        colour(self.text.ink.rgb(), 1.0)
    }
    fn size(&self) -> f64 {
        self.text.size * FINE * SVG_SIZE
    }
    fn transform(&self) -> FontTransform {
        if self.text.upright { FontTransform::Rotate270 } else { FontTransform::None }
    }
    fn style(&self) -> FontStyle {
        match self.text.weight {
            Weight::Regular => FontStyle::Normal,
            Weight::Bold => FontStyle::Bold,
        }
    }
    fn anchor(&self) -> Pos {
        let horizontal = match self.text.anchor {
            Anchor::Start => HPos::Left,
            Anchor::Middle => HPos::Center,
            Anchor::End => HPos::Right,
        };
        Pos::new(horizontal, VPos::Top)
    }
    fn family(&self) -> FontFamily<'_> {
        FontFamily::Name(FAMILY)
    }
    fn layout_box(&self, text: &str) -> Result<((i32, i32), (i32, i32)), Infallible> {
        let width = text_width(text, self.text.size * FINE, self.text.weight);
        Ok(((0, 0), (width.round() as i32, (self.text.size * FINE).round() as i32)))
    }
    fn draw<E, D: FnMut(i32, i32, BackendColor) -> Result<(), E>>(
        &self,
        text: &str,
        pos: BackendCoord,
        mut draw: D,
    ) -> Result<Result<(), E>, Infallible> {
        let size = self.text.size * FINE;
        let baseline = pos.1 + (SVG_ASCENT * size).round() as i32;
        let colour = self.color();
        Ok(rasterise(text, size, self.text.weight, |x, y, coverage| {
            draw(pos.0 + x, baseline + y, colour.mix(f64::from(coverage)))
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture() -> Picture {
        let mut p = Picture::new(120.0, 60.0, "a \"test\" <of> & all");
        p.line(vec![(5.0, 55.0), (60.0, 30.0), (115.0, 55.0)], Ink::Text, 2.0);
        p.dashed((5.0, 5.0), (115.0, 5.0), Ink::Muted, 1.0);
        p.rect([10.0, 40.0, 20.0, 50.0], Ink::Colour([0, 114, 178]), 0.5);
        p.disc((100.0, 30.0), 4.0, Ink::Colour([213, 94, 0]), 1.0);
        p.area(vec![(40.0, 40.0), (50.0, 40.0), (45.0, 50.0)], Ink::Grid, 1.0);
        p.text("<script>키 172 cm", (60.0, 20.0), 12.0, Ink::Text, Anchor::Middle);
        p.upright("μ ± σ", (10.0, 30.0), 10.0, Ink::Muted, 40.0);
        p
    }

    #[test]
    fn svg_is_themed_and_escaped_in_a_page() {
        let svg = picture().svg().unwrap();
        assert!(svg.starts_with("<svg xmlns=") && svg.trim_end().ends_with("</svg>"));
        assert!(svg.contains("width=\"120\" height=\"60\" viewBox=\"0 0 480 240\""));
        assert!(svg.contains("&lt;script&gt;키 172 cm") && !svg.contains("<script>"));
        assert!(svg.contains("aria-label=\"a &quot;test&quot; &lt;of&gt; &amp; all\""));
        assert_eq!(svg.matches("<text textLength=").count(), 2);
        let inline = picture().inline_svg().unwrap();
        assert!(inline.contains("var(--ink)") && inline.contains("var(--muted)") && inline.contains("#0072B2"));
        assert!(!inline.contains("http"));
    }

    #[test]
    fn png_shows_the_same_shapes() {
        let file = picture().png().unwrap();
        let image = image::load_from_memory(&file).unwrap().to_rgb8();
        assert_eq!(image.dimensions(), (240, 120));
        assert_eq!(image.get_pixel(200, 60).0, [213, 94, 0]);
        assert_eq!(image.get_pixel(2, 118).0, [255, 255, 255]);
        // Text is drawn within its extent, and only there.
        let dark = |x0: u32, x1: u32, y0: u32, y1: u32| {
            (y0..y1)
                .flat_map(|y| (x0..x1).map(move |x| (x, y)))
                .filter(|(x, y)| image.get_pixel(*x, *y).0[0] < 128)
                .count()
        };
        assert!(dark(60, 180, 22, 46) > 300);
        assert_eq!(dark(30, 230, 46, 56), 0);
        assert_eq!(file, picture().png().unwrap());
    }
}
