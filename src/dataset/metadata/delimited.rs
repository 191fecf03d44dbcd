//! CSV, TSV and similar text files.

use std::borrow::Cow;

use super::columns;
use super::grid::{Cell, Grid, GridRow, MAX_CELLS};
use crate::dataset::{Problem, ProblemSeverity};

/// The text as one grid. The delimiter is the one with which the header names most fields, then has most columns.
///
/// # Errors
/// The bytes are not text, are not valid CSV, or have too many fields or cells.
pub fn read(bytes: &[u8], file: &str, problems: &mut Vec<Problem>) -> Result<Vec<Grid>, String> {
    let text = decode(bytes, file, problems)?;
    // Old Mac line ends.
    let text = if text.contains('\n') { text } else { Cow::Owned(text.replace('\r', "\n")) };
    if text.contains('\0') {
        return Err("not text: it contains zero bytes; save it as CSV in UTF-8".into());
    }
    // A first line `sep=;` states the delimiter for Excel.
    let (hint, skipped) = match text.lines().next().and_then(|l| l.trim_end().strip_prefix("sep=")) {
        Some(hint) => (hint.bytes().next(), 1),
        None => (None, 0),
    };
    let mut body: &str = &text;
    if skipped == 1 {
        body = body.split_once('\n').map_or("", |(_, rest)| rest);
    }
    let delimiters: Vec<u8> = hint.map_or_else(|| vec![b',', b';', b'\t'], |d| vec![d]);
    let mut best: Option<((usize, usize), Grid)> = None;
    for delimiter in delimiters {
        let grid = parse(body, delimiter, skipped)?;
        let fields = columns::find(&grid).map_or(0, |h| h.columns.len());
        let score = (fields, columns::likely_header(&grid).len());
        if best.as_ref().is_none_or(|(other, _)| score > *other) {
            best = Some((score, grid));
        }
    }
    Ok(best.map(|(_, grid)| grid).into_iter().collect())
}

/// Maximum number of fields in a line: the number of columns of a workbook.
const MAX_COLUMNS: usize = 16_384;

fn parse(text: &str, delimiter: u8, skipped: u32) -> Result<Grid, String> {
    let mut reader =
        csv::ReaderBuilder::new().has_headers(false).flexible(true).delimiter(delimiter).from_reader(text.as_bytes());
    let (mut rows, mut filled) = (Vec::new(), 0);
    let mut record = csv::StringRecord::new();
    loop {
        let more = reader.read_record(&mut record).map_err(|e| format!("not valid CSV: {e}"))?;
        if !more {
            return Ok(Grid { sheet: None, rows });
        }
        let (line, byte) = record.position().map_or((1, 0), |p| (p.line(), p.byte()));
        // A record's position is that of the empty lines before it.
        let before = text.as_bytes().get(byte as usize..).unwrap_or_default();
        let empty = before.iter().take_while(|b| b"\r\n".contains(b)).filter(|b| **b == b'\n').count();
        let number = u32::try_from(line + empty as u64).unwrap_or(u32::MAX).saturating_add(skipped);
        let breaks: usize = record.iter().map(|f| f.matches('\n').count()).sum();
        if record.len() > MAX_COLUMNS {
            return Err(format!("line {number}: {} fields; at most {MAX_COLUMNS} are read", record.len()));
        }
        let cells: Vec<(u32, Cell)> = record
            .iter()
            .zip(0..)
            .filter(|(field, _)| !field.trim().is_empty())
            .map(|(field, column)| (column, Cell::Text(as_text(field).to_owned())))
            .collect();
        filled += cells.len();
        if filled > MAX_CELLS {
            return Err(format!("line {number}: more than {MAX_CELLS} filled cells; save only the table of patients"));
        }
        if !cells.is_empty() {
            rows.push(GridRow { number, last: number.saturating_add(breaks as u32), cells });
        }
    }
}

/// The text of a cell that was marked as text for Excel: `="001"`, `'001`.
fn as_text(field: &str) -> &str {
    let trimmed = field.trim();
    let formula = trimmed.strip_prefix("=\"").and_then(|rest| rest.strip_suffix('"'));
    let quoted = trimmed.strip_prefix('\'').filter(|rest| rest.starts_with(|c: char| c.is_alphanumeric()));
    formula.filter(|text| !text.contains('"')).or(quoted).unwrap_or(field)
}

/// Decodes UTF-8, UTF-16 with a byte order mark, else the Korean code page 949.
fn decode<'a>(bytes: &'a [u8], file: &str, problems: &mut Vec<Problem>) -> Result<Cow<'a, str>, String> {
    if let Some((encoding, mark)) = encoding_rs::Encoding::for_bom(bytes) {
        let (text, has_errors) = encoding.decode_without_bom_handling(&bytes[mark..]);
        if has_errors {
            let reason = format!("the text is marked as {}, but some characters are invalid", encoding.name());
            let action = "invalid characters are read as \u{fffd}";
            problems.push(Problem::new(ProblemSeverity::Warning, file, reason, action));
        }
        return Ok(text);
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        return Ok(Cow::Borrowed(text));
    }
    // The standard's EUC-KR decoder covers code page 949.
    let (text, has_errors) = encoding_rs::EUC_KR.decode_without_bom_handling(bytes);
    let (severity, action) = if has_errors {
        (ProblemSeverity::Warning, "read as code page 949 (Korean), invalid characters as \u{fffd}; save it as UTF-8")
    } else {
        (ProblemSeverity::Info, "read as code page 949 (Korean)")
    };
    problems.push(Problem::new(severity, file, "the text is not UTF-8", action));
    Ok(text)
}
