//! From bytes to shapes.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use serde_json::Value;

use super::points::Cut;
use super::{Annotation, AnnotationError, shape};
use crate::dataset::{Problem, Severity};

/// Largest file read: a dense contour of every bone takes under 1 MB.
const MAX_FILE: u64 = 256 << 20;

/// The whole file, if it is a file of a sensible size.
pub fn read_bytes(path: &Path) -> io::Result<Vec<u8>> {
    let what = std::fs::metadata(path)?;
    if !what.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a file"));
    }
    if what.len() > MAX_FILE {
        let reason = format!("{} bytes, more than the {MAX_FILE} that are read", what.len());
        return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
    }
    let mut bytes = Vec::with_capacity(what.len() as usize + 1);
    File::open(path)?.take(MAX_FILE).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Key of the entries.
pub const ANNOTATIONS: &str = "annotations";

/// See [`super::read`].
pub fn parse(bytes: &[u8], path: &Path, file: &str) -> Result<(Annotation, Vec<Problem>), AnnotationError> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let before = &bytes[..error.valid_up_to()];
        let line_start = before.iter().rposition(|b| *b == b'\n').map_or(0, |i| i + 1);
        AnnotationError::Json {
            path: path.into(),
            line: 1 + before.iter().filter(|b| **b == b'\n').count(),
            column: 1 + before.len() - line_start,
            reason: "not UTF-8; save the file as UTF-8".into(),
        }
    })?;
    let (kept, mut cut) = Cut::out_of(text);
    // Python writes NaN and Infinity, which are no JSON. As null they spoil only the shape they are in.
    let read = serde_json::from_str(&kept).ok();
    let read: Option<Value> = read.or_else(|| serde_json::from_str(&without_nan(&kept)?).ok());
    let no_annotations = || AnnotationError::NoAnnotations { path: path.into() };
    // Only the whole text tells the place.
    let not_read = || {
        let Err(error) = serde_json::from_str::<Value>(text) else { return no_annotations() };
        let message = error.to_string();
        let place = format!(" at line {} column {}", error.line(), error.column());
        AnnotationError::Json {
            path: path.into(),
            line: error.line(),
            column: error.column(),
            reason: message.strip_suffix(&place).unwrap_or(&message).to_owned(),
        }
    };
    let mut document = read.ok_or_else(not_read)?;
    let entries = document.get_mut(ANNOTATIONS).map(Value::take);
    cut.put_back(&mut document);
    let Some(Value::Array(mut entries)) = entries else { return Err(no_annotations()) };
    let stem = stem_of(file);
    let mut problems = Vec::new();
    let mut complain = |severity, place: String, raw: &str, reason: String, action: &str| {
        problems.push(Problem::new(severity, file, reason, action).at(place).raw(raw).of_image(stem));
    };
    if let Some(name) = document.get("filename") {
        match name.as_str() {
            // An ending of another format is normal.
            Some(name) if stem_of(name) == stem => {}
            Some(name) => {
                let reason = format!("the file says it belongs to another image, its own name says {stem}");
                complain(Severity::Warning, "filename".into(), name, reason, "taken for the image of the same name");
            }
            None if name.is_null() => {}
            None => {
                let reason = "expected text".to_owned();
                complain(Severity::Warning, "filename".into(), &name.to_string(), reason, "passed over");
            }
        }
    }
    let mut shapes = Vec::with_capacity(entries.len());
    let mut used = BTreeSet::new();
    for (index, entry) in entries.iter_mut().enumerate() {
        match shape::read(entry, &mut cut, index) {
            Ok((shape, remarks)) => {
                for r in remarks {
                    complain(r.severity, r.place, &r.raw, r.reason, &r.action);
                }
                shapes.push(shape);
                used.insert(index);
            }
            Err(r) => complain(r.severity, r.place, &r.raw, r.reason, &r.action),
        }
    }
    document[ANNOTATIONS] = Value::Array(entries);
    Ok((Annotation { shapes, document, used }, problems))
}

/// The name less its folders and its ending.
fn stem_of(name: &str) -> &str {
    let name = name.rsplit(['/', '\\']).next().unwrap_or(name);
    name.rsplit_once('.').map_or(name, |(stem, _)| stem)
}

/// The text with the bare words `NaN`, `Infinity` and `-Infinity` outside strings as `null`; `None` without any.
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
