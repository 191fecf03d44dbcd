//! The id of an image, from any of its names.

use unicode_normalization::UnicodeNormalization;

/// File extensions of images and annotations, which are not part of an image's id.
const EXTENSIONS: [&str; 13] =
    ["png", "tif", "tiff", "jpg", "jpeg", "bmp", "gif", "webp", "dcm", "dicom", "json", "heic", "jp2"];

/// The id of the image that has `name` in a folder, an annotation, a submission or a correction: the name without
/// folders and without the extensions of images and annotations, in Unicode's composed form (NFC), because some systems
/// decompose names. The id of an id is the id itself.
///
/// ```
/// assert_eq!(carpus::names::image_id("test/DCM/ID040/image1661319116107.png"), "image1661319116107");
/// assert_eq!(carpus::names::image_id("1.2.840"), "1.2.840");
/// ```
pub fn image_id(name: &str) -> String {
    let mut id = name.rsplit(['/', '\\']).next().unwrap_or(name);
    while let Some((stem, ending)) = id.rsplit_once('.')
        && !stem.is_empty()
        && EXTENSIONS.iter().any(|known| known.eq_ignore_ascii_case(ending))
    {
        id = stem;
    }
    nfc(id)
}

/// The name in Unicode's composed form (NFC).
pub fn nfc(name: &str) -> String {
    name.nfc().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_names_of_an_image_have_one_id() {
        for name in ["a.png", "DCM/ID1/a.PNG", "C:\\x\\a.jpg", "a.png.json", "a"] {
            assert_eq!(image_id(name), "a", "{name}");
        }
        assert_eq!((image_id("1.2.840.png"), image_id("1.2.840")), ("1.2.840".into(), "1.2.840".into()));
        assert_eq!((image_id(".png"), image_id("a.csv")), (".png".into(), "a.csv".into()));
        assert_eq!(image_id("\u{1109}\u{1169}\u{11ab}.png"), "\u{c190}");
    }
}
