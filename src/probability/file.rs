use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::ImageProbabilities;
use super::map::{MapBuilder, ProbabilityMap};
use crate::artefact::write_atomically;
use crate::bones;
use crate::bounded;
use crate::geometry::Size;
use crate::mask::MAX_PIXELS;

/// Extension of the files, one per image: `IMAGE_ID.probabilities`.
pub const EXTENSION: &str = "probabilities";
/// The start of a file; the number is the version of the form.
const MAGIC: &[u8] = b"carpus probabilities 1\n";
const MAX_FILE: u64 = 1 << 30;
/// Level of the compression: more gains little and takes long.
const COMPRESSION: i32 = 6;

/// How exactly probabilities are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(into = "u8", try_from = "u8")]
pub enum Bits {
    /// In steps of 1/255. Masks at a threshold of one half do not change.
    #[default]
    #[value(name = "8")]
    Eight,
    /// In steps of 1/65535.
    #[value(name = "16")]
    Sixteen,
}

impl From<Bits> for u8 {
    fn from(bits: Bits) -> u8 {
        match bits {
            Bits::Eight => 8,
            Bits::Sixteen => 16,
        }
    }
}

impl TryFrom<u8> for Bits {
    type Error = String;

    fn try_from(bits: u8) -> Result<Bits, String> {
        match bits {
            8 => Ok(Bits::Eight),
            16 => Ok(Bits::Sixteen),
            _ => Err(format!("{bits} bits; expected 8 or 16")),
        }
    }
}

/// Why a file of probabilities cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum ProbabilityError {
    /// The system reports an error.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The content is not that of a file of probabilities.
    #[error("{path}: {reason}; expected probabilities that `carpus predict --probabilities` wrote")]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

/// The line of JSON after the first line.
#[derive(Serialize, Deserialize)]
struct Header {
    image_name: String,
    width: u32,
    height: u32,
    bits: Bits,
    classes: Vec<String>,
    /// Bytes of the maps before compression.
    bytes: u64,
}

/// Writes the probabilities of an image, compressed. The file appears completely or not at all.
///
/// # Errors
/// [`ProbabilityError::Io`]: the file cannot be written.
///
/// # Panics
/// If there is not one map per class.
pub fn write(path: &Path, image: &ImageProbabilities, bits: Bits) -> Result<(), ProbabilityError> {
    assert_eq!(image.maps.len(), bones::COUNT, "one map per class");
    let mut bytes = Vec::new();
    image.maps.iter().for_each(|map| encode(map, bits, &mut bytes));
    let Size { width, height } = image.maps[0].size();
    let header = Header {
        image_name: image.image_name.clone(),
        width,
        height,
        bits,
        classes: bones::NAMES.map(str::to_owned).to_vec(),
        bytes: bytes.len() as u64,
    };
    let io = |source| ProbabilityError::Io { path: path.into(), source };
    let packed = zstd::bulk::compress(&bytes, COMPRESSION).map_err(io)?;
    write_atomically(path, |out| {
        out.write_all(MAGIC)?;
        serde_json::to_writer(&mut *out, &header)?;
        out.write_all(b"\n")?;
        out.write_all(&packed)
    })
    .map_err(io)
}

/// Reads the probabilities of an image.
///
/// # Errors
/// The file cannot be read, or is not a file of probabilities of these classes.
pub fn read(path: &Path) -> Result<ImageProbabilities, ProbabilityError> {
    let bytes = bounded::read(path, MAX_FILE).map_err(|source| ProbabilityError::Io { path: path.into(), source })?;
    decoded(&bytes).map_err(|reason| ProbabilityError::Content { path: path.into(), reason })
}

fn decoded(file: &[u8]) -> Result<ImageProbabilities, String> {
    let rest = file.strip_prefix(MAGIC).ok_or("the first line is not `carpus probabilities 1`")?;
    let end = rest.iter().position(|b| *b == b'\n').ok_or("it ends in the header")?;
    let header: Header = serde_json::from_slice(&rest[..end]).map_err(|e| format!("the header is invalid: {e}"))?;
    if header.classes != bones::NAMES {
        return Err(format!("its classes are {}", header.classes.join(", ")));
    }
    let pixels = u64::from(header.width) * u64::from(header.height);
    // A pixel takes at most 3 bytes as a span of its own, and 2 for its level.
    if pixels == 0
        || pixels > MAX_PIXELS
        || header.bytes > bones::COUNT as u64 * (8 * pixels + 16 * u64::from(header.height))
    {
        return Err(format!("{} bytes of maps of {}x{} pixels", header.bytes, header.width, header.height));
    }
    let bytes = zstd::bulk::decompress(&rest[end + 1..], header.bytes as usize)
        .map_err(|e| format!("the maps cannot be decompressed: {e}"))?;
    let size = Size { width: header.width, height: header.height };
    let mut reader = Reader(&bytes);
    let maps = (0..bones::COUNT).map(|class| {
        decode(&mut reader, size, header.bits).ok_or_else(|| format!("the map of {} is damaged", bones::NAMES[class]))
    });
    let maps = maps.collect::<Result<Vec<_>, _>>()?;
    if !reader.0.is_empty() {
        return Err("there are bytes after the last map".into());
    }
    Ok(ImageProbabilities { image_name: header.image_name, maps })
}

