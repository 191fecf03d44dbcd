//! The patients' spreadsheet (xlsx or CSV), typed by hand and therefore irregular.
//!
//! Supported are `.xlsx` and `.xlsm` workbooks and `.csv` and `.tsv` text (UTF-8, UTF-16 with a byte order mark, or the
//! Korean code page 949; comma, semicolon or tab). The header may be any of the first 20 rows, with its columns in any
//! order and Korean or English names. Every correction and every unreadable cell is a [`Problem`] with the cell's
//! place.
//!
//! - An implausible value (outside age 0-120, height 50-250 cm, weight 2-300 kg) is left empty, an error; a possible
//!   value that is unusual for an adult (outside 18-90, 140-200, 35-150) is kept, a warning.
//! - Heights without unit below 2.5 are read as metres and from 1000 on as millimetres, a warning.
//! - Height and weight that are plausible only when swapped are swapped, a warning: in one row, or for the whole
//!   columns if their medians require it.

mod columns;
mod delimited;
mod grid;
mod measure;
mod numbers;
mod rows;
mod sex;
mod swaps;
mod text;
mod workbook;

pub(crate) use measure::{AGE, HEIGHT_CM, WEIGHT_KG};

use std::path::{Path, PathBuf};

use super::{Problem, ProblemSeverity, WithProblems};
use crate::closed_enum::closed_enum;
use columns::Header;
use grid::Grid;

closed_enum! {
    /// Sex of a patient.
    pub enum Sex ("sex") {
        /// Female.
        F = "F",
        /// Male.
        M = "M",
    }
}

/// One row of the spreadsheet.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Patient {
    /// Normalised as folder names are: digits padded to three, without `ID`.
    pub patient_id: String,
    /// `None` if missing or unreadable.
    pub sex: Option<Sex>,
    /// The cell as typed (escapes kept as the file has them).
    pub sex_raw: String,
    /// The cell of the age as typed; empty for an empty cell.
    pub age_raw: String,
    /// The cell of the height as typed.
    pub height_raw: String,
    /// The cell of the weight as typed.
    pub weight_raw: String,
    /// Years.
    pub age: Option<f64>,
    /// Centimetres.
    pub height_cm: Option<f64>,
    /// Kilograms.
    pub weight_kg: Option<f64>,
    /// Text of unnamed and unknown columns, joined by `; `; that of a named column as `name: text`.
    pub note: String,
    /// Row in the sheet or line in the file, 1-based; `None` for a patient without a row, who only has corrections.
    pub row: Option<u32>,
}

/// Why a spreadsheet cannot be read at all.
#[derive(Debug, thiserror::Error)]
pub enum MetadataError {
    /// Missing, neither workbook nor text, damaged, or too large.
    #[error("{path}: {reason}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The fault and how to fix it.
        reason: String,
    },
    /// None of the first 20 rows names an ID column.
    #[error("{path}: no column for the patient's ID; columns found: {found:?}; name one of them `ID`")]
    NoIdColumn {
        /// The file.
        path: PathBuf,
        /// Names in the row that is most similar to a header.
        found: Vec<String>,
    },
}

/// Normalises an ID from the workbook, a folder name or elsewhere: `1`, `1.0`, `001`, `ID001`, ` id 1 ` → `001`.
/// An ID that is not a number only loses `ID` and surrounding spaces; `None` if nothing is left.
pub fn normalise_patient_id(raw: &str) -> Option<String> {
    let text = text::clean(raw).text;
    let rest = match text.get(..2) {
        Some(prefix) if prefix.eq_ignore_ascii_case("id") => {
            text[2..].trim_start_matches([' ', '_', '-', '#', '.', ':'])
        }
        _ => &text,
    };
    let whole = match rest.split_once('.') {
        Some((whole, zeros)) if zeros.bytes().all(|b| b == b'0') => whole,
        _ => rest,
    };
    if whole.is_empty() {
        None
    } else if whole.bytes().all(|b| b.is_ascii_digit()) {
        Some(format!("{:0>3}", whole.trim_start_matches('0')))
    } else {
        Some(rest.to_owned())
    }
}

/// Reads a workbook or CSV, depending on its ending. Returns the patients in the file's order, and the problems. `file`
/// is the name used in problems.
///
/// # Errors
/// - The file cannot be read, is damaged or has an unsupported format.
/// - It would take more memory than a table of patients can need.
/// - It has no ID column.
pub fn read(path: &Path, file: &str) -> Result<WithProblems<Vec<Patient>>, MetadataError> {
    let unreadable = |reason: String| MetadataError::Unreadable { path: path.into(), reason };
    let ending = path.extension().map(|e| e.to_string_lossy().to_lowercase()).unwrap_or_default();
    let mut problems = Vec::new();
    let grids = match ending.as_str() {
        "xlsx" | "xlsm" => workbook::read(&read_bytes(path).map_err(unreadable)?, file, &mut problems),
        "csv" | "tsv" | "txt" => delimited::read(&read_bytes(path).map_err(unreadable)?, file, &mut problems),
        _ => Err(format!("files ending in .{ending} cannot be read; save it as .xlsx or as CSV in UTF-8")),
    }
    .map_err(unreadable)?;
    let (grid, header) = choose(&grids, file, &mut problems).ok_or_else(|| MetadataError::NoIdColumn {
        path: path.into(),
        found: grids.iter().map(columns::likely_header).max_by_key(Vec::len).unwrap_or_default(),
    })?;
    let patients = rows::read(grid, header, file, &mut problems);
    if patients.is_empty() {
        problems.push(Problem::new(
            ProblemSeverity::Error,
            file,
            "no row below the header has an ID",
            "no patients read",
        ));
    }
    Ok(WithProblems { content: patients, problems })
}

/// Largest file read, in bytes.
const MAX_FILE: u64 = 64 << 20;

fn read_bytes(path: &Path) -> Result<Vec<u8>, String> {
    let io = |e: std::io::Error| format!("cannot be read: {e}");
    let file = std::fs::metadata(path).map_err(io)?;
    if !file.is_file() {
        return Err("not a file".into());
    }
    if file.len() > MAX_FILE {
        return Err(format!("the file has {} bytes; at most {MAX_FILE} are read", file.len()));
    }
    std::fs::read(path).map_err(io)
}

/// The sheet with most known columns, then with most rows, then the first. The others are reported.
fn choose<'a>(grids: &'a [Grid], file: &str, problems: &mut Vec<Problem>) -> Option<(&'a Grid, Header)> {
    let mut found: Vec<(&Grid, Header)> = grids.iter().filter_map(|g| Some((g, columns::find(g)?))).collect();
    let best = (0..found.len()).max_by_key(|&i| {
        let (grid, header) = &found[i];
        (header.columns.len(), grid.rows.len(), std::cmp::Reverse(i))
    })?;
    let chosen = found.swap_remove(best);
    let name = |grid: &Grid| grid.sheet.clone().unwrap_or_default();
    for grid in grids.iter().filter(|g| !std::ptr::eq(*g, chosen.0) && !g.rows.is_empty()) {
        let rival = found.iter().any(|(g, _)| std::ptr::eq(*g, grid));
        let (severity, reason) = if rival {
            (ProblemSeverity::Warning, format!("this sheet has an ID column, and so has sheet {}", name(chosen.0)))
        } else {
            (ProblemSeverity::Info, "this sheet has no ID column".to_owned())
        };
        let action = format!("sheet left out; {} is read", name(chosen.0));
        problems.push(Problem::new(severity, file, reason, action).at(name(grid)));
    }
    Some(chosen)
}

#[cfg(test)]
mod tests;
