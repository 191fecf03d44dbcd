//! CSV files with any columns as frames.

use std::collections::HashSet;
use std::path::Path;

use polars::prelude::*;

use super::{BoneRow, EpochRow, FoldRow, ImageRow, PatientRow, ProblemRow, TableError, TableRow};
use crate::bounded::Csv;

/// Whole numbers up to this one are exact as floating-point numbers.
const EXACT: f64 = (1u64 << f64::MANTISSA_DIGITS) as f64;

/// Decimal digits that identify any floating-point number.
const DIGITS: usize = 17;

/// Text columns that only the findings table has.
const FINDINGS_TEXTS: [&str; 4] = ["check", "message", "suggestion", "evidence"];

/// Reads a CSV file with any columns. A column has whole numbers, numbers or true and false if all its values do and the conversion
/// loses no digit (`001` and `12e4` are ids, and a number of more than 17 digits does not fit); else it is text. Columns that are
/// text in the tables of carpus are text. Empty cells and, among numbers, `NaN` are missing values.
///
/// # Errors
/// The file cannot be read, has two columns of the same name, rows of different lengths, or one column and a blank
/// line.
pub fn csv_frame(path: &Path) -> Result<DataFrame, TableError> {
    let wrong = |source| TableError::Csv { path: path.into(), source };
    let mut reader = Csv::open_masks(path).map_err(wrong)?;
    let header: Vec<String> = reader.headers().map_err(wrong)?.iter().map(|name| name.trim().to_owned()).collect();
    let invalid = |reason: String| TableError::Header { path: path.into(), reason };
    if header.is_empty() {
        return Err(invalid("no column names in the first line".into()));
    }
    if let [only] = &header[..]
        && let Some(found) = only.chars().find(|c| [';', '\t'].contains(c))
    {
        return Err(invalid(format!("the columns are separated by {found:?}; expected commas")));
    }
    let mut names = HashSet::new();
    if let Some(twice) = header.iter().find(|name| !names.insert(name.as_str())) {
        return Err(invalid(format!("two columns are called `{twice}`")));
    }
    let mut columns: Vec<Vec<Option<String>>> = vec![Vec::new(); header.len()];
    for record in reader.records() {
        let record = record.map_err(wrong)?;
        columns.iter_mut().zip(&record).for_each(|(column, cell)| {
            column.push((!cell.is_empty()).then(|| cell.to_owned()));
        });
    }
    let text = text_columns();
    let height = columns[0].len();
    let columns = header.iter().zip(columns).map(|(name, cells)| column(name, cells, text.contains(name.as_str())));
    DataFrame::new(height, columns.collect()).map_err(|source| TableError::Polars { path: path.into(), source })
}

/// Names of the columns that are text in a table of carpus.
fn text_columns() -> HashSet<String> {
    let frames = [
        PatientRow::to_frame(&[]),
        ImageRow::to_frame(&[]),
        BoneRow::to_frame(&[]),
        ProblemRow::to_frame(&[]),
        FoldRow::to_frame(&[]),
        EpochRow::to_frame(&[]),
    ];
    let frames = frames.map(|frame| frame.expect("a table without rows is a frame"));
    let columns = frames.iter().flat_map(|frame| frame.columns());
    let texts = columns.filter(|column| column.dtype().is_string() || column.dtype().is_enum());
    texts.map(|column| column.name().to_string()).chain(FINDINGS_TEXTS.map(str::to_owned)).collect()
}

fn column(name: &str, cells: Vec<Option<String>>, is_text: bool) -> Column {
    let present = || cells.iter().flatten();
    if is_text || present().next().is_none() {
        return Column::new(name.into(), cells);
    }
    if present().all(|cell| whole(cell).is_some()) {
        return Column::new(name.into(), cells.iter().map(|cell| whole(cell.as_deref()?)).collect::<Vec<_>>());
    }
    if present().all(|cell| number(cell).is_some()) {
        return Column::new(name.into(), cells.iter().map(|cell| number(cell.as_deref()?)?).collect::<Vec<_>>());
    }
    if present().all(|cell| boolean(cell).is_some()) {
        return Column::new(name.into(), cells.iter().map(|cell| boolean(cell.as_deref()?)).collect::<Vec<_>>());
    }
    Column::new(name.into(), cells)
}

