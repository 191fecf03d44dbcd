//! Pictures of radiographs with their masks: outlines, filled classes, prediction compared with annotation, contact
//! sheets. Reports, findings and training logs use them.
//!
//! Masks are drawn from their runs: a [`View`] scales the image first, then each mask's rows in the same way, so lines
//! are as thick on a thumbnail as on a zoomed crop, and no dense mask is needed.

mod distances;
mod label;
mod overlay;
mod paint;
mod sheet;
mod spans;
pub mod text;
mod view;

pub use distances::distance_map;
pub use overlay::{compare, emphasised, filled, outlines};
pub use sheet::{SheetStyle, contact_sheet};
pub use spans::Spans;
pub use view::View;

use std::io::Write;
use std::path::Path;

use image::RgbImage;
use image::codecs::png::PngEncoder;

use crate::artefact;
use crate::geometry::PixelBox;
use crate::mask::RunMask;

/// Options of a picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// Part of the image to show; `None` for all of it.
    pub crop: Option<PixelBox>,
    /// Longest side of the picture in px.
    pub max_size: u32,
    /// Largest factor by which the image is enlarged; 1 never enlarges.
    pub max_zoom: f64,
    /// Thickness of outlines in px of the picture.
    pub line: u32,
    /// Opacity of filled classes, 0 to 1.
    pub alpha: f32,
    /// Whether to write the bones' names.
    pub labels: bool,
    /// Height of the names in px of the picture.
    pub text_px: f32,
}

impl Default for Options {
    fn default() -> Self {
        Options { crop: None, max_size: 1024, max_zoom: 1.0, line: 2, alpha: 0.45, labels: false, text_px: 16.0 }
    }
}

/// Writes a picture atomically, as a PNG that names carpus as its software.
///
/// # Errors
/// The picture cannot be encoded or the file cannot be written.
pub fn write_png(path: &Path, picture: &RgbImage) -> std::io::Result<()> {
    let mut png = Vec::new();
    picture.write_with_encoder(PngEncoder::new(&mut png)).map_err(std::io::Error::other)?;
    artefact::sign_png(&mut png);
    artefact::write_atomically(path, |out| out.write_all(&png))
}

/// The bounding box of all masks, grown on each side by `margin` times its longer side and cut to `image` (width,
/// height). The masks must have the image's size. `None` if all masks are empty.
pub fn crop_around<'a>(
    masks: impl IntoIterator<Item = &'a RunMask>,
    margin: f64,
    image: (u32, u32),
) -> Option<PixelBox> {
    let all = masks.into_iter().filter_map(RunMask::bounding_box).reduce(|a, b| a.union(&b))?;
    let grow = (f64::from(all.width().max(all.height())) * margin).ceil() as u32;
    (image.0 > 0 && image.1 > 0).then(|| all.grown(grow, image.0, image.1))
}
