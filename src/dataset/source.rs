//! The kinds of data that can be read: each source has one module and one entry in [`SOURCES`].

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use super::annotation::{Annotation, AnnotationError, Document};
use super::image::{self, ImageError, Radiograph, Reader};
use super::metadata::{self, MetadataError, Patient};
use super::{ImageEntry, Problem, WithProblems, coco, cvat, folder, labelme, mask_files};
use crate::mask::submission::Space;
use crate::wording::reason_of;

/// Content of a data folder as a source lists it.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    /// Images in a fixed order: train before test, then by patient, then by name.
    pub images: Vec<ImageEntry>,
    /// The patients' spreadsheet, relative to the data folder.
    pub metadata: Option<String>,
    /// Repairs, skipped files and missing files.
    pub problems: Vec<Problem>,
}

/// An annotation as a source reads it, without corrections.
#[derive(Clone, Debug, PartialEq)]
pub struct SourceAnnotation {
    /// Its shapes.
    pub annotation: Annotation,
    /// SHA-256 of its own content, hex: of the file if each image has one, else of its part of the file.
    pub sha256: String,
    /// Shapes that were repaired or left out.
    pub problems: Vec<Problem>,
}

/// Reads the parts of a data set. If images and the spreadsheet are files, only [`Source::root`] and
/// [`Source::annotation`] have to be implemented.
pub trait Source: Send + Sync {
    /// The data folder.
    fn root(&self) -> &Path;

    /// The shapes of an annotated image, without corrections.
    ///
    /// # Errors
    /// The annotation cannot be read at all; a single unreadable shape is a problem.
    fn annotation(&self, entry: &ImageEntry, place: &str) -> Result<SourceAnnotation, AnnotationError>;

    /// The annotation as a document in the format of [`folder`]'s files, for writing a copy; empty if the source has
    /// another format.
    ///
    /// # Errors
    /// The annotation cannot be read.
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

    /// SHA-256 of the bytes that the image is read from, hex.
    ///
    /// # Errors
    /// They cannot be read.
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

    /// Of an 8-bit copy of 16-bit images: the top level by which the originals were scaled.
    fn top_level(&self) -> Option<u16> {
        None
    }

    /// The rows of the spreadsheet `file`.
    ///
    /// # Errors
    /// It cannot be read.
    fn patients(&self, file: &str) -> Result<WithProblems<Vec<Patient>>, MetadataError> {
        metadata::read(&self.root().join(file), file)
    }

    /// A text that changes with the content of the image and its annotation, made without reading them; `None` if there
    /// is none. By default it consists of the files' size, times and inode.
    fn stamp(&self, entry: &ImageEntry) -> Option<String> {
        let files = std::iter::once(&entry.image).chain(&entry.annotation);
        files.map(|file| file_stamp(&self.root().join(file))).collect::<Option<Vec<_>>>().map(|s| s.join(" "))
    }

    /// Of a copy with corrections applied, such as crops: by image, the ids of the decisions about its shapes that are
    /// in the copy. `None` for original data.
    fn applied(&self) -> Option<&HashMap<String, Vec<String>>> {
        None
    }

    /// Which images the data has: originals or crops.
    fn space(&self) -> Space {
        if self.applied().is_some() { Space::Crop } else { Space::Original }
    }

    /// Distance between the centres of two pixels of an image in mm, where the source knows it and the image's file
    /// does not.
    fn spacing_mm(&self, _entry: &ImageEntry) -> Option<f64> {
        None
    }

    /// The bytes of the image's file.
    ///
    /// # Errors
    /// They cannot be read.
    fn image_bytes(&self, entry: &ImageEntry) -> Result<Vec<u8>, ImageError> {
        image::file_bytes(&self.root().join(&entry.image))
    }

    /// Whether each annotation is a file of its own, in the format of [`folder`]'s files.
    fn one_file_per_annotation(&self) -> bool {
        false
    }
}

/// An opened source and its listing.
pub type Opened = (Box<dyn Source>, Listing);

/// A kind of source.
pub struct SourceKind {
    /// Name in listings and messages.
    pub name: &'static str,
    /// Opens the data; `None` if the folder is not of this kind.
    pub open: fn(&Path) -> Option<Result<Opened, DatasetError>>,
}

/// Every kind, in the order in which they are tried.
pub const SOURCES: &[SourceKind] = &[coco::KIND, cvat::KIND, mask_files::KIND, labelme::KIND, folder::KIND];

/// Why a folder is no data set.
#[derive(Debug, thiserror::Error)]
pub enum DatasetError {
    /// The folder itself cannot be listed.
    #[error("{path}: {}", reason_of(source, "folder"))]
    Io {
        /// The data folder.
        path: PathBuf,
        /// Error of the system.
        source: std::io::Error,
    },
    /// A file of annotations cannot be read, and there are no others.
    #[error("{path}: {reason}")]
    Annotations {
        /// The file.
        path: PathBuf,
        /// The fault.
        reason: String,
    },
    /// It is not the kind of data that was asked for.
    #[error("{path}: no data of the kind `{kind}` was found")]
    OtherKind {
        /// The data folder.
        path: PathBuf,
        /// Name of the kind.
        kind: &'static str,
    },
    /// It contains no image.
    #[error("{path}: no images found; expected train/DCM/ID001/*.png, test/DCM/…, or a folder of images")]
    NoImages {
        /// The data folder.
        path: PathBuf,
    },
}

impl DatasetError {
    /// No image of a file of annotations can be used: the first problem says why.
    pub(super) fn without_images(root: &Path, problems: &[Problem]) -> DatasetError {
        match problems.first() {
            Some(problem) => DatasetError::Annotations {
                path: root.join(&problem.file),
                reason: format!("no image can be used; {}: {}", problem.place, problem.reason),
            },
            None => DatasetError::NoImages { path: root.into() },
        }
    }
}

pub(super) fn file_stamp(path: &Path) -> Option<String> {
    let meta = std::fs::metadata(path).ok()?;
    let time = meta.modified().ok()?.duration_since(UNIX_EPOCH).ok()?.as_nanos();
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        // A program can reset the modification time, but not the change time of the inode.
        Some(format!("{}:{time}:{}.{}:{}", meta.len(), meta.ctime(), meta.ctime_nsec(), meta.ino()))
    }
    #[cfg(not(unix))]
    Some(format!("{}:{time}", meta.len()))
}