/// A map as bytes: per row the number of spans and their gaps and lengths, then the differences of neighbouring levels
/// of a span, the high bytes before the low bytes.
fn encode(map: &ProbabilityMap, bits: Bits, bytes: &mut Vec<u8>) {
    let map = match bits {
        Bits::Eight => &map.eight_bit(),
        Bits::Sixteen => map,
    };
    let mut differences = Vec::with_capacity(map.levels().len());
    for y in 0..map.size().height {
        put(bytes, map.row(y).count() as u32);
        let mut end = 0;
        for (x, levels) in map.row(y) {
            put(bytes, x - end);
            put(bytes, levels.len() as u32);
            end = x + levels.len() as u32;
            let mut before = 0u16;
            for level in levels {
                differences.push(level.wrapping_sub(before));
                before = *level;
            }
        }
    }
    match bits {
        // Levels are multiples of 257, and so are their differences.
        Bits::Eight => bytes.extend(differences.iter().map(|d| *d as u8)),
        Bits::Sixteen => {
            bytes.extend(differences.iter().map(|d| (d >> 8) as u8));
            bytes.extend(differences.iter().map(|d| *d as u8));
        }
    }
}

fn decode(reader: &mut Reader, size: Size, bits: Bits) -> Option<ProbabilityMap> {
    let mut rows: Vec<Vec<(u32, u32)>> = Vec::with_capacity(size.height as usize);
    let mut count = 0usize;
    for _ in 0..size.height {
        let spans = reader.number()?;
        if spans > size.width.div_ceil(2) {
            return None;
        }
        let (mut row, mut end) = (Vec::with_capacity(spans as usize), 0u32);
        for place in 0..spans {
            let (gap, len) = (reader.number()?, reader.number()?);
            let x = end.checked_add(gap)?;
            end = x.checked_add(len)?;
            if len == 0 || (place > 0 && gap == 0) || end > size.width {
                return None;
            }
            row.push((x, len));
            count += len as usize;
        }
        rows.push(row);
    }
    let differences: Vec<u16> = match bits {
        Bits::Eight => reader.take(count)?.iter().map(|d| u16::from(*d)).collect(),
        Bits::Sixteen => {
            let (high, low) = (reader.take(count)?, reader.take(count)?);
            high.iter().zip(low).map(|(high, low)| u16::from(*high) << 8 | u16::from(*low)).collect()
        }
    };
    let mut levels = Vec::with_capacity(count);
    let mut builder = MapBuilder::new(size);
    let mut next = 0;
    for row in &rows {
        levels.clear();
        for (_, len) in row {
            let mut level = 0u16;
            for difference in &differences[next..next + *len as usize] {
                level = level.wrapping_add(*difference);
                levels.push(match bits {
                    Bits::Eight => (level & 0xff) * 257,
                    Bits::Sixteen => level,
                });
            }
            next += *len as usize;
        }
        let mut rest = &levels[..];
        builder.push_levels(row.iter().map(|(x, len)| {
            let (levels, others) = rest.split_at(*len as usize);
            rest = others;
            (*x, levels)
        }));
    }
    Some(builder.finish())
}

/// Writes a number with 7 bits per byte, the lowest first.
fn put(bytes: &mut Vec<u8>, mut number: u32) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn number(&mut self) -> Option<u32> {
        let mut number = 0u32;
        for shift in (0..35).step_by(7) {
            let byte = self.take(1)?[0];
            number |= u32::from(byte & 0x7f).checked_shl(shift)?;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn image(values: &[f32], width: u32) -> ImageProbabilities {
        let size = Size { width, height: values.len() as u32 / width };
        let maps = (0..bones::COUNT).map(|class| {
            let mut builder = MapBuilder::new(size);
            let shifted: Vec<f32> = values.iter().map(|v| (v + class as f32 / 40.0) % 1.0).collect();
            shifted.chunks(width as usize).for_each(|row| builder.push_row(row));
            builder.finish()
        });
        ImageProbabilities { image_name: "image1.png".into(), maps: maps.collect() }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn what_is_written_is_read(values in prop::collection::vec(prop_oneof![Just(0.0f32), 0.0f32..1.0], 60)) {
            let folder = tempfile::tempdir().unwrap();
            let (path, image) = (folder.path().join("image1.probabilities"), image(&values, 10));
            write(&path, &image, Bits::Sixteen).unwrap();
            prop_assert_eq!(&read(&path).unwrap(), &image);
            write(&path, &image, Bits::Eight).unwrap();
            let coarse = read(&path).unwrap();
            for (coarse, map) in coarse.maps.iter().zip(&image.maps) {
                prop_assert_eq!(coarse, &map.eight_bit());
            }
        }
    }

    #[test]
    fn damaged_files_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("image1.probabilities");
        write(&path, &image(&[0.3; 60], 10), Bits::Eight).unwrap();
        let whole = std::fs::read(&path).unwrap();
        for cut in 0..whole.len() {
            assert!(decoded(&whole[..cut]).is_err(), "cut at {cut}");
        }
        let text = String::from_utf8_lossy(&whole).replace("\"width\":10", "\"width\":12");
        assert!(decoded(text.as_bytes()).is_err());
        std::fs::write(&path, b"x").unwrap();
        let error = read(&path).unwrap_err().to_string();
        assert!(error.contains("image1.probabilities: the first line is not"), "{error}");
    }
}
