//! Finds images, their annotations and the metadata file under a data folder.

use super::Problem;
use std::path::{Path, PathBuf};

/// Which part of the data an image belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Subset {
    Train,
    Test,
}
impl Subset {
    pub fn name(self) -> &'static str {
        match self {
            Subset::Train => "train",
            Subset::Test => "test",
        }
    }
}

/// Left or right hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub enum Side {
    L,
    R,
}
impl Side {
    pub fn name(self) -> &'static str {
        match self {
            Side::L => "L",
            Side::R => "R",
        }
    }
}

/// One image found.
#[derive(Clone, Debug, PartialEq)]
pub struct ImageEntry {
    /// File stem, unique in the data set.
    pub image_id: String,
    /// Three digits or whatever the folder says without `ID`: `ID040` → `040`.
    pub patient_id: String,
    pub subset: Subset,
    /// Relative to the root, with `/`.
    pub image: String,
    /// Relative to the root; `None` where there is none.
    pub annotation: Option<String>,
    /// Digits of the name, milliseconds; `None` where it has none.
    pub timestamp: Option<i64>,
    /// From the name's ending `_R`/`_L`, else from the order of the time stamps within a patient of exactly
    /// two images (earlier is right), else `None`.
    pub side: Option<Side>,
    /// What the name's ending alone says.
    pub side_in_name: Option<Side>,
}

/// What a data folder holds. Images sorted by (subset: train first, patient_id, file name).
#[derive(Clone, Debug)]
pub struct Layout {
    pub root: PathBuf,
    pub images: Vec<ImageEntry>,
    /// Relative to the root.
    pub metadata: Option<String>,
    pub problems: Vec<Problem>,
}

/// A folder that cannot be a data set.
#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: std::io::Error },
    #[error("{path}: no images found. Expected train/DCM/ID001/*.png, test/DCM/…, or a folder of images")]
    NoImages { path: PathBuf },
}

/// Looks for `train/DCM/ID*/*.png` + `train/outputs_json/ID*/*.json` + `test/DCM/…` + a metadata workbook or
/// CSV at the root; else a flat folder (images with JSON of the same stem beside them or in a sibling folder).
pub fn discover(root: &Path) -> Result<Layout, LayoutError> {
    todo!()
}
