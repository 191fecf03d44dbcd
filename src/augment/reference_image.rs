use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

use super::histogram::{LevelCounts, histogram};
use crate::dataset::read_single;

/// An image file whose grey levels others are matched to. It is read once, when it is first asked for.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(from = "PathBuf", into = "PathBuf")]
pub struct ReferenceImage {
    path: PathBuf,
    read: OnceLock<Result<Box<LevelCounts>, String>>,
}

impl ReferenceImage {
    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The histogram of its 8-bit levels.
    ///
    /// # Errors
    /// The reason for which the file cannot be read.
    pub(super) fn histogram(&self) -> Result<&LevelCounts, &str> {
        let read = self.read.get_or_init(|| {
            let image = read_single(&self.path).map_err(|error| error.reason)?;
            let levels: Vec<f32> = image.pixels.to_eight_bit().iter().map(|v| f32::from(*v)).collect();
            Ok(Box::new(histogram(&levels)))
        });
        read.as_ref().map(|counts| &**counts).map_err(|reason| &**reason)
    }
}

impl From<PathBuf> for ReferenceImage {
    fn from(path: PathBuf) -> Self {
        ReferenceImage { path, read: OnceLock::new() }
    }
}

impl From<ReferenceImage> for PathBuf {
    fn from(image: ReferenceImage) -> Self {
        image.path
    }
}

/// The same file; whether it was read already makes no difference.
impl PartialEq for ReferenceImage {
    fn eq(&self, other: &Self) -> bool {
        self.path == other.path
    }
}
