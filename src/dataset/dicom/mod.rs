//! DICOM files as radiographs: one frame, 8 to 16 bits, grey or RGB, uncompressed, RLE or JPEG.
//!
//! - The levels are the stored values; of signed values, the lowest possible one becomes 0. Rescaling and windows are not
//!   applied: a window hides levels, and rescaling only shifts and stretches them.
//! - `MONOCHROME1` (0 is white) is inverted within the stored bits, so that bones are bright.
//! - The distance between pixels is that in the object (`PixelSpacing`), else at the detector (`ImagerPixelSpacing`).

mod lengths;

use dicom_dictionary_std::tags;
use dicom_object::file::ReadPreamble;
use dicom_object::{DefaultDicomObject, OpenFileOptions, Tag};
use dicom_pixeldata::PixelDecoder;

use super::image::{MAX_DECODED, MAX_SIDE, Radiograph};
use super::{GreyImage, Levels};

/// Whether the bytes at the start of a file are those of a DICOM file.
pub(super) fn is_dicom(head: &[u8]) -> bool {
    head.get(PREAMBLE..PREAMBLE + 4) == Some(b"DICM")
}

/// Bytes before the mark of a DICOM file.
const PREAMBLE: usize = 128;

/// What the header says about the pixels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct DicomHeader {
    pub width: u32,
    pub height: u32,
    /// Bits of a stored value that are used.
    pub bits_stored: u8,
    bits_allocated: u16,
    samples: u16,
    is_signed: bool,
    white_is_zero: bool,
    /// Distance between the centres of two pixels in mm, the same in both directions.
    pub spacing_mm: Option<f64>,
}

/// The header of a file's bytes.
pub(super) fn header(bytes: &[u8]) -> Result<DicomHeader, String> {
    lengths::check(bytes)?;
    header_of(&open(bytes, Some(tags::PIXEL_DATA))?)
}

fn open(bytes: &[u8], until: Option<Tag>) -> Result<DefaultDicomObject, String> {
    let mut options = OpenFileOptions::new().read_preamble(ReadPreamble::Always);
    if let Some(tag) = until {
        options = options.read_until(tag);
    }
    options.from_reader(bytes).map_err(|error| format!("not readable as DICOM: {}", chain(&error)))
}

/// The messages of an error and its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let message = error.to_string();
        if !text.contains(&message) {
            text = format!("{text}: {message}");
        }
        cause = error.source();
    }
    text
}

fn header_of(object: &DefaultDicomObject) -> Result<DicomHeader, String> {
    let number = |tag: Tag, name: &str| -> Result<Option<u32>, String> {
        let Some(element) = object.element_opt(tag).map_err(|e| chain(&e))? else { return Ok(None) };
        element.to_int::<u32>().map(Some).map_err(|_| format!("{name} is not a number"))
    };
    let needed = |tag: Tag, name: &str| number(tag, name)?.ok_or_else(|| format!("a DICOM file without {name}"));
    let (width, height) = (needed(tags::COLUMNS, "Columns")?, needed(tags::ROWS, "Rows")?);
    if width > MAX_SIDE || height > MAX_SIDE || width == 0 || height == 0 {
        return Err(format!("{width}x{height} pixels; from 1x1 to {MAX_SIDE}x{MAX_SIDE} are read"));
    }
    let bits_allocated = needed(tags::BITS_ALLOCATED, "BitsAllocated")?;
    let bits_stored = number(tags::BITS_STORED, "BitsStored")?.unwrap_or(bits_allocated);
    if !matches!(bits_allocated, 8 | 16) || bits_stored == 0 || bits_stored > bits_allocated {
        return Err(format!("{bits_stored} of {bits_allocated} bits per value; 8 and 16 bits are read"));
    }
    let frames = number(tags::NUMBER_OF_FRAMES, "NumberOfFrames")?.unwrap_or(1);
    if frames != 1 {
        return Err(format!("{frames} frames; one image per file is read"));
    }
    let samples = number(tags::SAMPLES_PER_PIXEL, "SamplesPerPixel")?.unwrap_or(1);
    let text = |tag: Tag| -> Option<String> {
        Some(object.element_opt(tag).ok()??.to_str().ok()?.trim_matches(['\0', ' ']).to_owned())
    };
    let photometric = text(tags::PHOTOMETRIC_INTERPRETATION).unwrap_or_default();
    let white_is_zero = match (&*photometric, samples) {
        ("MONOCHROME1", 1) => true,
        ("MONOCHROME2" | "", 1) | ("RGB" | "YBR_FULL" | "YBR_FULL_422" | "YBR_RCT" | "YBR_ICT", 3) => false,
        _ => return Err(format!("{samples} samples per pixel of the kind {photometric:?}; grey and RGB are read")),
    };
    if u64::from(width) * u64::from(height) * u64::from(samples) * u64::from(bits_allocated / 8) > MAX_DECODED {
        return Err(format!("{width}x{height} pixels of {samples} samples are more than {MAX_DECODED} bytes"));
    }
    let spacing = |tag: Tag| -> Option<f64> {
        let values = object.element_opt(tag).ok()??.to_multi_float64().ok()?;
        let [rows, columns] = values[..] else { return None };
        // Outlines have one scale: pixels that are not square have none.
        let is_square = rows > 0.0 && rows.is_finite() && (rows - columns).abs() <= 0.001 * rows;
        is_square.then_some(rows)
    };
    Ok(DicomHeader {
        width,
        height,
        bits_stored: bits_stored as u8,
        bits_allocated: bits_allocated as u16,
        samples: samples as u16,
        is_signed: number(tags::PIXEL_REPRESENTATION, "PixelRepresentation")?.unwrap_or(0) == 1,
        white_is_zero,
        spacing_mm: spacing(tags::PIXEL_SPACING).or_else(|| spacing(tags::IMAGER_PIXEL_SPACING)),
    })
}

