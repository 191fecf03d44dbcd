//! Where a data set can come from: one file per source, and a line in [`SOURCES`].

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use super::annotation::{Annotation, AnnotationError, Document};
use super::image::{self, ImageError, Radiograph, Reader};
use super::metadata::{self, MetadataError, Patient};
use super::{ImageEntry, Problem, folder};

/// What a source found in a data folder.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    /// Images in a fixed order: train before test, then by patient, then by name.
    pub images: Vec<ImageEntry>,
    /// The patients' spreadsheet, relative to the data folder.
    pub metadata: Option<String>,
    /// What was repaired, skipped or missing.
    pub problems: Vec<Problem>,
}

/// An annotation as a source gives it.
#[derive(Clone, Debug, PartialEq)]
pub struct SourceAnnotation {
    /// Its shapes.
    pub annotation: Annotation,
    /// SHA-256 of its own content, hex: of the file where each image has one, else of its part of the file.
    pub sha256: String,
    /// What was repaired or left out.
    pub problems: Vec<Problem>,
}

/// Reads the parts of a data set. Where images and the spreadsheet are files, only [`Source::root`] and
/// [`Source::annotation`] are needed.
pub trait Source: Send + Sync {
    /// The data folder.
    fn root(&self) -> &Path;

    /// The shapes of an image that has an annotation, as they are.
    ///
    /// # Errors
    /// It cannot be read at all; a single shape that cannot is a problem.
    fn annotation(&self, entry: &ImageEntry, place: &str) -> Result<SourceAnnotation, AnnotationError>;

    /// The annotation as a document in the form of [`folder`]'s files, for writing it again; an empty one where the
    /// source has another form.
    ///
    /// # Errors
    /// It cannot be read.
    fn document(&self, _entry: &ImageEntry, _place: &str) -> Result<Document, AnnotationError> {
        Ok(Document::default())
    }

    /// The grey levels.
    ///
    /// # Errors
    /// The image cannot be read.
    fn image(&self, entry: &ImageEntry, reader: &mut Reader) -> Result<Radiograph, ImageError> {
        reader.read(&self.root().join(&entry.image))
    }

    /// SHA-256 of what the image is read from, hex.
    ///
    /// # Errors
    /// It cannot be read.
    fn image_sha256(&self, entry: &ImageEntry) -> Result<String, ImageError> {
        image::file_sha256(&self.root().join(&entry.image))
    }

    /// Width and height, without decoding the image.
    ///
    /// # Errors
    /// The image's header cannot be read.
    fn dimensions(&self, entry: &ImageEntry) -> Result<(u32, u32), ImageError> {
        image::dimensions(&self.root().join(&entry.image))
    }

    /// Bits per sample of an image, without decoding it.
    ///
    /// # Errors
    /// The image's header cannot be read.
    fn stored_bits(&self, entry: &ImageEntry) -> Result<u8, ImageError> {
        image::stored_bits(&self.root().join(&entry.image))
    }

    /// Where the data is a copy of 8 bits: the top level by which the 16-bit images that it was made of were scaled.
    fn top_level(&self) -> Option<u16> {
        None
    }

    /// The rows of the spreadsheet `file`.
    ///
    /// # Errors
    /// It cannot be read.
    fn patients(&self, file: &str) -> Result<(Vec<Patient>, Vec<Problem>), MetadataError> {
        metadata::read(&self.root().join(file), file)
    }

    /// A text that changes with the content of the image and its annotation, made without reading either; `None` where
    /// that is not known. Here of the files' size, times and inode.
    fn stamp(&self, entry: &ImageEntry) -> Option<String> {
        let files = std::iter::once(&entry.image).chain(&entry.annotation);
        files.map(|file| file_stamp(&self.root().join(file))).collect::<Option<Vec<_>>>().map(|s| s.join(" "))
    }

    /// Where the data is a copy with corrections applied, as crops are: by image, the ids of the decisions about its shapes
    /// that are in it. `None` for original data.
    fn applied(&self) -> Option<&HashMap<String, Vec<String>>> {
        None
    }

    /// Whether each annotation is a file of its own, in the form of [`folder`]'s files.
    fn one_file_per_annotation(&self) -> bool {
        false
    }
}

/// An opened source and what it lists.
pub type Opened = (Box<dyn Source>, Listing);

/// A kind of source.
pub struct SourceKind {
    /// Name for people.
    pub name: &'static str,
    /// Opens the data; `None` where the folder is not of this kind.
    pub open: fn(&Path) -> Option<Result<Opened, DatasetError>>,
}

/// Every kind, in the order in which they are tried.
pub const SOURCES: &[SourceKind] = &[folder::KIND];

/// A folder that cannot be a data set.
#[derive(Debug, thiserror::Error)]
pub enum DatasetError {
    /// The folder itself cannot be listed.
    #[error("{path}: {source}")]
    Io {
        /// The data folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Nothing in it is an image.
    #[error("{path}: no images found. Expected train/DCM/ID001/*.png, test/DCM/…, or a folder of images")]
    NoImages {
        /// The data folder.
        path: PathBuf,
    },
}

fn file_stamp(path: &Path) -> Option<String> {
    let meta = std::fs::metadata(path).ok()?;
    let time = meta.modified().ok()?.duration_since(UNIX_EPOCH).ok()?.as_nanos();
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        // A program can set the time of change back, but not that of the inode.
        Some(format!("{}:{time}:{}.{}:{}", meta.len(), meta.ctime(), meta.ctime_nsec(), meta.ino()))
    }
    #[cfg(not(unix))]
    Some(format!("{}:{time}", meta.len()))
}
