//! The submission CSV `image_name,class,rle`.

use std::collections::{BTreeMap, HashMap};
use std::io::Write;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::rle::{self, RleError};
use super::{HandMasks, MaskError, RunMask};
use crate::artefact::{Together, write_atomically};
use crate::bones::{self, Bone};
use crate::bounded::{self, Csv};
use crate::names::image_id;

/// The columns, in the order in which they are written.
pub const COLUMNS: [&str; 3] = ["image_name", "class", "rle"];

/// Number of rows decoded together: enough for every thread, and few enough to bound memory.
const BATCH: usize = 1024;
/// Size in bytes from which rows are decoded before there are [`BATCH`] of them.
const BATCH_BYTES: usize = 64 << 20;

/// The masks of one image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageMasks {
    /// Name as in the file: `image1661319116107.png`.
    pub image_name: String,
    /// One per bone.
    pub masks: HandMasks,
}

/// `its columns are a, b`, for messages.
fn columns_in_words(columns: &[String]) -> String {
    if columns.is_empty() { "it has no columns".into() } else { format!("its columns are {}", columns.join(", ")) }
}

/// Why a submission cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum SubmissionError {
    /// The file or its sidecar cannot be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file or its sidecar.
        path: String,
        /// The system's error.
        source: std::io::Error,
    },
    /// The file cannot be opened, or one of its records cannot be read.
    #[error("{path}: {source}")]
    Csv {
        /// The file.
        path: String,
        /// The error of the CSV reader.
        source: csv::Error,
    },
    /// The file has other columns than those of a submission.
    #[error("{path} line 1: not a submission: {}; expected image_name, class, rle", columns_in_words(found))]
    Header {
        /// The file.
        path: String,
        /// The columns of the file.
        found: Vec<String>,
    },
    /// An image name is empty, is not UTF-8, or has a slash or a backslash.
    #[error("{path} line {line}: image name {found:?}; expected a file name without folders")]
    ImageName {
        /// The file.
        path: String,
        /// The line, counted from 1.
        line: u64,
        /// The image name.
        found: String,
    },
    /// The RLE of a row is not a mask of the image's size.
    #[error("{path} line {line}: image {image}, class {class}: {source}")]
    Rle {
        /// The file.
        path: String,
        /// The line, counted from 1.
        line: u64,
        /// The image name in the row.
        image: String,
        /// The class of the row.
        class: String,
        /// What is wrong with the RLE.
        source: RleError,
    },
    /// The class of a row is none of the bones.
    #[error("{path} line {line}: image {image}: unknown class {class:?}; `carpus list bones` prints the classes")]
    Class {
        /// The file.
        path: String,
        /// The line, counted from 1.
        line: u64,
        /// The image name in the row.
        image: String,
        /// The class of the row.
        class: String,
    },
    /// Two rows have the same image and class.
    #[error("{path} line {line}: image {image}: class {class} occurs twice")]
    Duplicate {
        /// The file.
        path: String,
        /// The line of the second row, counted from 1.
        line: u64,
        /// The image name in the row.
        image: String,
        /// The class of both rows.
        class: Bone,
    },
    /// The masks of an image do not fit together.
    #[error("{path}: image {image}: {source}")]
    Masks {
        /// The file.
        path: String,
        /// The image name.
        image: String,
        /// Why they do not fit.
        source: MaskError,
    },
    /// Two image names stand for the same image, for example with and without an ending.
    #[error("{path} line {line}: {image} and {other} are the same image; keep the rows of one of them")]
    TwoNames {
        /// The file.
        path: String,
        /// The first line with the second name, counted from 1.
        line: u64,
        /// The second name.
        image: String,
        /// The first name.
        other: String,
    },
    /// Masks of the original images are needed, but the sidecar names crops.
    #[error(
        "{path} has masks of crops (see {path}.json); restore them to the original images with \
         `carpus restore CROPS {path} --out CSV`"
    )]
    OfCrops {
        /// The file.
        path: String,
    },
    /// Masks of crops are needed, but the file has no sidecar that names crops.
    #[error("{path} has masks of the original images, but the data folder has crops; give the original data folder")]
    OfOriginals {
        /// The file.
        path: String,
    },
    /// An image does not have one row per class.
    #[error("{path}: image {image} has no row for {missing:?}")]
    Missing {
        /// The file.
        path: String,
        /// The image name.
        image: String,
        /// The classes without a row.
        missing: Vec<Bone>,
    },
}

/// Reads a submission of masks of `width` x `height` pixels. Images are returned in order of first appearance. The
/// columns are image_name, class and rle in any order; each image has one row per class, in any order.
///
/// # Errors
/// The file cannot be read, a column is missing, a row is invalid (the first one is named, whatever the number of
/// threads), or an image lacks a class.
pub fn read(path: &Path, width: u32, height: u32) -> Result<Vec<ImageMasks>, SubmissionError> {
    read_sized(path, |_| (width, height))
}

