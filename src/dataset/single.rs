use std::path::Path;

use super::image::{self, ImageError, Radiograph};
use super::polarity::looks_inverted;
use super::{Polarity, top_level};

/// Reads an image file that belongs to no data set in the way of [`super::Dataset::image`]: 16-bit levels are scaled by
/// the smallest 2^n - 1 that none exceeds, at least the one that the file states (PNG's sBIT), and an image that is
/// stored inverted gets [`Polarity::WhiteIsZero`].
///
/// # Errors
/// As for [`image::read`].
pub fn read_single(path: &Path) -> Result<Radiograph, ImageError> {
    let mut read = image::read(path)?;
    if let Some(top) = top_level::common(&[top_level::bits_of(&read)]) {
        read.pixels = read.pixels.with_top(top);
    }
    if looks_inverted(&read.pixels) {
        read.pixels = read.pixels.with_polarity(Polarity::WhiteIsZero);
    }
    Ok(read)
}