fn whole(cell: &str) -> Option<i64> {
    cell.parse().ok().filter(|value: &i64| value.to_string() == cell)
}

/// A number, or `Some(None)` for NaN, which polars would sort as the largest number.
fn number(cell: &str) -> Option<Option<f64>> {
    let value: f64 = cell.parse().ok()?;
    if value.is_nan() {
        return Some(None);
    }
    let digits = cell.trim_start_matches('-');
    let is_id = digits.len() > 1 && digits.starts_with('0') && !digits.starts_with("0.") || digits.starts_with('+');
    let is_lost = value.is_infinite() && cell.contains(|c: char| c.is_ascii_digit())
        || value.abs() >= EXACT && digits.chars().all(|c| c.is_ascii_digit());
    // Programs write an exponent with a sign or after a decimal point; `12e4` is more likely the id of a hash.
    let (mantissa, exponent) = cell.split_once(['e', 'E']).unwrap_or((cell, ""));
    let is_hash = !exponent.is_empty() && !exponent.starts_with(['+', '-']) && !mantissa.contains('.');
    let is_long = mantissa.trim_start_matches(['-', '0', '.']).chars().filter(char::is_ascii_digit).count() > DIGITS;
    (!is_id && !is_lost && !is_hash && !is_long).then_some(Some(value))
}

fn boolean(cell: &str) -> Option<bool> {
    cell.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(text: &str) -> Result<DataFrame, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.csv");
        std::fs::write(&path, text).unwrap();
        csv_frame(&path).map_err(|e| e.to_string())
    }

    #[test]
    fn columns_keep_their_text_exactly() {
        let types = |cells: &str| {
            let text =
                format!("c,other\n{}\n", cells.split(' ').map(|c| format!("{c},x")).collect::<Vec<_>>().join("\n"));
            frame(&text).unwrap().column("c").unwrap().dtype().clone()
        };
        for (cells, expected) in [
            ("1 -2 0", DataType::Int64),
            ("1 2.5 1e-3 NaN", DataType::Float64),
            ("true false", DataType::Boolean),
            ("001 010", DataType::String),
            ("1.5 007", DataType::String),
            ("0.5 -0.25 0", DataType::Float64),
            ("18446744073709551615 1", DataType::String),
            ("1e400 1", DataType::String),
            ("12e4 34e7", DataType::String),
            ("1.5e4 1e+20 1E-5", DataType::Float64),
            ("0.12345678901234567", DataType::Float64),
            ("0.12345678901234567890123", DataType::String),
            ("100000000000000000000.5", DataType::String),
            ("1 x", DataType::String),
            ("1  3", DataType::Int64),
        ] {
            assert_eq!(types(cells), expected, "{cells}");
        }
        let values = frame("v\n5.5\nNaN\n10\n").unwrap();
        assert_eq!(values.column("v").unwrap().null_count(), 1, "NaN is a missing value");
        let known = frame("image_id,class\n17,finger-1\n18,Ulna\n").unwrap();
        assert!(known.columns().iter().all(|column| column.dtype().is_string()));
        let empty = frame("\u{feff}a,b\n").unwrap();
        assert_eq!((empty.height(), empty.width()), (0, 2));
    }

    #[test]
    fn invalid_csv_is_an_error() {
        for (text, says) in [
            ("", "no column names"),
            ("a;b\n1;2\n", "expected commas"),
            ("a,a\n1,2\n", "two columns are called `a`"),
            ("a,b\n1\n", "line 2 has 1 field; the first line has 2"),
            ("a\n1\n\n3\n", "line 3 is blank, which may be a missing value"),
        ] {
            let error = frame(text).unwrap_err();
            assert!(error.contains(says), "{text:?}: {error}");
        }
    }
}
