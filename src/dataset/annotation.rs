//! The annotation JSON: one file an image, polygons with labels.

use super::Problem;
use crate::bones::{self, Bone};
use crate::mask::RunMask;
use std::path::{Path, PathBuf};

/// One polygon.
#[derive(Clone, Debug, PartialEq)]
pub struct Shape {
    /// Place in the file's `annotations`.
    pub index: usize,
    /// As in the file.
    pub label: String,
    /// `None` for an unknown label.
    pub bone: Option<Bone>,
    pub points: Vec<[i32; 2]>,
}

/// What an annotation file says, usable shapes only.
#[derive(Clone, Debug, PartialEq)]
pub struct Annotation {
    pub shapes: Vec<Shape>,
    /// The file as read, for writing it back with changed labels or points (all other keys kept).
    pub document: serde_json::Value,
}
impl Annotation {
    /// One mask a class: the union of the shapes with that label (several shapes of one label are united).
    pub fn masks(&self, width: u32, height: u32) -> Box<[RunMask; bones::COUNT]> {
        todo!()
    }
    /// Serialises with the shapes' current labels and points put into `document`; other keys as they were.
    pub fn to_json(&self) -> serde_json::Value {
        todo!()
    }
}

/// A file that is no annotation at all.
#[derive(Debug, thiserror::Error)]
pub enum AnnotationError {
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: std::io::Error },
    #[error("{path} line {line} column {column}: {reason}")]
    Json { path: PathBuf, line: usize, column: usize, reason: String },
    #[error("{path}: no array `annotations` at the top")]
    NoAnnotations { path: PathBuf },
}

/// Reads one file. `file` is the name to use in problems (relative path). Points may be whole or fractional
/// (rounded half to even as numpy does, with an info problem a shape); a shape that cannot be read is a problem, the rest is kept.
pub fn read(path: &Path, file: &str) -> Result<(Annotation, Vec<Problem>), AnnotationError> {
    todo!()
}
