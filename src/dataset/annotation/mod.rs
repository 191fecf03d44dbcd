//! The annotation JSON: one file per image, polygons with labels.
//!
//! Of the top-level keys only `annotations` and `filename` are read: `metadata` may state the size of another version
//! of the image, while the points are in the image's own pixels. A [`Document`] keeps all keys for writing a copy.

mod document;
mod edit;
mod entry;
mod parse;
mod shape;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

pub use document::Document;
pub use edit::edited;
pub use entry::MAX_COORDINATE;
pub use shape::label_place;
pub(crate) use shape::{OTHER_SPELLING, UNKNOWN_LABEL};

use super::{Problem, WithProblems};
use crate::bones::Bone;
use crate::mask::{HandMasks, RunMask};

/// One polygon.
#[derive(Clone, Debug, PartialEq)]
pub struct Shape {
    /// Position in the file's `annotations`, from 0.
    pub index: usize,
    /// Label as in the file.
    pub label: String,
    /// `None` for an unknown label. A label that differs from a class only in case, spaces, `-` or `_` is that class.
    pub bone: Option<Bone>,
    /// Vertices `[x, y]` in pixels, at least one; they may lie outside the image.
    pub points: Vec<[i32; 2]>,
}

/// The usable shapes of an annotation.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Annotation {
    /// Polygons in the file's order, which is not that of the classes.
    pub shapes: Vec<Shape>,
    /// Indices of the file's entries that became shapes.
    used: BTreeSet<usize>,
}

impl Annotation {
    /// An annotation of shapes that do not come from a file.
    pub fn new(shapes: Vec<Shape>) -> Annotation {
        Annotation { shapes, used: BTreeSet::new() }
    }

    /// One mask per bone: the union of its shapes, each filled like OpenCV's `fillPoly`. Shapes with unknown labels are
    /// in no mask.
    pub fn masks(&self, width: u32, height: u32) -> HandMasks {
        let mut masks = HandMasks::empty(width, height);
        let mut shapes: Vec<&Shape> = self.shapes.iter().filter(|s| s.bone.is_some()).collect();
        shapes.sort_by_key(|s| s.bone);
        for own in shapes.chunk_by(|a, b| a.bone == b.bone) {
            let drawn: Vec<RunMask> = own.iter().map(|s| RunMask::from_polygon(&s.points, width, height)).collect();
            // All at once: one by one would take time quadratic in their number.
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

/// Why a file cannot be read as an annotation.
#[derive(Debug, thiserror::Error)]
pub enum AnnotationError {
    /// The file cannot be read.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Error of the system.
        source: std::io::Error,
    },
    /// The text is not JSON.
    #[error("{path} line {line} column {column}: {reason}")]
    Json {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// In bytes, from 1.
        column: usize,
        /// Message of the JSON parser.
        reason: String,
    },
    /// A LabelMe file without shapes.
    #[error("{path}: no array `shapes` at the top level; the other files are LabelMe's")]
    NoShapes {
        /// The file.
        path: PathBuf,
    },
    /// JSON without an annotation.
    #[error("{path}: no array `annotations` at the top level")]
    NoAnnotations {
        /// The file.
        path: PathBuf,
    },
}

/// The outline of a shape in another format's file.
pub(super) enum ShapeOutline {
    /// Vertices in whole pixels.
    Whole(Vec<[i32; 2]>),
    /// Vertices that may be fractional or invalid.
    Numbers(Vec<[f64; 2]>),
    /// A value that should be an array of points.
    Other(serde_json::Value),
}

/// A shape with the problems that were corrected, or the problem that makes it unusable. The problems have neither file
/// nor image yet.
pub(super) type ShapeRead = Result<(Shape, Vec<Problem>), Box<Problem>>;

/// The shape with this index, checked as those of annotation files are.
pub(super) fn read_shape(index: usize, label: serde_json::Value, outline: ShapeOutline) -> ShapeRead {
    use entry::{AnnotationEntry, Points};
    let points = match outline {
        ShapeOutline::Whole(points) if is_in_range(&points) => Points::Whole(points),
        ShapeOutline::Whole(points) => Points::Whole(points).into_value(),
        ShapeOutline::Numbers(points) => Points::of_numbers(points),
        ShapeOutline::Other(value) => Points::Other(value),
    };
    let kind = Some(shape::TYPE.into());
    let entry = AnnotationEntry::Object { kind, label: Some(label), points: Some(points), repeated: Vec::new() };
    let problem = |p: shape::EntryProblem| Problem::new(p.severity, "", p.reason, p.action).at(p.place).raw(&p.raw);
    match shape::read(entry, index) {
        Ok((shape, problems)) => Ok((shape, problems.into_iter().map(problem).collect())),
        Err(unusable) => Err(Box::new(problem(unusable))),
    }
}

/// Whether there are points and none is far outside any image.
fn is_in_range(points: &[[i32; 2]]) -> bool {
    !points.is_empty() && points.iter().flatten().all(|v| f64::from(v.abs()) <= MAX_COORDINATE)
}

/// The shapes and problems of one file; see [`parse`].
///
/// # Errors
/// As for [`read_bytes`] and [`parse`].
pub fn read(path: &Path, file: &str) -> Result<WithProblems<Annotation>, AnnotationError> {
    parse(&read_bytes(path)?, path, file)
}

/// The bytes of an annotation file.
///
/// # Errors
/// The file cannot be read, is not a regular file, or is too large.
pub fn read_bytes(path: &Path) -> Result<Vec<u8>, AnnotationError> {
    parse::read_bytes(path).map_err(|source| AnnotationError::Io { path: path.into(), source })
}

/// The shapes and problems of a file's bytes. `file` is the name used in problems (relative path). Fractional points
/// are rounded half to even as in numpy, with an info problem per shape. An unreadable shape is a problem; the others
/// are kept.
///
/// A byte order mark is accepted, and so are `NaN` and `Infinity` as Python writes them, though not as coordinates.
///
/// # Errors
/// The text is not UTF-8 or not JSON, or has no array `annotations`.
pub fn parse(bytes: &[u8], path: &Path, file: &str) -> Result<WithProblems<Annotation>, AnnotationError> {
    parse::parse(bytes, path, file)
}

#[cfg(test)]
mod tests;
