//! Reading radiographs: PNG, JPEG, TIFF, 8 and 16 bit, grey or colour, as grey of the same depth.
//!
//! - 1, 2 and 4 bits are stretched to 0…255.
//! - Colour (and a palette) becomes grey by Rec. 601 in integers, `(19595 R + 38470 G + 7471 B + 32768) >> 16`, which
//!   is within 1 of OpenCV's `cvtColor`.
//! - Alpha is dropped, not blended. Colour profiles, gamma and EXIF orientation are not applied: pixels are as stored,
//!   since the annotations were drawn on them so.
//! - The format is that of the content, whatever the file's ending.

use std::fs::File;
use std::io::{Cursor, Read};
use std::path::{Path, PathBuf};

use image::metadata::Orientation;
use image::{ColorType, DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits};
use sha2::{Digest, Sha256};

use super::{GreyImage, Levels};

/// Longest side accepted, in pixels.
pub const MAX_SIDE: u32 = 16_384;
/// Most memory that decoding may take, in bytes.
pub const MAX_DECODED: u64 = 512 << 20;
/// Largest file read, in bytes.
pub const MAX_FILE: u64 = 1 << 30;

/// An image that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {reason}")]
pub struct ImageError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it and what was expected.
    pub reason: String,
}

/// A radiograph.
#[derive(Clone, Debug)]
pub struct Radiograph {
    /// Grey levels.
    pub pixels: GreyImage,
    /// Bits per sample on disk.
    pub bits: u8,
    /// Whether its EXIF data asks for it to be turned or mirrored, which is not done: annotations are drawn on the pixels as stored.
    pub turned: bool,
    /// SHA-256 of the file's bytes, hex.
    pub sha256: String,
}

/// Reads and decodes one file, which is read once; size limits guard against hostile headers.
///
/// # Errors
/// The file cannot be read, is no regular file, is larger than [`MAX_FILE`], ends early, is damaged, is of another
/// format, is wider or higher than [`MAX_SIDE`], or would take more than [`MAX_DECODED`] to decode.
pub fn read(path: &Path) -> Result<Radiograph, ImageError> {
    Reader::default().read(path)
}

/// Reads one file after another into the same memory, whose pages the system then need not clear for each anew.
#[derive(Default)]
pub struct Reader {
    bytes: Vec<u8>,
    pixels: Vec<u8>,
}

impl Reader {
    /// As the function [`read`].
    ///
    /// # Errors
    /// As for [`read`].
    pub fn read(&mut self, path: &Path) -> Result<Radiograph, ImageError> {
        let fail = |reason: String| ImageError { path: path.into(), reason };
        read_bytes(path, &mut self.bytes).map_err(fail)?;
        let decoded = decode_into(&self.bytes, std::mem::take(&mut self.pixels)).map_err(fail)?;
        Ok(Radiograph { sha256: sha256(&self.bytes), ..decoded })
    }

    /// Takes the memory of an image that is no longer needed.
    pub fn take_back(&mut self, image: Radiograph) {
        if let Levels::Eight(levels) = image.pixels.into_levels() {
            self.pixels = levels;
        }
    }
}

/// SHA-256 of a file's bytes in lower-case hex.
///
/// # Errors
/// The file cannot be read, is no regular file or is larger than [`MAX_FILE`].
pub fn file_sha256(path: &Path) -> Result<String, ImageError> {
    let mut bytes = Vec::new();
    read_bytes(path, &mut bytes).map_err(|reason| ImageError { path: path.into(), reason })?;
    Ok(sha256(&bytes))
}

/// Width and height from the file's header, without decoding it.
///
/// # Errors
/// The file cannot be read or its header is of no known format.
pub fn dimensions(path: &Path) -> Result<(u32, u32), ImageError> {
    let fail = |reason: String| ImageError { path: path.into(), reason };
    if !path.is_file() {
        return Err(fail("not a file".into()));
    }
    ImageReader::open(path)
        .and_then(ImageReader::with_guessed_format)
        .map_err(|e| fail(e.to_string()))?
        .into_dimensions()
        .map_err(|e| fail(e.to_string()))
}