/// Checks that a JPEG image in the file has the size that the file states: its decoder allocates the JPEG's own size.
fn check_jpeg(object: &DefaultDicomObject, header: &DicomHeader) -> Result<(), String> {
    let fragments = object.element_opt(tags::PIXEL_DATA).ok().flatten().and_then(|element| element.fragments());
    for fragment in fragments.into_iter().flatten().filter(|fragment| fragment.starts_with(&[0xff, 0xd8])) {
        let mut at = 2;
        while let Some([0xff, marker, high, low]) = fragment.get(at..at + 4) {
            // A start of frame: the precision, then height and width.
            let is_frame = matches!(marker, 0xc0..=0xcf) && !matches!(marker, 0xc4 | 0xc8 | 0xcc);
            if let Some([_, h1, h0, w1, w0]) = fragment.get(at + 4..at + 9).filter(|_| is_frame) {
                let [height, width] = [[h1, h0], [w1, w0]].map(|pair| u32::from(u16::from_be_bytes(pair.map(|b| *b))));
                if (width, height) != (header.width, header.height) {
                    let DicomHeader { width: w, height: h, .. } = header;
                    return Err(format!("the JPEG in it has {width}x{height} pixels, the file states {w}x{h}"));
                }
                break;
            }
            at += 2 + usize::from(u16::from_be_bytes([*high, *low]));
        }
    }
    Ok(())
}

/// Decodes a file's bytes; the hash is left empty.
pub(super) fn decode(bytes: &[u8]) -> Result<Radiograph, String> {
    let header = header(bytes)?;
    let object = open(bytes, None)?;
    check_jpeg(&object, &header)?;
    let pixels = object.decode_pixel_data().map_err(|error| {
        format!("the pixels cannot be decoded: {}; save the file uncompressed, or as PNG", chain(&error))
    })?;
    let data = pixels.data();
    let count = header.width as usize * header.height as usize;
    let size = usize::from(header.bits_allocated / 8);
    let samples = usize::from(header.samples);
    if data.len() < count * size * samples {
        let expected = count * size * samples;
        return Err(format!("truncated: {} bytes of pixels, expected {expected}", data.len()));
    }
    let mask = u32::MAX >> (32 - u32::from(header.bits_stored));
    // The lowest signed value has only the highest bit.
    let offset = if header.is_signed { 1 << (header.bits_stored - 1) } else { 0 };
    let value = |i: usize| {
        let stored =
            if size == 1 { u32::from(data[i]) } else { u32::from(u16::from_ne_bytes([data[2 * i], data[2 * i + 1]])) };
        let level = (stored & mask).wrapping_add(offset) & mask;
        if header.white_is_zero { mask - level } else { level }
    };
    // Colour becomes grey by Rec. 601, as in other images.
    let grey = |i: usize| match samples {
        1 => value(i),
        _ => {
            let [r, g, b] = [0, 1, 2].map(|channel| u64::from(value(3 * i + channel)));
            ((19595 * r + 38470 * g + 7471 * b + 32768) >> 16) as u32
        }
    };
    let levels = match header.bits_stored {
        8 => Levels::Eight((0..count).map(|i| grey(i) as u8).collect()),
        // Fewer bits are stretched to the whole range, as in PNG.
        0..8 => Levels::Eight((0..count).map(|i| (grey(i) * 255 / mask) as u8).collect()),
        _ => Levels::Sixteen((0..count).map(|i| grey(i) as u16).collect()),
    };
    let pixels = GreyImage::new(header.width, header.height, levels).expect("one level per pixel");
    Ok(Radiograph {
        pixels,
        bits: if header.bits_stored <= 8 { 8 } else { 16 },
        significant_bits: (header.bits_stored > 8).then_some(header.bits_stored),
        turned: false,
        spacing_mm: header.spacing_mm,
        sha256: String::new(),
    })
}
