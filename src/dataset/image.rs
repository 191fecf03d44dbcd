//! Reading radiographs: PNG, JPEG, TIFF and DICOM with 8 or 16 bits, grey or colour, as grey of the same depth.
//!
//! - 1, 2 and 4 bits are stretched to 0…255.
//! - Colour (and a palette) becomes grey by Rec. 601 in integers, `(19595 R + 38470 G + 7471 B + 32768) >> 16`, which
//!   is within 1 of OpenCV's `cvtColor`.
//! - Alpha is dropped, not blended. Colour profiles, gamma and EXIF orientation are not applied: the annotations were
//!   drawn on the pixels as stored.
//! - The format is determined by the content, not by the file's ending.

use std::fs::File;
use std::io::{Cursor, ErrorKind, Read};
use std::path::{Path, PathBuf};

use image::metadata::Orientation;
use image::{ColorType, DynamicImage, ExtendedColorType, ImageDecoder, ImageFormat, ImageReader, Limits};

use super::{GreyImage, Levels, dicom, jpeg};
use crate::digest::sha256;

/// Maximum width and height, in px.
pub const MAX_SIDE: u32 = 16_384;
/// Maximum memory for decoding, in bytes.
pub const MAX_DECODED: u64 = 512 << 20;
/// Largest file read, in bytes.
pub const MAX_FILE: u64 = 1 << 30;

/// Why an image cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {reason}")]
pub struct ImageError {
    /// The file.
    pub path: PathBuf,
    /// The fault, and what was expected.
    pub reason: String,
}

/// A radiograph.
#[derive(Clone, Debug)]
pub struct Radiograph {
    /// Grey levels.
    pub pixels: GreyImage,
    /// Bits per sample on disk.
    pub bits: u8,
    /// Bits per sample that contain information, if the file states it (PNG's sBIT).
    pub significant_bits: Option<u8>,
    /// Whether its EXIF data requests a rotation or reflection. It is not applied: annotations are drawn on the pixels
    /// as stored.
    pub turned: bool,
    /// Distance between the centres of two pixels in mm, if it is known and the same in both directions.
    pub spacing_mm: Option<f64>,
    /// SHA-256 of the file's bytes, hex.
    pub sha256: String,
}

/// Reads and decodes one file. Size limits protect against malicious headers.
///
/// # Errors
/// - The file cannot be read, is not a regular file, or is larger than [`MAX_FILE`].
/// - It is truncated, damaged or in another format.
/// - It is wider or higher than [`MAX_SIDE`], or would take more than [`MAX_DECODED`] to decode.
pub fn read(path: &Path) -> Result<Radiograph, ImageError> {
    Reader::default().read(path)
}

/// Reads one file after another into the same memory, so that the system need not clear new pages for each file.
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

    /// Reuses the memory of an image that is no longer needed.
    pub fn take_back(&mut self, image: Radiograph) {
        if let Levels::Eight(levels) = image.pixels.into_levels() {
            self.pixels = levels;
        }
    }
}

/// SHA-256 of a file's bytes in lower-case hex.
///
/// # Errors
/// The file cannot be read, is not a regular file or is larger than [`MAX_FILE`].
pub fn file_sha256(path: &Path) -> Result<String, ImageError> {
    let mut bytes = Vec::new();
    read_bytes(path, &mut bytes).map_err(|reason| ImageError { path: path.into(), reason })?;
    Ok(sha256(&bytes))
}

/// The bytes of an image's file.
///
/// # Errors
/// The file cannot be read, is not a regular file or is larger than [`MAX_FILE`].
pub fn file_bytes(path: &Path) -> Result<Vec<u8>, ImageError> {
    let mut bytes = Vec::new();
    read_bytes(path, &mut bytes).map_err(|reason| ImageError { path: path.into(), reason })?;
    Ok(bytes)
}

