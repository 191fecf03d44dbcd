//! Images as PNG for the browser, and the cache of encoded ones.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use image::GrayImage;

use super::Review;
use super::refusal::Refusal;
use crate::dataset::ImageEntry;
use crate::draw::{Options, View};
use crate::geometry::PixelBox;

/// Bytes of encoded pictures that are kept: some eighty images of 2048 x 2048 px.
const CACHE_BYTES: usize = 192 << 20;
/// Largest picture side that a request may ask for, px.
pub const MAX_PICTURE: u32 = 4096;

/// The part and size of an image that a picture shows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PictureOptions {
    /// The part; `None` for the whole image.
    pub crop: Option<PixelBox>,
    /// Largest width and height in px; `None` for the image's own pixels.
    pub max: Option<u32>,
}

/// The last encoded pictures.
#[derive(Default)]
pub struct PictureCache {
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    bytes: usize,
    /// The one that was used last is at the end.
    pictures: VecDeque<(String, Arc<Vec<u8>>)>,
}

impl PictureCache {
    fn get(&self, key: &str) -> Option<Arc<Vec<u8>>> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let at = kept.pictures.iter().position(|(known, _)| known == key)?;
        let found = kept.pictures.remove(at)?;
        kept.pictures.push_back(found.clone());
        Some(found.1)
    }

    fn put(&self, key: String, png: Arc<Vec<u8>>) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.pictures.iter().any(|(known, _)| *known == key) {
            return;
        }
        kept.bytes += png.len();
        kept.pictures.push_back((key, png));
        while kept.bytes > CACHE_BYTES
            && let Some((_, oldest)) = kept.pictures.pop_front()
        {
            kept.bytes -= oldest.len();
        }
    }
}

impl Review {
    /// A picture of an image as a grey PNG of 8 bits.
    pub(super) fn picture(&self, entry: &ImageEntry, request: PictureOptions) -> Result<Arc<Vec<u8>>, Refusal> {
        // With the stamp, so that a changed file is read again.
        let stamp = self.data.stamp(entry).unwrap_or_default();
        let key = format!("{} {request:?} {stamp}", entry.image_id);
        if let Some(png) = self.pictures.get(&key) {
            return Ok(png);
        }
        let read =
            self.data.image(entry).map_err(|error| Refusal::failed(format!("cannot read the image: {error}")))?;
        let grey = read.pixels.into_eight_bit();
        let grey = match request {
            PictureOptions { crop: None, max: None } => grey,
            PictureOptions { crop, max } => {
                let (width, height) = grey.dimensions();
                let is_inside = |area: &PixelBox| area.x_max < width && area.y_max < height;
                if !crop.as_ref().is_none_or(is_inside) {
                    return Err(Refusal::invalid(format!("the box is not inside the image of {width} x {height} px")));
                }
                let max_size = max.unwrap_or(MAX_PICTURE);
                View::new(width, height, &Options { crop, max_size, max_zoom: 1.0, ..Options::default() })
                    .picture(&grey)
            }
        };
        let png = Arc::new(encode(&grey).map_err(Refusal::failed)?);
        self.pictures.put(key, png.clone());
        Ok(png)
    }
}

/// A PNG that is encoded quickly: it travels within one computer.
fn encode(grey: &GrayImage) -> Result<Vec<u8>, png::EncodingError> {
    let mut bytes = Vec::with_capacity(grey.len() / 2);
    let mut encoder = png::Encoder::new(&mut bytes, grey.width(), grey.height());
    encoder.set_color(png::ColorType::Grayscale);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(png::Compression::Fastest);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(grey)?;
    writer.finish()?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_pictures_leave_a_full_cache() {
        let cache = PictureCache::default();
        let picture = || Arc::new(vec![0; CACHE_BYTES / 2]);
        cache.put("a".into(), picture());
        cache.put("b".into(), picture());
        assert!(cache.get("a").is_some());
        cache.put("c".into(), picture());
        assert!(cache.get("b").is_none() && cache.get("a").is_some() && cache.get("c").is_some());
    }
}
