//! The annotation JSON: one file an image, polygons with labels.
//!
//! Of the top keys only `annotations` and `filename` are read: `metadata` may state the size of another rendition of
//! the image, while the points are in the image's own pixels. All keys are kept for writing the file back.

mod parse;
mod points;
mod shape;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::Problem;
use crate::bones::{self, Bone};
use crate::mask::RunMask;

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

/// What an annotation file says, usable shapes only.
#[derive(Clone, Debug, PartialEq)]
pub struct Annotation {
    /// Polygons in the file's order, which is not that of the classes.
    pub shapes: Vec<Shape>,
    /// The file as read, for writing it back with changed labels or points (all other keys kept). The points of the
    /// entries that became shapes are `null` here: they are in the shapes.
    pub document: Value,
    /// Entries of the document that became shapes.
    used: BTreeSet<usize>,
}

impl Annotation {
    /// Shapes that come from no file.
    pub fn new(shapes: Vec<Shape>) -> Annotation {
        Annotation { shapes, document: Value::Object(Map::new()), used: BTreeSet::new() }
    }

    /// One mask a class: the union of the shapes with that label (several shapes of one label are united).
    /// Each is filled as OpenCV's `fillPoly` does; shapes of unknown labels are in none.
    pub fn masks(&self, width: u32, height: u32) -> Box<[RunMask; bones::COUNT]> {
        let mut masks = Box::new(std::array::from_fn(|_| RunMask::empty(width, height)));
        for shape in &self.shapes {
            let Some(bone) = shape.bone else { continue };
            let drawn = RunMask::from_polygon(&shape.points, width, height);
            let mask: &mut RunMask = &mut masks[bone.index()];
            *mask = if mask.is_empty() { drawn } else { mask.union(&drawn).expect("both have the size asked for") };
        }
        masks
    }

    /// Serialises with the shapes' current labels and points put into `document`; other keys as they were.
    ///
    /// A usable entry of the document that is no longer among the shapes is left out; one that could not be used
    /// stays as it was. Shapes with an index past the end are appended.
    pub fn to_json(&self) -> Value {
        let mut document = self.document.clone();
        if !document.is_object() {
            document = Value::Object(Map::new());
        }
        let entries = match document.get_mut("annotations").map(Value::take) {
            Some(Value::Array(entries)) => entries,
            _ => Vec::new(),
        };
        let count = entries.len();
        let mut written = Vec::with_capacity(entries.len());
        for (index, entry) in entries.into_iter().enumerate() {
            let before = written.len();
            for shape in self.shapes.iter().filter(|s| s.index == index) {
                let mut entry = entry.clone();
                put(&mut entry, shape);
                written.push(entry);
            }
            if written.len() == before && !self.used.contains(&index) {
                written.push(entry);
            }
        }
        for shape in self.shapes.iter().filter(|s| s.index >= count) {
            let mut entry = json!({"type": shape::TYPE, "attributes": {}});
            put(&mut entry, shape);
            written.push(entry);
        }
        document["annotations"] = Value::Array(written);
        document
    }
}

fn put(entry: &mut Value, shape: &Shape) {
    if !entry.is_object() {
        *entry = Value::Object(Map::new());
    }
    entry["points"] = json!(shape.points);
    entry["label"] = json!(shape.label);
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

/// Reads one file. `file` is the name to use in problems (relative path). Points may be whole or fractional
/// (rounded half to even as numpy does, with an info problem a shape); a shape that cannot be read is a problem, the rest is kept.
///
/// A byte order mark is accepted, and `NaN` and `Infinity` as Python writes them (they are no coordinates).
///
/// # Errors
/// The file cannot be read, is not UTF-8 or no JSON, or has no array `annotations`.
pub fn read(path: &Path, file: &str) -> Result<(Annotation, Vec<Problem>), AnnotationError> {
    let bytes = parse::read_bytes(path).map_err(|source| AnnotationError::Io { path: path.into(), source })?;
    parse::parse(&bytes, path, file)
}

/// As [`read`], from the file's bytes.
///
/// # Errors
/// As for [`read`].
pub fn parse(bytes: &[u8], path: &Path, file: &str) -> Result<(Annotation, Vec<Problem>), AnnotationError> {
    parse::parse(bytes, path, file)
}

#[cfg(test)]
mod tests;