/// As [`read`], for images of different sizes: `size_of` returns width and height for an image name.
///
/// # Errors
/// As [`read`].
pub fn read_sized(
    path: &Path,
    size_of: impl Fn(&str) -> (u32, u32) + Sync,
) -> Result<Vec<ImageMasks>, SubmissionError> {
    let name = || path.display().to_string();
    let csv_error = |source| SubmissionError::Csv { path: name(), source };
    let mut reader = Csv::open_masks(path).map_err(csv_error)?;
    let header: Vec<String> =
        reader.byte_headers().map_err(csv_error)?.iter().map(|h| String::from_utf8_lossy(h).into_owned()).collect();
    let columns = COLUMNS.map(|column| header.iter().position(|h| h == column));
    let (3, [Some(image_at), Some(class_at), Some(rle_at)]) = (header.len(), columns) else {
        return Err(SubmissionError::Header { path: name(), found: header });
    };

    let mut images = Collected::default();
    let mut batch: Vec<csv::ByteRecord> = Vec::new();
    let (mut used, mut bytes) = (0, 0);
    loop {
        // Records are read into the buffers of earlier ones.
        if batch.len() == used {
            batch.push(csv::ByteRecord::new());
        }
        let found = reader.read_byte_record(&mut batch[used]);
        if matches!(found, Ok(true)) {
            bytes += batch[used].as_slice().len();
            used += 1;
        }
        if used == BATCH || bytes > BATCH_BYTES || !matches!(found, Ok(true)) {
            let masks: Vec<Result<RunMask, RleError>> = batch[..used]
                .par_iter()
                .map(|row| {
                    // A name that is not UTF-8 is reported below with its line.
                    let (width, height) = size_of(std::str::from_utf8(&row[image_at]).unwrap_or_default());
                    rle::decode_bytes(&row[rle_at], width, height)
                })
                .collect();
            for (row, mask) in batch[..used].iter().zip(masks) {
                let line = row.position().map_or(0, csv::Position::line);
                images.add(path, line, &row[image_at], &row[class_at], mask)?;
            }
            if bytes > BATCH_BYTES {
                // Free the large buffers of long rows.
                batch.clear();
            }
            (used, bytes) = (0, 0);
        }
        if !found.map_err(csv_error)? {
            return images.finish(path);
        }
    }
}

/// Masks read so far, by image.
#[derive(Default)]
struct Collected {
    images: Vec<(String, [Option<RunMask>; bones::COUNT])>,
    index: HashMap<String, usize>,
    /// Image id to image name.
    ids: HashMap<String, String>,
}

impl Collected {
    fn add(
        &mut self,
        path: &Path,
        line: u64,
        image: &[u8],
        class: &[u8],
        mask: Result<RunMask, RleError>,
    ) -> Result<(), SubmissionError> {
        let path = || path.display().to_string();
        let image = match std::str::from_utf8(image) {
            Ok(name) if !name.is_empty() && !name.contains(['/', '\\']) => name,
            _ => {
                let found = String::from_utf8_lossy(image).into_owned();
                return Err(SubmissionError::ImageName { path: path(), line, found });
            }
        };
        let owned = || image.to_owned();
        let Some(bone) = std::str::from_utf8(class).ok().and_then(Bone::from_name) else {
            let class = String::from_utf8_lossy(class).into_owned();
            return Err(SubmissionError::Class { path: path(), line, image: owned(), class });
        };
        let mask = mask.map_err(|source| SubmissionError::Rle {
            path: path(),
            line,
            image: owned(),
            class: bone.name().to_owned(),
            source,
        })?;
        let at = match self.index.get(image) {
            Some(at) => *at,
            None => {
                if let Some(other) = self.ids.insert(image_id(image), owned()) {
                    return Err(SubmissionError::TwoNames { path: path(), line, image: owned(), other });
                }
                self.index.insert(owned(), self.images.len());
                self.images.push((owned(), [const { None }; bones::COUNT]));
                self.images.len() - 1
            }
        };
        if self.images[at].1[bone.index()].replace(mask).is_some() {
            return Err(SubmissionError::Duplicate { path: path(), line, image: owned(), class: bone });
        }
        Ok(())
    }

