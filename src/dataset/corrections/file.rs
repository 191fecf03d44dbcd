use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::{Corrections, Decision, State};
use crate::artefact::{leads_to, write_atomically};
use crate::bounded;

/// How long a writer waits for another writer.
const LOCK_TIMEOUT: Duration = Duration::from_secs(10);

/// Why a corrections file cannot be read or extended.
#[derive(Debug, thiserror::Error)]
pub enum CorrectionsError {
    /// The file or its lock file cannot be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The corrections file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// The file does not exist.
    #[error("no corrections file {path}; `carpus corrections add` makes one")]
    Missing {
        /// The corrections file.
        path: PathBuf,
    },
    /// The file has lines, but none of them is a decision.
    #[error("{path} holds no decision that can be read; the first line: {reason}; is it a corrections file?")]
    NoDecision {
        /// The corrections file.
        path: PathBuf,
        /// What is wrong with the first line.
        reason: String,
    },
    /// Another process keeps its lock on the file until the waiting time ends.
    #[error("{path}: another program has locked the file for {seconds} s; is a review page open on the same file?")]
    Locked {
        /// The corrections file.
        path: PathBuf,
        /// The waiting time in seconds.
        seconds: u64,
    },
    /// A decision to add is incomplete, is in the file already, or does not fit the earlier ones.
    #[error("nothing was added: {reason}")]
    Refused {
        /// What is wrong with the decision.
        reason: String,
    },
}

/// Appends decisions, all or none of them, and returns the line number of the first. Creates the file if there is none.
/// Writers exclude each other by a lock on `.NAME.lock` next to the file, which the system releases when a writer dies.
/// The lock file exists only while a writer is at work.
///
/// # Errors
/// - The file cannot be read or written.
/// - Another writer does not finish.
/// - A decision is refused: it is incomplete, an undo refers to no earlier decision, or the decision is in the file
///   already.
pub fn append(path: &Path, decisions: &[Decision]) -> Result<usize, CorrectionsError> {
    let io = |source| CorrectionsError::Io { path: path.into(), source };
    let refused = |reason| Err(CorrectionsError::Refused { reason });
    let mut lines = String::new();
    for decision in decisions {
        if let Err(reason) = decision.check() {
            return refused(reason);
        }
        lines += &decision.to_line();
        lines.push('\n');
    }
    // A link stays a link: the file that it points to is replaced.
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let _lock = lock(&path)?;
    let mut content = match bounded::read(&path, bounded::MAX_TEXT) {
        Ok(content) => content,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(e) => return Err(io(e)),
    };
    if !content.is_empty() && !content.ends_with(b"\n") {
        content.push(b'\n');
    }
    let before = Corrections::parse("", &content);
    content.extend(lines.as_bytes());
    let after = Corrections::parse("", &content);
    if let Some(problem) = after.problems().iter().rev().find(|_| after.problems().len() > before.problems().len()) {
        return refused(problem.reason.clone());
    }
    let added = &after.history()[before.history().len()..];
    if let Some((decision, _)) = added.iter().find(|(_, state)| *state == State::Repeated) {
        return refused(format!("decision {} is in the file already", decision.id()));
    }
    write_atomically(&path, |out| std::io::Write::write_all(out, &content)).map_err(io)?;
    Ok(before.lines + 1)
}

/// The lock file; dropping it removes the file and releases the lock.
struct HeldLock {
    path: PathBuf,
    file: File,
}

impl Drop for HeldLock {
    fn drop(&mut self) {
        // Before the release. Whoever waits for this file then finds that the name does not lead to it any more.
        if leads_to(&self.path, &self.file) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn lock(path: &Path) -> Result<HeldLock, CorrectionsError> {
    let io = |source| CorrectionsError::Io { path: path.into(), source };
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let lock = path.with_file_name(format!(".{name}.lock"));
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(io)?;
    }
    let started = Instant::now();
    loop {
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&lock).map_err(io)?;
        match file.try_lock() {
            // The lock of a file that its last holder has removed excludes nobody.
            Ok(()) if leads_to(&lock, &file) => return Ok(HeldLock { path: lock, file }),
            Ok(()) | Err(TryLockError::WouldBlock) if started.elapsed() > LOCK_TIMEOUT => {
                return Err(CorrectionsError::Locked { path: path.into(), seconds: LOCK_TIMEOUT.as_secs() });
            }
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(10)),
            Err(TryLockError::Error(source)) => return Err(io(source)),
        }
    }
}
