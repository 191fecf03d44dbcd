//! `truth.json`: the ground truth of every image, and every deliberate fault.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::PhantomSettings;

/// One deliberate fault.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Defect {
    /// Kind of fault, `snake_case`.
    pub kind: String,
    /// The affected image, or the first of them.
    pub image_id: Option<String>,
    /// Every affected image.
    pub image_ids: Vec<String>,
    /// The affected patient, as in the workbook.
    pub patient_id: String,
    /// Labels that are wrong as written.
    pub labels: Vec<String>,
    /// Description of the change, for people.
    pub detail: String,
}

/// Ground truth of an image.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ImageTruth {
    /// `train` or `test`.
    pub split: String,
    /// Folder name: `ID001`.
    pub patient: String,
    /// `R` or `L`: the hand in the image; file names may differ.
    pub side: String,
    /// Signed angle of Ulna → finger-16 from vertical in degrees, from the centroids of the true masks.
    pub angle_deg: f64,
    /// Whether it was drawn in the rotated pose.
    pub rotated: bool,
    /// Pixels of each true mask.
    pub area: BTreeMap<String, u64>,
    /// Pixels with two or more labels.
    pub overlap_px: u64,
    /// Pixels with a grey level of 240 or more.
    pub pixels_ge_240: u64,
    /// If a fault was planted in the annotation: pixels of each label as written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub area_as_written: Option<BTreeMap<String, u64>>,
    /// Kinds of the faults planted in it or its patient.
    pub defects: Vec<String>,
}

/// The whole file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Truth {
    /// Side of the images in px.
    pub size: u32,
    /// Seed of the data set.
    pub seed: u64,
    /// Settings that it was generated with.
    pub settings: PhantomSettings,
    /// Class names in channel order.
    pub classes: Vec<String>,
    /// Every deliberate fault.
    pub defects: Vec<Defect>,
    /// By `ID001/imageNNN.png`.
    pub images: BTreeMap<String, ImageTruth>,
}

/// Why a ground truth file cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum TruthError {
    /// The file cannot be read.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// The file is not JSON, or has other keys than those of a synthetic data set.
    #[error("{path}: expected the truth.json that `carpus phantom` writes ({source})")]
    Json {
        /// The file.
        path: PathBuf,
        /// The error of the JSON reader.
        source: serde_json::Error,
    },
}

impl Truth {
    /// Reads `truth.json`.
    ///
    /// # Errors
    /// The file cannot be read, or is not that of a synthetic data set.
    pub fn read(path: &Path) -> Result<Truth, TruthError> {
        let text = std::fs::read_to_string(path).map_err(|source| TruthError::Io { path: path.into(), source })?;
        serde_json::from_str(&text).map_err(|source| TruthError::Json { path: path.into(), source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_json_file_is_refused_with_the_expected_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("other.json");
        std::fs::write(&path, r#"{"size": 64, "seed": 1}"#).unwrap();
        let message = Truth::read(&path).unwrap_err().to_string();
        assert!(message.contains("other.json: expected the truth.json that `carpus phantom` writes"), "{message}");
    }
}
