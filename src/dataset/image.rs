//! Reading radiographs: PNG, JPEG, TIFF, 8 and 16 bit, grey or colour, as 8-bit grey.

use std::path::{Path, PathBuf};

/// An image that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {reason}")]
pub struct ImageError {
    pub path: PathBuf,
    pub reason: String,
}

/// A radiograph as 8-bit grey, row-major, 16-bit scaled by >> 8 from its full range.
pub struct Radiograph {
    pub pixels: image::GrayImage,
    /// Bits a sample on disk.
    pub bits: u8,
    /// SHA-256 of the file's bytes, hex.
    pub sha256: String,
}

/// Reads and decodes one file; size limits guard against hostile headers.
pub fn read(path: &Path) -> Result<Radiograph, ImageError> {
    todo!()
}
