//! The submission CSV `image_name,class,rle`.
use std::path::Path;
use super::{RunMask, rle::RleError};
use crate::bones::{self, Bone};

/// The masks of one image.
#[derive(Clone, Debug)]
pub struct ImageMasks {
    /// As in the file: `image1661319116107.png`.
    pub image_name: String,
    /// One a class, index = channel.
    pub masks: Box<[RunMask; bones::COUNT]>,
}

/// Why a submission cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum SubmissionError {
    #[error("{path}: {source}")]
    Io { path: String, source: std::io::Error },
    #[error("{path}: {source}")]
    Csv { path: String, source: csv::Error },
    #[error("{path} line 1: columns {found:?}, expected image_name,class,rle")]
    Header { path: String, found: Vec<String> },
    #[error("{path} line {line}: image {image}, class {class}: {source}")]
    Rle { path: String, line: u64, image: String, class: String, source: RleError },
    #[error("{path} line {line}: image {image}: unknown class {class:?}; `carpus list bones` names them")]
    Class { path: String, line: u64, image: String, class: String },
    #[error("{path} line {line}: image {image}: class {class} occurs twice")]
    Duplicate { path: String, line: u64, image: String, class: Bone },
    #[error("{path}: image {image} has no row for {missing:?}")]
    Missing { path: String, image: String, missing: Vec<Bone> },
}
/// Reads a submission; images in order of first appearance.
pub fn read(path: &Path, width: u32, height: u32) -> Result<Vec<ImageMasks>, SubmissionError> { todo!() }
/// Writes a submission, images in the order given, classes in channel order, by rename.
pub fn write(path: &Path, images: &[ImageMasks]) -> Result<(), SubmissionError> { todo!() }