/// SHA-256 in lower-case hex.
pub fn sha256(bytes: &[u8]) -> String {
    use std::fmt::Write;
    Sha256::digest(bytes).iter().fold(String::with_capacity(64), |mut hex, byte| {
        // Writing to a String cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// The file's bytes in place of what `bytes` holds.
fn read_bytes(path: &Path, bytes: &mut Vec<u8>) -> Result<(), String> {
    let what = std::fs::metadata(path).map_err(|e| format!("cannot be read: {e}"))?;
    // Opening a pipe would wait for ever.
    if !what.is_file() {
        return Err("not a file".into());
    }
    if what.len() == 0 {
        return Err("the file is empty".into());
    }
    if what.len() > MAX_FILE {
        return Err(format!("the file has {} bytes, more than the {MAX_FILE} that are read", what.len()));
    }
    bytes.clear();
    bytes.reserve(what.len() as usize + 1);
    let file = File::open(path).map_err(|e| format!("cannot be read: {e}"))?;
    file.take(MAX_FILE).read_to_end(bytes).map_err(|e| format!("cannot be read: {e}"))?;
    Ok(())
}

/// Decodes a file's bytes: grey and the bits per sample on disk. The error says what is wrong.
///
/// # Errors
/// As for [`read`].
pub fn decode(bytes: &[u8]) -> Result<(GreyImage, u8), String> {
    decode_into(bytes, Vec::new()).map(|read| (read.pixels, read.bits))
}

/// As [`decode`], with the pixels in the memory of `room` where they fit as they come; without a hash.
fn decode_into(bytes: &[u8], mut room: Vec<u8>) -> Result<Radiograph, String> {
    let format = match bytes {
        [0x89, b'P', b'N', b'G', ..] => ImageFormat::Png,
        [0xff, 0xd8, 0xff, ..] => ImageFormat::Jpeg,
        [b'I', b'I', 42 | 43, 0, ..] | [b'M', b'M', 0, 42 | 43, ..] => ImageFormat::Tiff,
        [] => return Err("the file is empty".into()),
        _ => return Err("neither PNG, JPEG nor TIFF by its first bytes".into()),
    };
    match format {
        ImageFormat::Png => png_is_whole(bytes)?,
        ImageFormat::Jpeg => jpeg_is_whole(bytes)?,
        _ => {}
    }
    let mut limits = Limits::default();
    limits.max_image_width = Some(MAX_SIDE);
    limits.max_image_height = Some(MAX_SIDE);
    limits.max_alloc = Some(MAX_DECODED);
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(|e| e.to_string())?;
    let (width, height) = decoder.dimensions();
    if width > MAX_SIDE || height > MAX_SIDE {
        return Err(format!("{width}x{height} pixels; at most {MAX_SIDE} a side are read"));
    }
    if width == 0 || height == 0 {
        return Err(format!("{width}x{height} pixels: the image is empty"));
    }
    if decoder.total_bytes() > MAX_DECODED {
        return Err(format!("{} bytes once decoded, more than the {MAX_DECODED} allowed", decoder.total_bytes()));
    }
    let bits = match format {
        // A palette and grey below 8 bits are widened by the decoder; the header says what is on disk.
        ImageFormat::Png => bytes[PNG_DEPTH],
        _ => {
            let colour = decoder.original_color_type();
            (colour.bits_per_pixel() / u16::from(colour.channel_count())) as u8
        }
    };
    // What cannot be read of it asks for nothing.
    let turned = decoder.orientation().is_ok_and(|o| o != Orientation::NoTransforms);
    let read = |pixels| Radiograph { pixels, bits, turned, sha256: String::new() };
    if decoder.color_type() == ColorType::L8 {
        room.resize(decoder.total_bytes() as usize, 0);
        decoder.read_image(&mut room).map_err(|e| e.to_string())?;
        let pixels = GreyImage::new(width, height, Levels::Eight(room)).expect("a byte for each pixel");
        return Ok(read(pixels));
    }
    let image = DynamicImage::from_decoder(decoder).map_err(|e| e.to_string())?;
    Ok(read(grey(image)?))
}

fn grey(image: DynamicImage) -> Result<GreyImage, String> {
    fn map<T: Copy>(samples: &[T], channels: usize, level: impl Fn(&[T]) -> T) -> Vec<T> {
        samples.chunks_exact(channels).map(level).collect()
    }
    fn rec601<T: Copy + Into<u32>>(rgb: &[T]) -> u32 {
        // The weights add up to 2^16, so 16-bit samples fit as well.
        (19_595 * rgb[0].into() + 38_470 * rgb[1].into() + 7_471 * rgb[2].into() + 32_768) >> 16
    }
    let (width, height) = (image.width(), image.height());
    let levels = match image {
        DynamicImage::ImageLuma8(i) => Levels::Eight(i.into_raw()),
        DynamicImage::ImageLumaA8(i) => Levels::Eight(map(&i, 2, |p| p[0])),
        DynamicImage::ImageRgb8(i) => Levels::Eight(map(&i, 3, |p| rec601(p) as u8)),
        DynamicImage::ImageRgba8(i) => Levels::Eight(map(&i, 4, |p| rec601(p) as u8)),
        DynamicImage::ImageLuma16(i) => Levels::Sixteen(i.into_raw()),
        DynamicImage::ImageLumaA16(i) => Levels::Sixteen(map(&i, 2, |p| p[0])),
        DynamicImage::ImageRgb16(i) => Levels::Sixteen(map(&i, 3, |p| rec601(p) as u16)),
        DynamicImage::ImageRgba16(i) => Levels::Sixteen(map(&i, 4, |p| rec601(p) as u16)),
        other => return Err(format!("samples of type {:?}; 8 or 16 bit integers are read", other.color())),
    };
    Ok(GreyImage::new(width, height, levels).expect("a level for each pixel"))
}

/// Place of the bit depth in a PNG: after the signature, the first chunk's head, width and height.
const PNG_DEPTH: usize = 24;

/// Hops from chunk to chunk to the end mark: a file cut after its last row of pixels decodes without complaint.
fn png_is_whole(bytes: &[u8]) -> Result<(), String> {
    if bytes.len() <= PNG_DEPTH {
        return Err(format!("truncated: a PNG of {} bytes ends inside its header", bytes.len()));
    }
    let mut at = 8;
    loop {
        let Some(&[a, b, c, d, ref name @ ..]) = bytes.get(at..at + 8) else {
            return Err(format!("truncated: a PNG of {} bytes without its end mark IEND", bytes.len()));
        };
        let end = at as u64 + 12 + u64::from(u32::from_be_bytes([a, b, c, d]));
        if end > bytes.len() as u64 {
            let name = String::from_utf8_lossy(name);
            return Err(format!("truncated: chunk {name} should end at byte {end}, the file has {}", bytes.len()));
        }
        if name == b"IEND" {
            return Ok(());
        }
        at = end as usize;
    }
}

/// Walks the segments to the end mark: decoders fill what a cut JPEG lacks with grey.
fn jpeg_is_whole(bytes: &[u8]) -> Result<(), String> {
    let cut = || format!("truncated: a JPEG of {} bytes without its end mark", bytes.len());
    let mut at = 2;
    loop {
        // Past entropy-coded data and fill bytes to the next marker.
        let marker = loop {
            match bytes.get(at..at + 2) {
                None => return Err(cut()),
                Some(&[0xff, code]) if code != 0 && code != 0xff => break code,
                Some(_) => at += 1,
            }
        };
        at += 2;
        match marker {
            0xd9 => return Ok(()),
            // Restart marks and TEM have no length.
            0x01 | 0xd0..=0xd8 => {}
            _ => match bytes.get(at..at + 2) {
                Some(&[high, low]) => at += usize::from(u16::from_be_bytes([high, low])),
                _ => return Err(cut()),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use image::{GrayImage, ImageBuffer, Luma, LumaA, Rgb, Rgba};
    use proptest::prelude::*;

    use super::*;

    fn encode(image: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        image.into().write_to(&mut bytes, format).unwrap();
        bytes.into_inner()
    }

    /// As 8-bit grey, and the depth on disk.
    fn decode(bytes: &[u8]) -> Result<(GrayImage, u8), String> {
        super::decode(bytes).map(|(pixels, bits)| (pixels.into_eight_bit(), bits))
    }

    fn grey_ramp() -> GrayImage {
        GrayImage::from_fn(37, 23, |x, y| Luma([(x * 7 + y * 3) as u8]))
    }

    #[test]
    fn each_format_and_depth() {
        for format in [ImageFormat::Png, ImageFormat::Tiff] {
            assert_eq!(decode(&encode(grey_ramp(), format)).unwrap(), (grey_ramp(), 8));
            let deep = ImageBuffer::<Luma<u16>, _>::from_fn(5, 3, |x, y| Luma([(x * 257 * 40 + y) as u16]));
            let (pixels, bits) = decode(&encode(deep, format)).unwrap();
            assert_eq!((bits, pixels.get_pixel(4, 2).0), (16, [160]));
            let colour = image::RgbImage::from_pixel(4, 2, Rgb([200, 100, 50]));
            let (pixels, bits) = decode(&encode(colour, format)).unwrap();
            assert_eq!((bits, pixels.get_pixel(3, 1).0), (8, [124]));
            let deep = ImageBuffer::<Rgba<u16>, Vec<u16>>::from_pixel(2, 2, Rgba([65_535, 65_535, 65_535, 0]));
            assert_eq!(decode(&encode(deep, format)).unwrap().0.get_pixel(1, 1).0, [255], "alpha is dropped");
        }
        let veiled = image::GrayAlphaImage::from_pixel(2, 2, LumaA([77, 0]));
        assert_eq!(decode(&encode(veiled, ImageFormat::Png)).unwrap().0.get_pixel(0, 0).0, [77]);
        let (lossy, bits) = decode(&encode(grey_ramp(), ImageFormat::Jpeg)).unwrap();
        assert_eq!((lossy.dimensions(), bits), ((37, 23), 8));
    }

    #[test]
    fn the_hash_is_of_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("손.png");
        std::fs::write(&path, encode(grey_ramp(), ImageFormat::Png)).unwrap();
        let read = read(&path).unwrap();
        assert_eq!(read.pixels.into_eight_bit(), grey_ramp());
        assert_eq!(read.sha256, sha256(&std::fs::read(&path).unwrap()));
        assert_eq!(sha256(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }

    #[test]
    fn one_reader_reads_images_of_any_size_and_kind_in_turn() {
        let folder = tempfile::tempdir().unwrap();
        let mut reader = Reader::default();
        let colour = image::RgbImage::from_fn(50, 20, |x, y| Rgb([x as u8, y as u8, 7]));
        let small = GrayImage::from_pixel(3, 2, Luma([9]));
        let pictures: [DynamicImage; 5] =
            [grey_ramp().into(), small.clone().into(), colour.into(), small.into(), grey_ramp().into()];
        for (i, picture) in pictures.into_iter().enumerate() {
            let path = folder.path().join(format!("{i}.png"));
            std::fs::write(&path, encode(picture, ImageFormat::Png)).unwrap();
            let (found, alone) = (reader.read(&path).unwrap(), read(&path).unwrap());
            assert_eq!((&found.pixels, found.bits, &found.sha256), (&alone.pixels, alone.bits, &alone.sha256));
            reader.take_back(found);
            std::fs::write(&path, b"GIF89a").unwrap();
            assert!(reader.read(&path).is_err());
        }
    }

    #[test]
    fn hostile_headers_are_refused_before_memory_is_taken() {
        let mut png = encode(grey_ramp(), ImageFormat::Png);
        png[16..24].copy_from_slice(&[0x7f, 0xff, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff]);
        let crc = crc32fast::hash(&png[12..29]).to_be_bytes();
        png[29..33].copy_from_slice(&crc);
        assert!(decode(&png).is_err());
        let mut jpeg = encode(grey_ramp(), ImageFormat::Jpeg);
        let frame = jpeg.windows(2).position(|w| w == [0xff, 0xc0]).unwrap();
        jpeg[frame + 5..frame + 9].copy_from_slice(&[0xff, 0xff, 0xff, 0xff]);
        assert!(decode(&jpeg).is_err());
    }

    #[test]
    fn other_files_are_named() {
        assert!(decode(b"").unwrap_err().contains("empty"));
        assert!(decode(b"GIF89a").unwrap_err().contains("neither PNG"));
        assert!(read(Path::new("/dev/null")).unwrap_err().to_string().contains("/dev/null: not a file"));
        assert!(read(Path::new("/no/such.png")).unwrap_err().to_string().contains("cannot be read"));
    }

    proptest! {
        #[test]
        fn a_cut_file_is_an_error(cut in 0.0f64..1.0, format in prop::sample::select(vec![ImageFormat::Png, ImageFormat::Jpeg])) {
            let bytes = encode(grey_ramp(), format);
            let keep = (cut * bytes.len() as f64) as usize;
            prop_assert!(decode(&bytes[..keep]).is_err());
        }

        #[test]
        fn damage_never_panics(
            hits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12),
            format in prop::sample::select(vec![ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::Tiff]),
        ) {
            let mut bytes = encode(grey_ramp(), format);
            for (at, value) in hits {
                let at = at.index(bytes.len());
                bytes[at] = value;
            }
            if let Ok((pixels, _)) = decode(&bytes) {
                prop_assert!(pixels.width() <= MAX_SIDE && pixels.height() <= MAX_SIDE);
            }
        }
    }
}