    fn finish(self, path: &Path) -> Result<Vec<ImageMasks>, SubmissionError> {
        let complete = |(image_name, masks): (String, [Option<RunMask>; bones::COUNT])| {
            let missing: Vec<Bone> = Bone::all().filter(|bone| masks[bone.index()].is_none()).collect();
            let path = || path.display().to_string();
            if !missing.is_empty() {
                return Err(SubmissionError::Missing { path: path(), image: image_name, missing });
            }
            match HandMasks::new(masks.into_iter().flatten().collect()) {
                Ok(masks) => Ok(ImageMasks { image_name, masks }),
                Err(source) => Err(SubmissionError::Masks { path: path(), image: image_name, source }),
            }
        };
        self.images.into_iter().map(complete).collect()
    }
}

/// The images whose pixels the masks of a file refer to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Space {
    /// The original images, as in a submission.
    Original,
    /// The crops that `carpus clean` made.
    Crop,
}

/// The file `NAME.csv.json` next to a CSV of masks that is not a submission.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sidecar {
    /// Which images the masks refer to.
    pub space: Space,
    /// Width and height by image name.
    pub sizes: BTreeMap<String, [u32; 2]>,
}

/// Path of the [`Sidecar`] of a file of masks.
pub fn sidecar_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".json");
    name.into()
}

/// Reads the sidecar of a file of masks; `None` if there is none, as for a submission.
///
/// # Errors
/// The sidecar exists but cannot be read.
pub fn sidecar(path: &Path) -> Result<Option<Sidecar>, SubmissionError> {
    let sidecar = sidecar_path(path);
    let io = |source| SubmissionError::Io { path: sidecar.display().to_string(), source };
    match bounded::read(&sidecar, bounded::MAX_TEXT) {
        Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|e| io(e.into())),
        Err(e) if matches!(e.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) => Ok(None),
        Err(e) => Err(io(e)),
    }
}

/// Checks that the masks of a file refer to the expected images: the originals or the crops.
///
/// # Errors
/// They refer to the other ones, or the sidecar cannot be read.
pub fn expect_space(path: &Path, expected: Space) -> Result<(), SubmissionError> {
    let found = sidecar(path)?.map_or(Space::Original, |sidecar| sidecar.space);
    match (found, expected) {
        (Space::Crop, Space::Original) => Err(SubmissionError::OfCrops { path: path.display().to_string() }),
        (Space::Original, Space::Crop) => Err(SubmissionError::OfOriginals { path: path.display().to_string() }),
        _ => Ok(()),
    }
}

/// Writes masks with their sidecar: both files or neither.
///
/// # Errors
/// A file cannot be written.
pub fn write_with(path: &Path, images: &[ImageMasks], sidecar: &Sidecar) -> Result<(), SubmissionError> {
    let io = |source| SubmissionError::Io { path: path.display().to_string(), source };
    let mut files = Together::default();
    files
        .add(&sidecar_path(path), |out| serde_json::to_writer(out, sidecar).map_err(Into::into))
        .and_then(|()| files.add(path, |out| write_rows(out, images)))
        .and_then(|()| files.commit())
        .map_err(io)
}

/// Writes masks of crops with their sidecar.
///
/// # Errors
/// A file cannot be written.
pub fn write_crops(path: &Path, images: &[ImageMasks]) -> Result<(), SubmissionError> {
    let size = |image: &ImageMasks| (image.image_name.clone(), [image.masks.width(), image.masks.height()]);
    write_with(path, images, &Sidecar { space: Space::Crop, sizes: images.iter().map(size).collect() })
}

/// Writes a submission atomically: images in the given order, classes in the order of the model's channels. Deletes the
/// sidecar of an earlier file of this name.
///
/// # Errors
/// The file cannot be written.
pub fn write(path: &Path, images: &[ImageMasks]) -> Result<(), SubmissionError> {
    let io = |source| SubmissionError::Io { path: path.display().to_string(), source };
    if sidecar(path)?.is_some() {
        std::fs::remove_file(sidecar_path(path)).map_err(io)?;
    }
    write_atomically(path, |out| write_rows(out, images)).map_err(io)
}

fn write_rows(out: &mut impl Write, images: &[ImageMasks]) -> std::io::Result<()> {
    let rows = |image: &ImageMasks| -> std::io::Result<Vec<u8>> {
        let mut csv = csv::Writer::from_writer(Vec::new());
        let mut text = Vec::new();
        for (bone, mask) in image.masks.iter() {
            text.clear();
            rle::encode_into(mask, &mut text);
            csv.write_record([image.image_name.as_bytes(), bone.name().as_bytes(), &text])?;
        }
        csv.into_inner().map_err(|e| e.into_error())
    };
    writeln!(out, "{}", COLUMNS.join(","))?;
    for batch in images.chunks(BATCH / bones::COUNT) {
        let encoded: Vec<std::io::Result<Vec<u8>>> = batch.par_iter().map(rows).collect();
        for rows in encoded {
            out.write_all(&rows?)?;
        }
    }
    Ok(())
}