/// Width and height from the file's header, without decoding it.
///
/// # Errors
/// The file cannot be read, or its header has an unknown format.
pub fn dimensions(path: &Path) -> Result<(u32, u32), ImageError> {
    let fail = |reason: String| ImageError { path: path.into(), reason };
    if !path.is_file() {
        return Err(fail("not a file".into()));
    }
    if let Some(header) = dicom_header(path) {
        return header.map(|header| (header.width, header.height)).map_err(fail);
    }
    ImageReader::open(path)
        .and_then(ImageReader::with_guessed_format)
        .map_err(|e| fail(e.to_string()))?
        .into_dimensions()
        .map_err(|e| fail(refusal(&e)))
}

/// Distance between the centres of two pixels in mm from the file's header; `None` where it does not state it.
pub fn spacing_mm(path: &Path) -> Option<f64> {
    dicom_header(path)?.ok()?.spacing_mm
}

/// The header of a DICOM file; `None` for other files.
fn dicom_header(path: &Path) -> Option<Result<dicom::DicomHeader, String>> {
    if !path.is_file() {
        return None;
    }
    let mut head = Vec::new();
    File::open(path).ok()?.take(132).read_to_end(&mut head).ok()?;
    let read = || {
        let mut bytes = Vec::new();
        read_bytes(path, &mut bytes)?;
        dicom::header(&bytes)
    };
    dicom::is_dicom(&head).then(read)
}

/// Bits per sample from the file's header, without decoding it.
///
/// # Errors
/// The file cannot be read, or its header has an unknown format.
pub fn stored_bits(path: &Path) -> Result<u8, ImageError> {
    let fail = |reason: String| ImageError { path: path.into(), reason };
    if !path.is_file() {
        return Err(fail("not a file".into()));
    }
    if let Some(header) = dicom_header(path) {
        return header.map(|header| if header.bits_stored <= 8 { 8 } else { 16 }).map_err(fail);
    }
    let mut start = Vec::new();
    let read = File::open(path).and_then(|file| file.take(PNG_DEPTH as u64 + 1).read_to_end(&mut start));
    read.map_err(|e| fail(format!("cannot be read: {e}")))?;
    match start[..] {
        [0x89, b'P', b'N', b'G', ..] if start.len() > PNG_DEPTH => Ok(start[PNG_DEPTH]),
        [0xff, 0xd8, 0xff, ..] => Ok(8),
        _ => {
            let reader = ImageReader::open(path).and_then(ImageReader::with_guessed_format);
            let decoder = reader.map_err(|e| fail(e.to_string()))?.into_decoder().map_err(|e| fail(e.to_string()))?;
            Ok(bits_per_sample(decoder.original_color_type()))
        }
    }
}

/// Position of the bit depth in a PNG: after the signature, the first chunk's head, width and height.
const PNG_DEPTH: usize = 24;

fn bits_per_sample(colour: ExtendedColorType) -> u8 {
    (colour.bits_per_pixel() / u16::from(colour.channel_count())) as u8
}

/// Replaces `bytes` by the file's bytes.
fn read_bytes(path: &Path, bytes: &mut Vec<u8>) -> Result<(), String> {
    let metadata = std::fs::metadata(path).map_err(|e| format!("cannot be read: {e}"))?;
    // Opening a pipe would wait forever.
    if !metadata.is_file() {
        return Err("not a file".into());
    }
    if metadata.len() == 0 {
        return Err("the file is empty".into());
    }
    if metadata.len() > MAX_FILE {
        return Err(format!("the file has {} bytes; at most {MAX_FILE} are read", metadata.len()));
    }
    bytes.clear();
    bytes.reserve(metadata.len() as usize + 1);
    let file = File::open(path).map_err(|e| format!("cannot be read: {e}"))?;
    file.take(MAX_FILE).read_to_end(bytes).map_err(|e| format!("cannot be read: {e}"))?;
    Ok(())
}

