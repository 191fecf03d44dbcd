//! Parses the bytes of a file to shapes.

use std::fs::File as FsFile;
use std::io::{self, Read};
use std::path::Path;

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::entry::{AnnotationEntry, File};
use super::shape::{self, EntryProblem};
use super::{Annotation, AnnotationError};
use crate::dataset::{Problem, ProblemSeverity, WithProblems, image_id};

/// Largest file read, in bytes: a dense contour of every bone takes less than 1 MB. Other JSON takes up to eighty times
/// its size in memory.
const MAX_FILE: u64 = 16 << 20;

/// The bytes of a file of at most [`MAX_FILE`].
pub fn read_bytes(path: &Path) -> io::Result<Vec<u8>> {
    let file = std::fs::metadata(path)?;
    if !file.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a file"));
    }
    if file.len() > MAX_FILE {
        let reason = format!("the file has {} bytes; at most {MAX_FILE} are read", file.len());
        return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
    }
    let mut bytes = Vec::with_capacity(file.len() as usize + 1);
    FsFile::open(path)?.take(MAX_FILE).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The text of a file, without its byte order mark.
pub fn text<'a>(bytes: &'a [u8], path: &Path) -> Result<&'a str, AnnotationError> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    std::str::from_utf8(bytes).map_err(|error| {
        let before = &bytes[..error.valid_up_to()];
        let line_start = before.iter().rposition(|b| *b == b'\n').map_or(0, |i| i + 1);
        AnnotationError::Json {
            path: path.into(),
            line: 1 + before.iter().filter(|b| **b == b'\n').count(),
            column: 1 + before.len() - line_start,
            reason: "not UTF-8; save the file as UTF-8".into(),
        }
    })
}

/// Parses JSON. Python writes NaN and Infinity, which are not JSON: read as null, they make only their shape unusable.
pub fn json<T: DeserializeOwned>(text: &str, path: &Path) -> Result<T, AnnotationError> {
    let error = match serde_json::from_str(text) {
        Ok(read) => return Ok(read),
        Err(error) => error,
    };
    if let Some(read) = without_nan(text).and_then(|text| serde_json::from_str(&text).ok()) {
        return Ok(read);
    }
    let message = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    let reason = message.strip_suffix(&place).unwrap_or(&message).to_owned();
    Err(AnnotationError::Json { path: path.into(), line: error.line(), column: error.column(), reason })
}

/// See [`super::parse`].
pub fn parse(bytes: &[u8], path: &Path, file: &str) -> Result<WithProblems<Annotation>, AnnotationError> {
    let File { filename, annotations, repeated } = json(text(bytes, path)?, path)?;
    let entries = annotations.ok_or_else(|| AnnotationError::NoAnnotations { path: path.into() })?;
    let id = image_id(file);
    let mut problems = Vec::new();
    let mut report = |p: EntryProblem| {
        problems.push(Problem::new(p.severity, file, p.reason, p.action).at(p.place).raw(&p.raw).of_image(&id));
    };
    repeated.into_iter().for_each(|key| report(shape::repeated_key(key.to_owned(), key)));
    let about_name = |raw: &str, reason: String, action: &str| EntryProblem {
        severity: ProblemSeverity::Warning,
        place: "filename".into(),
        raw: raw.into(),
        reason,
        action: action.into(),
    };
    match filename.unwrap_or_default() {
        Value::Null => {}
        // The ending may be that of another format.
        Value::String(name) if image_id(&name) == id => {}
        Value::String(name) => {
            let reason = format!("`filename` names another image than the file's own name, {id}");
            report(about_name(&name, reason, "the file's own name is used"));
        }
        other => report(about_name(&other.to_string(), "expected text".into(), "skipped")),
    }
    let mut annotation = Annotation::default();
    for (index, entry) in entries.into_iter().enumerate() {
        if let AnnotationEntry::Object { repeated, .. } = &entry {
            repeated.iter().for_each(|key| report(shape::repeated_key(format!("annotations[{index}].{key}"), key)));
        }
        match shape::read(entry, index) {
            Ok((shape, found)) => {
                found.into_iter().for_each(&mut report);
                annotation.shapes.push(shape);
                annotation.used.insert(index);
            }
            Err(problem) => report(problem),
        }
    }
    Ok(WithProblems { content: annotation, problems })
}

/// The text with the words `NaN`, `Infinity` and `-Infinity` outside strings replaced by `null`; `None` if it has none.
fn without_nan(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let (mut rest, mut found, mut in_string, mut escaped) = (text, false, false, false);
    while let Some(c) = rest.chars().next() {
        if !in_string && let Some(word) = ["-Infinity", "Infinity", "NaN"].iter().find(|w| rest.starts_with(**w)) {
            out.push_str("null");
            rest = &rest[word.len()..];
            found = true;
            continue;
        }
        match c {
            _ if escaped => escaped = false,
            '\\' if in_string => escaped = true,
            '"' => in_string = !in_string,
            _ => {}
        }
        out.push(c);
        rest = &rest[c.len_utf8()..];
    }
    found.then_some(out)
}
