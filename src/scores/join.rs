use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::{ScoreError, read_flat};
use crate::mask::submission::{ImageMasks, Sidecar, Space, sidecar};
use crate::names::image_id;

/// Masks of several files.
#[derive(Clone, Debug, PartialEq)]
pub struct JoinedMasks {
    /// The images in the order of the files; without their sizes, each mask is one row.
    pub images: Vec<ImageMasks>,
    /// The sidecar of masks of crops.
    pub sidecar: Option<Sidecar>,
}

/// Reads files of masks that have different images.
///
/// # Errors
/// A file cannot be read, two files have an image in common, or some are masks of crops and others of original images.
pub fn join_submissions(paths: &[PathBuf]) -> Result<JoinedMasks, ScoreError> {
    let mut joined = JoinedMasks { images: Vec::new(), sidecar: None };
    let mut known: HashMap<String, &Path> = HashMap::new();
    let mut first: Option<Space> = None;
    for path in paths {
        let own = sidecar(path)?;
        let space = own.as_ref().map_or(Space::Original, |sidecar| sidecar.space);
        if *first.get_or_insert(space) != space {
            return Err(ScoreError::Spaces { path: path.clone(), first: paths[0].clone() });
        }
        if let Some(own) = own {
            let all = joined.sidecar.get_or_insert_with(|| Sidecar { space, sizes: Default::default() });
            all.sizes.extend(own.sizes);
        }
        for image in read_flat(path)? {
            if let Some(other) = known.insert(image_id(&image.image_name), path) {
                return Err(ScoreError::ImageTwice {
                    image: image.image_name,
                    path: path.clone(),
                    other: other.to_owned(),
                });
            }
            joined.images.push(image);
        }
    }
    Ok(joined)
}