/// Decodes a file's bytes. Returns the grey levels and the bits per sample on disk.
///
/// # Errors
/// As for [`read`].
pub fn decode(bytes: &[u8]) -> Result<(GreyImage, u8), String> {
    decode_into(bytes, Vec::new()).map(|read| (read.pixels, read.bits))
}

/// As [`decode`], with the pixels in the memory of `buffer` if possible; the hash is left empty.
fn decode_into(bytes: &[u8], buffer: Vec<u8>) -> Result<Radiograph, String> {
    match bytes {
        [0x89, b'P', b'N', b'G', ..] => decode_png(bytes, buffer),
        [0xff, 0xd8, 0xff, ..] => {
            jpeg::check_complete(bytes)?;
            decode_other(bytes, ImageFormat::Jpeg, buffer)
        }
        [b'I', b'I', 42 | 43, 0, ..] | [b'M', b'M', 0, 42 | 43, ..] => decode_other(bytes, ImageFormat::Tiff, buffer),
        [] => Err("the file is empty".into()),
        _ if dicom::is_dicom(bytes) => dicom::decode(bytes),
        _ => Err("unknown format: neither PNG, JPEG, TIFF nor DICOM".into()),
    }
}

/// Decodes a PNG up to its end chunk and verifies every checksum.
fn decode_png(bytes: &[u8], mut buffer: Vec<u8>) -> Result<Radiograph, String> {
    let message = |error: png::DecodingError| match error {
        png::DecodingError::IoError(e) if e.kind() == ErrorKind::UnexpectedEof => {
            format!("truncated: a PNG of {} bytes without its end chunk IEND", bytes.len())
        }
        error => error.to_string(),
    };
    let mut options = png::DecodeOptions::default();
    options.set_ignore_adler32(false);
    options.set_ignore_text_chunk(true);
    options.set_ignore_iccp_chunk(true);
    let mut decoder = png::Decoder::new_with_options(Cursor::new(bytes), options);
    decoder.set_limits(png::Limits { bytes: MAX_DECODED as usize });
    // Palettes and grey below 8 bits are expanded.
    decoder.set_transformations(png::Transformations::EXPAND);
    let mut reader = decoder.read_info().map_err(message)?;
    let info = reader.info();
    let (width, height, bits) = (info.width, info.height, info.bit_depth as u8);
    let significant_bits = info.sbit.iter().flat_map(|bits| bits.iter()).copied().max();
    let length = reader.output_buffer_size().unwrap_or(usize::MAX);
    check_size(width, height, length as u64)?;
    buffer.resize(length, 0);
    let frame = reader.next_frame(&mut buffer).map_err(message)?;
    reader.finish().map_err(message)?;
    let orientation = reader.info().exif_metadata.as_ref().and_then(|exif| Orientation::from_exif_chunk(exif));
    let turned = orientation.is_some_and(|o| o != Orientation::NoTransforms);
    let channels = frame.color_type.samples();
    let levels = match frame.bit_depth {
        png::BitDepth::Sixteen => {
            let samples: Vec<u16> = buffer.as_chunks().0.iter().map(|pair| u16::from_be_bytes(*pair)).collect();
            Levels::Sixteen(grey(samples, channels, |v| v as u16))
        }
        _ => Levels::Eight(grey(buffer, channels, |v| v as u8)),
    };
    let pixels = GreyImage::new(width, height, levels).expect("one level per pixel");
    Ok(Radiograph { pixels, bits, significant_bits, turned, spacing_mm: None, sha256: String::new() })
}

fn check_size(width: u32, height: u32, bytes: u64) -> Result<(), String> {
    if width > MAX_SIDE || height > MAX_SIDE {
        return Err(format!("{width}x{height} pixels; at most {MAX_SIDE}x{MAX_SIDE} are read"));
    }
    if width == 0 || height == 0 {
        return Err(format!("{width}x{height} pixels: the image is empty"));
    }
    if bytes > MAX_DECODED {
        return Err(format!("{bytes} bytes once decoded; at most {MAX_DECODED} are allowed"));
    }
    Ok(())
}

