use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::file::{EXTENSION, ProbabilityError, read};
use super::{Bits, ImageProbabilities};
use crate::artefact::write_atomically;
use crate::bounded;
use crate::names::image_id;

/// The file in a folder of probabilities that describes what made them. It is written last.
pub const MANIFEST: &str = "probabilities.json";

/// A folder of files `IMAGE_ID.probabilities`.
#[derive(Clone, Debug)]
pub struct ProbabilityFolder {
    path: PathBuf,
    /// By image id.
    files: BTreeMap<String, PathBuf>,
}

impl ProbabilityFolder {
    /// Lists the files of a folder.
    ///
    /// # Errors
    /// The folder cannot be read, has no such files, or two of one image.
    pub fn open(path: &Path) -> Result<ProbabilityFolder, ProbabilityError> {
        let io = |source| ProbabilityError::Io { path: path.into(), source };
        let mut files = BTreeMap::new();
        for entry in std::fs::read_dir(path).map_err(io)? {
            let file = entry.map_err(io)?.path();
            let Some(stem) = file.file_stem().and_then(|stem| stem.to_str()) else { continue };
            if file.extension().is_none_or(|extension| extension != EXTENSION) {
                continue;
            }
            if let Some(other) = files.insert(image_id(stem), file.clone()) {
                let reason = format!("the same image as {}", other.display());
                return Err(ProbabilityError::Content { path: file, reason });
            }
        }
        if files.is_empty() {
            let reason = format!("no file IMAGE_ID.{EXTENSION} in this folder");
            return Err(ProbabilityError::Content { path: path.into(), reason });
        }
        Ok(ProbabilityFolder { path: path.into(), files })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The ids of its images, sorted.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.files.keys().map(String::as_str)
    }

    /// Whether it has this image.
    pub fn contains(&self, image_id: &str) -> bool {
        self.files.contains_key(image_id)
    }

    /// The file of an image.
    pub fn file(&self, image_id: &str) -> Option<&Path> {
        self.files.get(image_id).map(PathBuf::as_path)
    }

    /// Reads the probabilities of an image.
    ///
    /// # Errors
    /// The image is not in the folder, or its file cannot be read.
    pub fn read(&self, image_id: &str) -> Result<ImageProbabilities, ProbabilityError> {
        let missing = || {
            let reason = format!("no probabilities of image {image_id} in this folder");
            ProbabilityError::Content { path: self.path.clone(), reason }
        };
        let file = self.files.get(image_id).ok_or_else(missing)?;
        let image = read(file)?;
        if crate::names::image_id(&image.image_name) != image_id {
            let reason = format!("its probabilities are those of {}; the file was renamed or copied", image.image_name);
            return Err(ProbabilityError::Content { path: file.clone(), reason });
        }
        Ok(image)
    }
}

/// The content of the [`MANIFEST`] of a folder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// What made the probabilities.
    pub made_by: serde_json::Value,
    /// Number of images.
    pub images: usize,
    /// How exactly they are written.
    pub bits: Bits,
}

impl Manifest {
    /// Reads the manifest of a folder.
    ///
    /// # Errors
    /// The file cannot be read or has other content.
    pub fn read(folder: &Path) -> Result<Manifest, ProbabilityError> {
        let path = folder.join(MANIFEST);
        let bytes = match bounded::read(&path, bounded::MAX_TEXT) {
            Ok(bytes) => bytes,
            Err(source) => return Err(ProbabilityError::Io { path, source }),
        };
        serde_json::from_slice(&bytes).map_err(|error| ProbabilityError::Content {
            path,
            reason: format!("not the manifest of a folder: {error}"),
        })
    }

    /// Writes the manifest of a folder.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, folder: &Path) -> Result<(), ProbabilityError> {
        let path = folder.join(MANIFEST);
        write_atomically(&path, |out| serde_json::to_writer_pretty(out, self).map_err(Into::into))
            .map_err(|source| ProbabilityError::Io { path, source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bones;
    use crate::geometry::Size;
    use crate::probability::{ProbabilityMap, write};

    #[test]
    fn images_are_found_by_id() {
        let folder = tempfile::tempdir().unwrap();
        let error = ProbabilityFolder::open(folder.path()).unwrap_err().to_string();
        assert!(error.contains("no file IMAGE_ID.probabilities"), "{error}");
        let maps = vec![ProbabilityMap::empty(Size::square(4)); bones::COUNT];
        let image = ImageProbabilities { image_name: "image1.png".into(), maps };
        write(&folder.path().join("image1.probabilities"), &image, Bits::Eight).unwrap();
        let manifest = Manifest { made_by: serde_json::json!("test"), images: 1, bits: Bits::Eight };
        manifest.write(folder.path()).unwrap();
        assert_eq!(Manifest::read(folder.path()).unwrap(), manifest);
        let opened = ProbabilityFolder::open(folder.path()).unwrap();
        assert_eq!(opened.ids().collect::<Vec<_>>(), ["image1"]);
        assert_eq!(opened.read("image1").unwrap(), image);
        assert!(opened.read("image2").unwrap_err().to_string().contains("no probabilities of image image2"));
        let file = opened.file("image1").unwrap();
        std::fs::copy(file, file.with_file_name(format!("image2.{EXTENSION}"))).unwrap();
        let copied = ProbabilityFolder::open(folder.path()).unwrap();
        assert!(copied.read("image2").unwrap_err().to_string().contains("its probabilities are those of image1"));
    }
}
