//! The parts of a COCO file. A value of an unexpected type is kept out of the way of the others: it makes only its own
//! annotation unusable.

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

/// A COCO file. Other keys are ignored.
#[derive(Debug, Default, Deserialize)]
pub struct CocoFile {
    #[serde(default)]
    pub images: Vec<ImageRecord>,
    #[serde(default)]
    pub annotations: Vec<AnnotationRecord>,
    #[serde(default)]
    pub categories: Vec<CategoryRecord>,
}

/// A number or text by which records refer to each other.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
#[serde(untagged)]
pub enum Id {
    Number(i64),
    Text(String),
    Other(Ignored),
}

/// A value of another type than expected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct Ignored;

impl<'de> Deserialize<'de> for Ignored {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Ignored, D::Error> {
        IgnoredAny::deserialize(deserializer).map(|_| Ignored)
    }
}

impl std::fmt::Display for Id {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Id::Number(number) => number.fmt(f),
            Id::Text(text) => write!(f, "{text:?}"),
            Id::Other(_) => f.write_str("of an unknown type"),
        }
    }
}

/// A value of the expected type, or any other.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(untagged)]
pub enum Lenient<T> {
    Expected(T),
    Other(Ignored),
}

impl<T> Lenient<T> {
    pub fn expected(&self) -> Option<&T> {
        match self {
            Lenient::Expected(value) => Some(value),
            Lenient::Other(_) => None,
        }
    }
}

#[derive(Debug, Deserialize)]
pub struct CategoryRecord {
    pub id: Option<Id>,
    pub name: Option<Lenient<String>>,
}

#[derive(Debug, Deserialize)]
pub struct ImageRecord {
    pub id: Option<Id>,
    pub file_name: Option<Lenient<String>>,
    pub width: Option<Lenient<u32>>,
    pub height: Option<Lenient<u32>>,
    pub carpus: Option<Lenient<OwnImage>>,
}

/// What carpus writes about an image, and COCO has no place for.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct OwnImage {
    /// Patient.
    pub patient_id: String,
    /// Side of the hand: `L` or `R`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub side: Option<String>,
    /// Whether the image has an annotation, which may be without shapes.
    #[serde(default)]
    pub is_annotated: bool,
    /// Distance between the centres of two pixels in mm.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spacing_mm: Option<f64>,
    /// Shapes whose label is not the name of a bone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shapes: Vec<OwnShape>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct AnnotationRecord {
    #[serde(skip_serializing)]
    pub image_id: Option<Id>,
    #[serde(skip_serializing)]
    pub category_id: Option<Id>,
    pub segmentation: Option<Segmentation>,
    #[serde(default)]
    pub carpus: Option<Lenient<OwnShapes>>,
}

/// The vertices of a bone as they were drawn.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct OwnShapes {
    /// One entry per outline.
    pub shapes: Vec<OwnShape>,
}

/// An outline.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct OwnShape {
    /// Position among the shapes of the image.
    pub index: usize,
    /// Label as in the original annotation.
    pub label: String,
    /// Vertices in pixels.
    pub points: Vec<[i32; 2]>,
}

/// Where an object is.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(untagged)]
pub enum Segmentation {
    /// Flat lists `x, y, x, y, …`.
    Polygons(Vec<Vec<f64>>),
    /// Runs, column by column.
    Runs {
        /// Rows and columns of the mask.
        size: [u32; 2],
        /// Lengths of the runs.
        counts: Counts,
    },
    /// Neither.
    Other(Ignored),
}

/// Lengths of runs.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(untagged)]
pub enum Counts {
    /// As they are.
    Numbers(Vec<u32>),
    /// As pycocotools compresses them.
    Text(String),
}