fn decode_other(bytes: &[u8], format: ImageFormat, mut buffer: Vec<u8>) -> Result<Radiograph, String> {
    let mut limits = Limits::default();
    limits.max_image_width = Some(MAX_SIDE);
    limits.max_image_height = Some(MAX_SIDE);
    limits.max_alloc = Some(MAX_DECODED);
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(|e| refusal(&e))?;
    let (width, height) = decoder.dimensions();
    check_size(width, height, decoder.total_bytes())?;
    let bits = bits_per_sample(decoder.original_color_type());
    // Unreadable EXIF data requests nothing.
    let turned = decoder.orientation().is_ok_and(|o| o != Orientation::NoTransforms);
    let levels = if decoder.color_type() == ColorType::L8 {
        buffer.resize(decoder.total_bytes() as usize, 0);
        decoder.read_image(&mut buffer).map_err(|e| e.to_string())?;
        Levels::Eight(buffer)
    } else {
        levels_of(DynamicImage::from_decoder(decoder).map_err(|e| e.to_string())?)?
    };
    let pixels = GreyImage::new(width, height, levels).expect("one level per pixel");
    Ok(Radiograph { pixels, bits, significant_bits: None, turned, spacing_mm: None, sha256: String::new() })
}

/// Message of a decoder's error. Few of TIFF's many sample types are supported, so for TIFF the message says how to fix
/// it.
fn refusal(error: &::image::ImageError) -> String {
    match error {
        ::image::ImageError::Unsupported(what) if what.format_hint() == ImageFormat::Tiff.into() => {
            unread_samples(&error.to_string())
        }
        _ => error.to_string(),
    }
}

fn unread_samples(found: &str) -> String {
    format!(
        "unsupported kind of image ({found}); expected integer samples of at most 16 bits: \
         save it as 8- or 16-bit grey PNG or TIFF"
    )
}

/// Grey levels from samples with 1 (grey), 2 (grey, alpha), 3 (RGB) or 4 (RGB, alpha) channels.
fn grey<T: Copy + Into<u32>>(samples: Vec<T>, channels: usize, level: impl Fn(u32) -> T) -> Vec<T> {
    // The weights add up to 2^16, so the sum of 16-bit samples fits 32 bits.
    let rec601 = |p: &[T]| (19_595 * p[0].into() + 38_470 * p[1].into() + 7_471 * p[2].into() + 32_768) >> 16;
    match channels {
        1 => samples,
        2 => samples.chunks_exact(2).map(|p| p[0]).collect(),
        _ => samples.chunks_exact(channels).map(|p| level(rec601(p))).collect(),
    }
}

