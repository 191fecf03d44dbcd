//! The corrections file as the page sees it: read again when it has changed.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use super::judgement::Judgement;
use super::refusal::Refusal;
use crate::dataset::Corrections;
use crate::dataset::corrections::{CorrectionsError, Decision, append};

/// The decisions at one time.
#[derive(Default)]
pub struct Snapshot {
    /// Increases with every change of the file.
    pub version: u64,
    /// The decisions.
    pub corrections: Corrections,
    /// The judgements of each finding.
    pub judgements: Vec<Vec<Judgement>>,
}

/// Size, time and inode of the file; they change with its content, because writers replace the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mark {
    length: u64,
    modified: Option<SystemTime>,
    inode: u64,
}

struct Known {
    mark: Option<Mark>,
    snapshot: Arc<Snapshot>,
}

/// The corrections file of a review.
pub struct Ledger {
    path: PathBuf,
    known: Mutex<Option<Known>>,
}

impl Ledger {
    /// The file at `path`, which need not exist.
    pub fn new(path: PathBuf) -> Ledger {
        Ledger { path, known: Mutex::new(None) }
    }

    /// The corrections file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn known(&self) -> MutexGuard<'_, Option<Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The decisions; `judge` derives the judgements of changed ones.
    pub fn read(&self, judge: impl FnOnce(&Corrections) -> Vec<Vec<Judgement>>) -> Result<Arc<Snapshot>, Refusal> {
        let mut known = self.known();
        let mark = mark(&self.path);
        if let Some(known) = known.as_ref().filter(|known| known.mark == mark) {
            return Ok(known.snapshot.clone());
        }
        let corrections = match Corrections::read_any(&self.path) {
            Ok(read) => read,
            Err(CorrectionsError::Missing { .. }) => Corrections::parse(&self.path.display().to_string(), b""),
            Err(error) => return Err(Refusal::failed(error)),
        };
        let version = known.as_ref().map_or(1, |known| known.snapshot.version + 1);
        let snapshot = Arc::new(Snapshot { version, judgements: judge(&corrections), corrections });
        *known = Some(Known { mark, snapshot: snapshot.clone() });
        Ok(snapshot)
    }

    /// Appends decisions, all or none.
    pub fn append(&self, decisions: &[Decision]) -> Result<(), Refusal> {
        let appended = append(&self.path, decisions);
        appended.map(|_| ()).map_err(|error| match error {
            CorrectionsError::Refused { reason } => Refusal::invalid(format!("not saved: {reason}")),
            other => Refusal::failed(format!("not saved: {other}")),
        })
    }
}

fn mark(path: &Path) -> Option<Mark> {
    let found = std::fs::metadata(path).ok()?;
    #[cfg(unix)]
    let inode = std::os::unix::fs::MetadataExt::ino(&found);
    #[cfg(not(unix))]
    let inode = 0;
    Some(Mark { length: found.len(), modified: found.modified().ok(), inode })
}
