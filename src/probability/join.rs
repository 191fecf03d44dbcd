use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::file::{EXTENSION, ProbabilityError};
use super::folder::{MANIFEST, Manifest, ProbabilityFolder};

/// Copies the files of folders of probabilities that have different images into the folder `out`, with one manifest. Returns
/// the number of images.
///
/// # Errors
/// A folder cannot be read or has no manifest, two folders have an image in common or differ in their bits, or a file cannot
/// be written.
pub fn join_folders(folders: &[PathBuf], out: &Path) -> Result<usize, ProbabilityError> {
    let wrong = |path: &Path, reason: String| ProbabilityError::Content { path: path.into(), reason };
    let mut known: HashMap<String, &Path> = HashMap::new();
    let mut manifests: Vec<Manifest> = Vec::new();
    for path in folders {
        let folder = ProbabilityFolder::open(path)?;
        let manifest = Manifest::read(path)?;
        if let Some(first) = manifests.first().filter(|first| first.bits != manifest.bits) {
            let [own, other] = [manifest.bits, first.bits].map(u8::from);
            return Err(wrong(path, format!("{own} bits, but {other} in {}", folders[0].display())));
        }
        manifests.push(manifest);
        for id in folder.ids() {
            if let Some(other) = known.insert(id.to_owned(), path) {
                return Err(wrong(path, format!("image {id} is also in {}", other.display())));
            }
            let target = out.join(format!("{id}.{EXTENSION}"));
            std::fs::copy(folder.file(id).expect("an id of the folder"), &target)
                .map_err(|source| ProbabilityError::Io { path: target, source })?;
        }
    }
    let Some(first) = manifests.first() else { return Ok(0) };
    let one = manifests.iter().all(|manifest| manifest.made_by == first.made_by);
    let made_by = match one {
        true => first.made_by.clone(),
        false => serde_json::json!({
            "command": "join",
            "parts": manifests.iter().map(|manifest| &manifest.made_by).collect::<Vec<_>>(),
        }),
    };
    Manifest { made_by, images: known.len(), bits: first.bits }.write(out)?;
    debug_assert!(out.join(MANIFEST).exists());
    Ok(known.len())
}
