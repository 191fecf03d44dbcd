//! The patients' spreadsheet (xlsx or CSV), with every kind of untidiness.

use super::Problem;
use std::path::{Path, PathBuf};

/// Sex of a patient.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub enum Sex {
    F,
    M,
}
impl Sex {
    pub fn name(self) -> &'static str {
        match self {
            Sex::F => "F",
            Sex::M => "M",
        }
    }
}

/// One row.
#[derive(Clone, Debug, PartialEq)]
pub struct Patient {
    /// Normalised as folder names are: digits padded to three, without `ID`.
    pub patient_id: String,
    pub sex: Option<Sex>,
    /// The cell as typed (escapes kept as the file has them).
    pub sex_raw: String,
    pub age: Option<f64>,
    pub height_cm: Option<f64>,
    pub weight_kg: Option<f64>,
    /// Text of unnamed or unknown columns, joined by `; `.
    pub note: String,
    /// Row in the sheet, 1-based.
    pub row: u32,
}

/// A file that cannot be read at all.
#[derive(Debug, thiserror::Error)]
pub enum MetadataError {
    #[error("{path}: {reason}")]
    Unreadable { path: PathBuf, reason: String },
    #[error("{path}: no column is the patient's ID; columns found: {found:?}. Name one of them `ID`")]
    NoIdColumn { path: PathBuf, found: Vec<String> },
}

/// Normalises an ID as in the workbook, folder or elsewhere: `1`, `1.0`, `001`, `ID001`, ` id 1 ` → `001`.
pub fn normalise_patient_id(raw: &str) -> Option<String> {
    let text = raw.trim();
    let rest = match text.get(..2) {
        Some(prefix) if prefix.eq_ignore_ascii_case("id") => {
            text[2..].trim_start_matches([' ', '_', '-', '#', '.', ':'])
        }
        _ => text,
    };
    let whole = rest.split_once('.').filter(|(_, zeros)| zeros.bytes().all(|b| b == b'0')).map_or(rest, |(w, _)| w);
    if whole.is_empty() {
        return None;
    }
    Some(if whole.bytes().all(|b| b.is_ascii_digit()) {
        format!("{:0>3}", whole.trim_start_matches('0'))
    } else {
        rest.into()
    })
}

/// Reads a workbook or CSV by its ending. Rows in the file's order. `file` is the name to use in problems.
pub fn read(path: &Path, file: &str) -> Result<(Vec<Patient>, Vec<Problem>), MetadataError> {
    todo!()
}
