//! Unfinished edits, in a file next to the corrections file, so that they survive a closed browser and a killed server.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::artefact::write_atomically;
use crate::bounded;

/// Bytes of all drafts that are kept.
const MAX_DRAFTS: usize = 64 << 20;

/// Why the file of drafts cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DraftError {
    /// It cannot be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// It has another content.
    #[error("{path} is not a file of drafts that `carpus review` wrote ({reason}); move it away")]
    OtherContent {
        /// The file.
        path: PathBuf,
        /// The parser's message.
        reason: String,
    },
    /// There are too many drafts.
    #[error("the drafts would take more than {} MB; save or discard some", MAX_DRAFTS >> 20)]
    TooLarge,
}

/// By curator and image, the edit as the page describes it.
type Drafts = BTreeMap<String, BTreeMap<String, Value>>;

#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    carpus_review_drafts: u32,
    drafts: Drafts,
}

/// The drafts of a review.
pub struct DraftFile {
    path: PathBuf,
    drafts: Drafts,
}

impl DraftFile {
    /// The path of the drafts of a corrections file: `corrections.jsonl.drafts`.
    fn path(corrections: &Path) -> PathBuf {
        let mut name = corrections.file_name().unwrap_or_default().to_owned();
        name.push(".drafts");
        corrections.with_file_name(name)
    }

    /// Reads the drafts of a corrections file; there are none without a file.
    ///
    /// # Errors
    /// The file cannot be read or has another content.
    pub fn open(corrections: &Path) -> Result<DraftFile, DraftError> {
        let path = DraftFile::path(corrections);
        let bytes = match bounded::read(&path, 2 * MAX_DRAFTS as u64) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(DraftFile { path, drafts: Drafts::new() });
            }
            Err(source) => return Err(DraftError::Io { path, source }),
        };
        match serde_json::from_slice::<Content>(&bytes) {
            Ok(content) => Ok(DraftFile { path, drafts: content.drafts }),
            Err(error) => Err(DraftError::OtherContent { path, reason: error.to_string() }),
        }
    }

    /// The draft of a curator for an image.
    pub fn get(&self, author: &str, image: &str) -> Option<&Value> {
        self.drafts.get(author)?.get(image)
    }

    /// The images with drafts of a curator.
    pub fn images(&self, author: &str) -> Vec<&str> {
        self.drafts.get(author).into_iter().flat_map(BTreeMap::keys).map(String::as_str).collect()
    }

    /// Stores a draft, or removes it, and writes the file; without drafts, the file is removed.
    ///
    /// # Errors
    /// The file cannot be written, or the drafts are too large. The draft is then not stored.
    pub fn set(&mut self, author: &str, image: &str, draft: Option<Value>) -> Result<(), DraftError> {
        let mut drafts = self.drafts.clone();
        let own = drafts.entry(author.to_owned()).or_default();
        match draft {
            Some(draft) => drop(own.insert(image.to_owned(), draft)),
            None if own.remove(image).is_none() => return Ok(()),
            None => {}
        }
        drafts.retain(|_, own| !own.is_empty());
        let io = |source| DraftError::Io { path: self.path.clone(), source };
        if drafts.is_empty() {
            match std::fs::remove_file(&self.path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(io(error)),
                _ => {}
            }
        } else {
            let content = Content { carpus_review_drafts: 1, drafts: drafts.clone() };
            let text = serde_json::to_vec(&content).map_err(|error| io(error.into()))?;
            if text.len() > MAX_DRAFTS {
                return Err(DraftError::TooLarge);
            }
            write_atomically(&self.path, |out| out.write_all(&text)).map_err(io)?;
        }
        self.drafts = drafts;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drafts_are_kept_in_a_file_that_disappears_with_the_last() {
        let folder = tempfile::tempdir().unwrap();
        let corrections = folder.path().join("c.jsonl");
        let mut drafts = DraftFile::open(&corrections).unwrap();
        drafts.set("kim", "a", Some(Value::from(1))).unwrap();
        drafts.set("lee", "a", Some(Value::from(2))).unwrap();
        let mut again = DraftFile::open(&corrections).unwrap();
        assert_eq!((again.get("kim", "a"), again.images("lee")), (Some(&Value::from(1)), vec!["a"]));
        for author in ["kim", "lee"] {
            again.set(author, "a", None).unwrap();
        }
        assert!(!folder.path().join("c.jsonl.drafts").exists());
        std::fs::write(folder.path().join("c.jsonl.drafts"), "mine").unwrap();
        assert!(DraftFile::open(&corrections).is_err_and(|error| error.to_string().contains("move it away")));
    }
}
