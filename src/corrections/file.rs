use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::Correction;
use crate::artefact::write_atomically;

/// How long a writer waits for another one.
const PATIENCE: Duration = Duration::from_secs(10);

/// A correction and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Line of the file, from 1.
    pub line: usize,
    /// What it says.
    pub correction: Correction,
}

/// A line that is no correction.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct LineError {
    /// Line of the file, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub reason: String,
}

/// A corrections file that cannot be read or added to.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum CorrectionsError {
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: std::io::Error },
    #[error("{path}: another program has held the lock for {seconds} s; is a review page open on the same file?")]
    Locked { path: PathBuf, seconds: u64 },
    #[error("not appended: {reason}")]
    Senseless { reason: String },
}

/// Reads a file: the good lines in order, and what is wrong with the others. Empty lines are passed over.
pub fn read(path: &Path) -> Result<(Vec<Entry>, Vec<LineError>), CorrectionsError> {
    let bytes = std::fs::read(path).map_err(|source| CorrectionsError::Io { path: path.into(), source })?;
    let (mut entries, mut wrong) = (Vec::new(), Vec::new());
    // Line by line from bytes: a line that is no UTF-8 must not take the others with it.
    for (i, line) in bytes.split(|b| *b == b'\n').enumerate() {
        let line = if i == 0 { line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line) } else { line };
        if line.trim_ascii().is_empty() {
            continue;
        }
        match serde_json::from_slice::<Correction>(line) {
            Ok(correction) => entries.push(Entry { line: i + 1, correction }),
            Err(error) => wrong.push(LineError { line: i + 1, reason: reason(&error) }),
        }
    }
    Ok((entries, wrong))
}

/// The message without serde's `at line 1`, which would be taken for a line of the file.
fn reason(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rsplit_once(" at line ") {
        Some((message, _)) if error.line() > 0 => format!("{message} (column {})", error.column()),
        _ => text,
    }
}

/// Adds lines at the end, all or none of them, and makes the file where there is none. Two writers wait for each other by
/// a lock on `.NAME.lock` beside the file, which the system lets go when a writer dies.
pub fn append(path: &Path, corrections: &[Correction]) -> Result<(), CorrectionsError> {
    let io = |source| CorrectionsError::Io { path: path.into(), source };
    let mut lines = Vec::new();
    for correction in corrections {
        correction.check().map_err(|reason| CorrectionsError::Senseless { reason })?;
        serde_json::to_writer(&mut lines, correction).map_err(|e| io(e.into()))?;
        lines.push(b'\n');
    }
    // A link stays a link: what is replaced is the file it leads to.
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let _lock = lock(&path)?;
    let mut content = match std::fs::read(&path) {
        Ok(content) => content,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(e) => return Err(io(e)),
    };
    if !content.is_empty() && !content.ends_with(b"\n") {
        content.push(b'\n');
    }
    content.extend(lines);
    write_atomically(&path, |out| std::io::Write::write_all(out, &content)).map_err(io)
}

/// Holds the lock until it is dropped.
fn lock(path: &Path) -> Result<File, CorrectionsError> {
    let io = |source| CorrectionsError::Io { path: path.into(), source };
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let beside = path.with_file_name(format!(".{name}.lock"));
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(io)?;
    }
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(beside).map_err(io)?;
    let started = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(source)) => return Err(io(source)),
            Err(TryLockError::WouldBlock) if started.elapsed() > PATIENCE => {
                return Err(CorrectionsError::Locked { path: path.into(), seconds: PATIENCE.as_secs() });
            }
            Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(10)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::corrections::{Action, Target};

    fn exclude(image: &str) -> Correction {
        Correction {
            target: Target::Image(image.into()),
            action: Action::Exclude {},
            annotation_sha256: None,
            reason: "반지".into(),
            author: "kim".into(),
            date: "2026-03-01".into(),
        }
    }

    #[test]
    fn bad_lines_are_named_and_good_ones_remain() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("corrections.jsonl");
        append(&path, &[exclude("a")]).unwrap();
        let mut bytes = std::fs::read(&path).unwrap();
        bytes.extend(b"{\"version\":9}\n\n\xff\xfe\nnot json\n{\"version\":1,\"image_id\":\"b\"");
        std::fs::write(&path, bytes).unwrap();
        // The unfinished last line is closed, not continued.
        append(&path, &[exclude("c")]).unwrap();
        let (entries, wrong) = read(&path).unwrap();
        let good: Vec<_> = entries.iter().map(|e| (e.line, e.correction.target.clone())).collect();
        assert_eq!(good, [(1, Target::Image("a".into())), (7, Target::Image("c".into()))]);
        assert_eq!(wrong.iter().map(|w| w.line).collect::<Vec<_>>(), [2, 4, 5, 6]);
        assert!(wrong.iter().all(|w| !w.reason.contains("at line")), "{wrong:?}");
    }

    #[test]
    fn two_writers_lose_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("corrections.jsonl");
        std::thread::scope(|scope| {
            for writer in 0..4 {
                let path = &path;
                scope.spawn(move || {
                    for i in 0..10 {
                        append(path, &[exclude(&format!("{writer}-{i}a")), exclude(&format!("{writer}-{i}b"))])
                            .unwrap();
                    }
                });
            }
        });
        let (entries, wrong) = read(&path).unwrap();
        assert!(wrong.is_empty());
        assert_eq!(entries.len(), 80);
        // What was appended together stands together.
        for pair in entries.chunks(2) {
            let [Target::Image(a), Target::Image(b)] = [&pair[0], &pair[1]].map(|e| &e.correction.target) else {
                panic!("only images were excluded")
            };
            assert_eq!(a.trim_end_matches('a'), b.trim_end_matches('b'));
        }
    }

    #[test]
    fn senseless_corrections_are_not_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("corrections.jsonl");
        let bad = Correction { date: "yesterday".into(), ..exclude("a") };
        assert!(matches!(append(&path, &[exclude("b"), bad]), Err(CorrectionsError::Senseless { .. })));
        assert!(!path.exists());
        assert!(matches!(read(&path), Err(CorrectionsError::Io { .. })));
    }
}
