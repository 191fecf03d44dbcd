//! The annotation JSON: one file per image, polygons with labels.
//!
//! Of the top keys only `annotations` and `filename` are read: `metadata` may state the size of another rendition of
//! the image, while the points are in the image's own pixels. A [`Document`] keeps all keys for writing the file again.

mod document;
mod entry;
mod parse;
mod shape;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

pub use document::Document;
pub use entry::MAX_COORDINATE;
pub use shape::label_place;

use super::Problem;
use crate::bones::Bone;
use crate::mask::{HandMasks, RunMask};

/// One polygon.
#[derive(Clone, Debug, PartialEq)]
pub struct Shape {
    /// Place in the file's `annotations`.
    pub index: usize,
    /// As in the file.
    pub label: String,
    /// `None` for an unknown label. A label that differs from a class only in case, spaces, `-` or `_` is that class.
    pub bone: Option<Bone>,
    /// Vertices `[x, y]` in pixels, at least one; they may lie outside the image.
    pub points: Vec<[i32; 2]>,
}

/// What an annotation says, usable shapes only.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Annotation {
    /// Polygons in the file's order, which is not that of the classes.
    pub shapes: Vec<Shape>,
    /// Entries of the file that became shapes.
    used: BTreeSet<usize>,
}

impl Annotation {
    /// Shapes that come from no file.
    pub fn new(shapes: Vec<Shape>) -> Annotation {
        Annotation { shapes, used: BTreeSet::new() }
    }

    /// The union of the shapes of each bone. Each is filled as OpenCV's `fillPoly` does; shapes of unknown labels are in
    /// none.
    pub fn masks(&self, width: u32, height: u32) -> HandMasks {
        let mut masks = HandMasks::empty(width, height);
        let mut shapes: Vec<&Shape> = self.shapes.iter().filter(|s| s.bone.is_some()).collect();
        shapes.sort_by_key(|s| s.bone);
        for own in shapes.chunk_by(|a, b| a.bone == b.bone) {
            let drawn: Vec<RunMask> = own.iter().map(|s| RunMask::from_polygon(&s.points, width, height)).collect();
            // All at once: one after another takes time in the square of their number.
            let united = match <[RunMask; 1]>::try_from(drawn) {
                Ok([only]) => Ok(only),
                Err(drawn) => RunMask::vote(&drawn.iter().collect::<Vec<_>>(), 1),
            };
            let bone = own[0].bone.expect("others were left out");
            united.and_then(|mask| masks.set(bone, mask)).expect("all have the size asked for");
        }
        masks
    }
}

/// A file that is no annotation at all.
#[derive(Debug, thiserror::Error)]
pub enum AnnotationError {
    /// The file cannot be read.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The text is no JSON.
    #[error("{path} line {line} column {column}: {reason}")]
    Json {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// In bytes, from 1.
        column: usize,
        /// What was expected.
        reason: String,
    },
    /// JSON of another kind.
    #[error("{path}: no array `annotations` at the top")]
    NoAnnotations {
        /// The file.
        path: PathBuf,
    },
}

/// The shapes of one file; see [`parse`].
///
/// # Errors
/// As for [`read_bytes`] and [`parse`].
pub fn read(path: &Path, file: &str) -> Result<(Annotation, Vec<Problem>), AnnotationError> {
    parse(&read_bytes(path)?, path, file)
}

/// The bytes of an annotation file, if it is a file of a sensible size.
///
/// # Errors
/// The file cannot be read, is no regular file, or is too large.
pub fn read_bytes(path: &Path) -> Result<Vec<u8>, AnnotationError> {
    parse::read_bytes(path).map_err(|source| AnnotationError::Io { path: path.into(), source })
}

/// The shapes of a file's bytes. `file` is the name to use in problems (relative path). Points may be whole or fractional
/// (rounded half to even as numpy does, with an info problem per shape); a shape that cannot be read is a problem, the rest
/// is kept.
///
/// A byte order mark is accepted, and `NaN` and `Infinity` as Python writes them (they are no coordinates).
///
/// # Errors
/// The text is not UTF-8 or no JSON, or has no array `annotations`.
pub fn parse(bytes: &[u8], path: &Path, file: &str) -> Result<(Annotation, Vec<Problem>), AnnotationError> {
    parse::parse(bytes, path, file)
}

#[cfg(test)]
mod tests;
