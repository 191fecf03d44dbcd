//! Crops: a copy of the data with exclusions and corrections applied, border strips and, on request, the background
//! blackened, cut to the hand. The copy has the layout of the original, so that every command works on it, and a transform
//! an image, so that what is predicted on a crop goes back to the original exactly.

mod crop_box;
mod crops;
mod hand;
mod image;
mod job;
mod metadata;
mod restore;
mod transform;

pub use crop_box::CropBox;
pub use crops::{CleanInputs, CleanReport, clean};
pub use hand::{HandRegion, find_hand};
pub use restore::{RestoreError, restore, without_prediction};
pub use transform::{BackgroundSource, BoxSource, Transform, TransformsError, read_transforms, write_transforms};

use std::path::PathBuf;

use serde::Serialize;

use crate::artefact::{LockError, OutputError};
use crate::splits::SplitError;
use crate::tables::TableError;
use crate::threads::ThreadsError;
use crate::wording::counted;

/// What to do with the bright strips at the top and the left edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StripRule {
    /// Blacken this many rows at the top and columns at the left.
    Fixed(u32),
    /// Blacken what the images table says was found.
    Detect,
    /// Leave them.
    None,
}

/// What to do with what is outside the hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Background {
    /// Leave it.
    Keep,
    /// Blacken it.
    Black,
}

/// How to clean.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CleanSettings {
    /// Border strips.
    pub strips: StripRule,
    /// Outside the hand.
    pub background: Background,
    /// Pixels kept around the hand on each side.
    pub margin: u32,
    /// Whether crops are square (grown over the shorter side; black beyond the image).
    pub square: bool,
}

/// Why nothing was cleaned. What concerns one image is a problem, not an error.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum CleanError {
    #[error(transparent)]
    Output(#[from] OutputError),
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: std::io::Error },
    #[error("{path} holds {} of other data and none of these tables; name another folder", counted(*crops, "crop", "crops"))]
    OtherData { path: PathBuf, crops: usize },
    #[error(transparent)]
    Lock(#[from] LockError),
    #[error(transparent)]
    Transforms(#[from] TransformsError),
    #[error(transparent)]
    Folds(#[from] SplitError),
    #[error(transparent)]
    Table(#[from] TableError),
    #[error(transparent)]
    Threads(#[from] ThreadsError),
}
