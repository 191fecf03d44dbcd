//! The embedded typeface (Latin and Hangul; licence in assets/fonts/OFL.txt). Pictures and figures are drawn with it,
//! and HTML pages embed it, so that Korean text is shown on machines without Korean fonts.

use std::sync::LazyLock;

use ab_glyph::FontRef;

/// CSS name of the font family.
pub const FAMILY: &str = "Carpus Sans";
/// The regular weight, an OpenType font with Latin and Hangul.
pub const REGULAR: &[u8] = include_bytes!("../assets/fonts/CarpusSans-Regular.otf");
/// The bold weight, Latin only.
pub const BOLD: &[u8] = include_bytes!("../assets/fonts/CarpusSans-Bold.otf");

/// The regular face.
pub fn regular() -> &'static FontRef<'static> {
    static FACE: LazyLock<FontRef<'static>> = LazyLock::new(|| face(REGULAR));
    &FACE
}

/// The bold face.
pub fn bold() -> &'static FontRef<'static> {
    static FACE: LazyLock<FontRef<'static>> = LazyLock::new(|| face(BOLD));
    &FACE
}

fn face(font: &'static [u8]) -> FontRef<'static> {
    FontRef::try_from_slice(font).expect("the embedded fonts are valid")
}

/// `text`, shortened with an ellipsis if its `width` is more than `room`; empty if not even one character fits.
pub fn fitted(text: &str, room: f64, width: impl Fn(&str) -> f64) -> String {
    if width(text) <= room {
        return text.to_owned();
    }
    let mut kept = text.to_owned();
    while kept.pop().is_some() {
        let cut = format!("{}…", kept.trim_end());
        if width(&cut) <= room {
            return cut;
        }
    }
    String::new()
}