fn levels_of(image: DynamicImage) -> Result<Levels, String> {
    let channels = usize::from(image.color().channel_count());
    let eight = |samples| Levels::Eight(grey(samples, channels, |v| v as u8));
    let sixteen = |samples| Levels::Sixteen(grey(samples, channels, |v| v as u16));
    Ok(match image {
        DynamicImage::ImageLuma8(i) => eight(i.into_raw()),
        DynamicImage::ImageLumaA8(i) => eight(i.into_raw()),
        DynamicImage::ImageRgb8(i) => eight(i.into_raw()),
        DynamicImage::ImageRgba8(i) => eight(i.into_raw()),
        DynamicImage::ImageLuma16(i) => sixteen(i.into_raw()),
        DynamicImage::ImageLumaA16(i) => sixteen(i.into_raw()),
        DynamicImage::ImageRgb16(i) => sixteen(i.into_raw()),
        DynamicImage::ImageRgba16(i) => sixteen(i.into_raw()),
        other => return Err(unread_samples(&format!("{:?}", other.color()))),
    })
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

    /// 8-bit grey, and the depth on disk.
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
    }

    #[test]
    fn one_reader_reads_images_of_different_sizes_and_kinds() {
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
    fn malicious_headers_are_refused_before_memory_is_allocated() {
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
    fn tiffs_with_other_samples_are_refused_with_advice() {
        let float = ImageBuffer::<Rgb<f32>, Vec<f32>>::from_pixel(2, 2, Rgb([0.5; 3]));
        let grey = |sample_format: u16| {
            // Little endian: a strip of one pixel of 32 bits, then the directory.
            let mut bytes = b"II\x2a\0\x0c\0\0\0\0\0\x80\x3e".to_vec();
            let entries = [256u16, 257, 258, 259, 262, 273, 277, 278, 279, 339];
            let values = [1u32, 1, 32, 1, 1, 8, 1, 1, 4, sample_format.into()];
            bytes.extend((entries.len() as u16).to_le_bytes());
            for (tag, value) in entries.into_iter().zip(values) {
                bytes.extend([tag.to_le_bytes(), 4u16.to_le_bytes()].concat());
                bytes.extend([1u32.to_le_bytes(), value.to_le_bytes()].concat());
            }
            bytes.extend([0; 4]);
            bytes
        };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.tif");
        for bytes in [grey(1), grey(2), grey(3), encode(float, ImageFormat::Tiff)] {
            let message = decode(&bytes).unwrap_err();
            assert!(message.contains("save it as 8- or 16-bit grey PNG or TIFF"), "{message}");
            std::fs::write(&path, bytes).unwrap();
            assert!(read(&path).unwrap_err().to_string().contains("a.tif: unsupported kind of image"));
        }
        assert!(dimensions(&path).is_ok(), "only the header is read");
    }

    #[test]
    fn other_files_are_errors() {
        assert!(decode(b"").unwrap_err().contains("empty"));
        assert!(decode(b"GIF89a").unwrap_err().contains("neither PNG"));
        assert!(read(Path::new("/dev/null")).unwrap_err().to_string().contains("/dev/null: not a file"));
        assert!(read(Path::new("/no/such.png")).unwrap_err().to_string().contains("cannot be read"));
    }

    #[test]
    fn damage_that_decoders_ignore_is_an_error() {
        let broad = GrayImage::from_fn(300, 200, |x, y| Luma([(x * y / 9 + x) as u8]));
        let png = encode(broad.clone(), ImageFormat::Png);
        // The checksum of the pixels is wrong, that of their chunk is right.
        let at = png.windows(4).rposition(|w| w == b"IDAT").unwrap();
        let length = u32::from_be_bytes(png[at - 4..at].try_into().unwrap()) as usize;
        let mut wrong = png.clone();
        wrong[at + 4 + length - 1] ^= 1;
        let crc = crc32fast::hash(&wrong[at..at + 4 + length]).to_be_bytes();
        wrong[at + 4 + length..][..4].copy_from_slice(&crc);
        assert!(decode(&png).is_ok() && decode(&wrong).is_err());

        let jpeg = encode(broad, ImageFormat::Jpeg);
        assert!(decode(&jpeg).is_ok());
        for (at, length) in [(jpeg.len() / 2, 40), (jpeg.len() / 3, 90), (jpeg.len() - 60, 20)] {
            let mut wrong = jpeg.clone();
            wrong[at..at + length].fill(0);
            assert!(decode(&wrong).unwrap_err().contains("damaged"), "{at}");
        }
        // Some bytes are missing.
        let cut = [&jpeg[..jpeg.len() / 2], &jpeg[jpeg.len() / 2 + 50..]].concat();
        assert!(decode(&cut).unwrap_err().contains("damaged"));
    }

    proptest! {
        #[test]
        fn a_truncated_file_is_an_error(cut in 0.0f64..1.0, format in prop::sample::select(vec![ImageFormat::Png, ImageFormat::Jpeg])) {
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
