//! The file in a converted copy of a data set that holds what its format has no place for: patient, subset and side of
//! each image, and the decisions that are applied in it.

use std::collections::HashMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::source::{DatasetError, Listing};
use super::{ImageEntry, Problem, ProblemSeverity, Side, Subset};
use crate::bounded;
use crate::mask::submission::Space;

/// Name of the file, at the top level of the copy.
pub const FILE: &str = "conversion.jsonl";

/// A line of the file: an image of the copy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConvertedImage {
    /// Id of the image.
    pub image_id: String,
    /// Format of the copy.
    pub format: String,
    /// Patient.
    pub patient_id: String,
    /// Train or test.
    pub subset: Subset,
    /// Side of the hand, with corrections applied.
    pub side: Option<Side>,
    /// Image in the copy, relative to its folder.
    pub image: String,
    /// Image in the original data, relative to its folder.
    pub original_image: String,
    /// Which images the data had: originals or crops.
    pub space: Space,
    /// Whether it has an annotation, which may be without shapes.
    pub is_annotated: bool,
    /// Distance between the centres of two pixels in mm, if it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spacing_mm: Option<f64>,
    /// Ids of the decisions about shapes that are applied in the copy; `None` if it was made without corrections.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub corrections: Option<Vec<String>>,
}

/// The lines of the file by image.
#[derive(Clone, Debug, Default)]
pub(super) struct Conversion {
    images: HashMap<String, ConvertedImage>,
    applied: Option<HashMap<String, Vec<String>>>,
}

impl Conversion {
    /// Reads the file of a copy; without the file, nothing is known. Lines that cannot be read are problems.
    pub(super) fn read(root: &Path, problems: &mut Vec<Problem>) -> Result<Conversion, DatasetError> {
        let path = root.join(FILE);
        let text = match bounded::read_text(&path, bounded::MAX_TEXT) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Conversion::default()),
            Err(source) => return Err(DatasetError::Io { path, source }),
        };
        let mut read = Conversion::default();
        for (line, text) in text.lines().enumerate().filter(|(_, text)| !text.trim().is_empty()) {
            match serde_json::from_str::<ConvertedImage>(text) {
                Ok(image) => {
                    if let Some(decisions) = &image.corrections {
                        let applied = read.applied.get_or_insert_default();
                        applied.insert(image.image_id.clone(), decisions.clone());
                    }
                    read.images.insert(image.image_id.clone(), image);
                }
                Err(error) => problems.push(
                    Problem::new(ProblemSeverity::Error, FILE, error.to_string(), "line ignored")
                        .at(format!("line {}", line + 1))
                        .raw(text),
                ),
            }
        }
        Ok(read)
    }

    /// Sets patient, subset and side of the images that the file names.
    pub(super) fn apply(&self, listing: &mut Listing) {
        for entry in &mut listing.images {
            if let Some(image) = self.images.get(&entry.image_id) {
                entry.patient_id.clone_from(&image.patient_id);
                (entry.subset, entry.side) = (image.subset, image.side);
            }
        }
        sort(&mut listing.images);
    }

    /// What the file says about an image.
    pub(super) fn get(&self, image_id: &str) -> Option<&ConvertedImage> {
        self.images.get(image_id)
    }

    /// By image, the ids of the decisions that are applied in the copy; `None` if it was made without corrections.
    pub(super) fn applied(&self) -> Option<&HashMap<String, Vec<String>>> {
        self.applied.as_ref()
    }

    /// Which images the copy has. Those of a copy of crops are crops.
    pub(super) fn space(&self) -> Space {
        let is_crop = |image: &ConvertedImage| image.space == Space::Crop;
        if self.images.values().any(is_crop) { Space::Crop } else { Space::Original }
    }

    /// Distance between the centres of two pixels of an image in mm, if it is known.
    pub(super) fn spacing_mm(&self, entry: &ImageEntry) -> Option<f64> {
        self.get(&entry.image_id)?.spacing_mm.filter(|mm| mm.is_finite() && *mm > 0.0)
    }
}

/// Sorts images as all sources do: train before test, then by patient, then by name.
pub(super) fn sort(images: &mut [ImageEntry]) {
    images.sort_by(|a, b| {
        let key = |e: &ImageEntry| (e.subset, e.patient_id.clone(), e.file_name().to_owned(), e.image.clone());
        key(a).cmp(&key(b))
    });
}
