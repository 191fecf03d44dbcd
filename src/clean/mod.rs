//! Crops: a copy of the data, cut to the hand, with exclusions and corrections applied. Border strips and, on request,
//! the background are blackened. The copy has the layout of the original, so that every command works on it, and one
//! transform per image, so that masks predicted on a crop can be restored to the original exactly.

mod crop_box;
mod crops;
mod hand;
mod image;
mod job;
mod metadata;
mod restore;
mod transform;

pub use crop_box::{CropBox, CropShape};
pub use crops::{CleanInputs, CleanReport, FoldTable, clean};
pub use hand::{HandRegion, find_hand};
pub(crate) use image::cut;
pub use restore::{RestoreError, restore, without_prediction};
pub use transform::{BackgroundSource, BoxSource, Transform, TransformsError, read_transforms, write_transforms};

use std::path::PathBuf;

use serde::Serialize;

use crate::artefact::{LockError, OutputError};
use crate::splits::SplitError;
use crate::tables::TableError;
use crate::threads::ThreadsError;
use crate::wording::counted;

/// How to treat the bright strips at the top and the left edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StripRule {
    /// Blacken this many rows at the top and columns at the left.
    Fixed(u32),
    /// Blacken the strips that the scan found (columns of the images table).
    Detect,
    /// Keep them.
    None,
}

/// How to treat the pixels outside the hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Background {
    /// Keep it.
    Keep,
    /// Blacken it.
    Black,
}

/// How to clean.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CleanSettings {
    /// Border strips.
    pub strips: StripRule,
    /// Pixels outside the hand.
    pub background: Background,
    /// Pixels kept around the hand on each side.
    pub margin: u32,
    /// Whether crops are square: the shorter side is widened, and the crop is black beyond the image.
    pub square: bool,
}

/// Why cleaning failed as a whole. A fault in one image is a problem, not an error.
#[derive(Debug, thiserror::Error)]
pub enum CleanError {
    /// The folder of crops may not be written.
    #[error(transparent)]
    Output(#[from] OutputError),
    /// A file or folder of the crops cannot be read, written or deleted.
    #[error("{path}: {source}")]
    Io {
        /// The file or the folder.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// The folder has crops of an earlier run, and none of them is of an image in the images table.
    #[error(
        "{path} has {} of other data and none of the images in these tables; choose another folder",
        counted(*crops, "crop", "crops")
    )]
    OtherData {
        /// The folder of crops.
        path: PathBuf,
        /// Number of crops in it.
        crops: usize,
    },
    /// The folder of crops cannot be locked.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The transforms of the crops cannot be read or written.
    #[error(transparent)]
    Transforms(#[from] TransformsError),
    /// The folds file is empty.
    #[error("{path} has no rows; `carpus split` writes a fold table")]
    NoFolds {
        /// The folds file.
        path: PathBuf,
    },
    /// None of the images in the folds file is in the images table.
    #[error(
        "{path}: no row names an image of the images table (the first names {image:?}); use the folds of these tables"
    )]
    NoFoldMatches {
        /// The folds file.
        path: PathBuf,
        /// The image in its first row.
        image: String,
    },
    /// The folds do not fit the images table, or a patient is in several folds.
    #[error(transparent)]
    Folds(#[from] SplitError),
    /// A table of the crops cannot be read or written.
    #[error(transparent)]
    Table(#[from] TableError),
    /// The threads cannot be started.
    #[error(transparent)]
    Threads(#[from] ThreadsError),
}
