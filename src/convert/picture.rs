//! Images of formats that other programs do not read, as PNG.

use std::io;

use crate::dataset::Levels;
use crate::dataset::image::Radiograph;

/// The grey levels as a PNG of 8 or 16 bits; of 16 bits, with the number that contain information.
pub(super) fn png_of(image: &Radiograph) -> io::Result<Vec<u8>> {
    let (width, height) = image.pixels.dimensions();
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width, height);
    encoder.set_color(png::ColorType::Grayscale);
    match image.pixels.levels() {
        Levels::Eight(levels) => {
            encoder.set_depth(png::BitDepth::Eight);
            let mut writer = encoder.write_header()?;
            writer.write_image_data(levels)?;
            writer.finish()?;
        }
        Levels::Sixteen(levels) => {
            encoder.set_depth(png::BitDepth::Sixteen);
            let mut writer = encoder.write_header()?;
            if let Some(bits) = image.significant_bits {
                writer.write_chunk(png::chunk::ChunkType(*b"sBIT"), &[bits])?;
            }
            let samples: Vec<u8> = levels.iter().flat_map(|level| level.to_be_bytes()).collect();
            writer.write_image_data(&samples)?;
            writer.finish()?;
        }
    }
    Ok(bytes)
}
