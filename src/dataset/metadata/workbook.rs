//! Excel workbooks. Values that calamine would trust are checked before it reads the file.

use std::collections::BTreeMap;
use std::io::{Cursor, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};

use calamine::{DataRef, Reader, SheetVisible, Xlsx};
use zip::ZipArchive;

use super::grid::{Cell, Grid, GridRow, MAX_CELLS};
use super::text;
use crate::dataset::{Problem, ProblemSeverity};

/// Maximum total size of a workbook's parts once unpacked, in bytes.
const MAX_UNPACKED: u64 = 64 << 20;
/// Maximum number of parts.
const MAX_PARTS: usize = 4096;
/// Maximum size of the text in all sheets, in bytes: one shared string may occur in many cells.
const MAX_TEXT: usize = 64 << 20;

/// Amount of a workbook that has been read so far.
#[derive(Default)]
struct Taken {
    cells: usize,
    bytes: usize,
}

type Workbook<'a> = Xlsx<Cursor<&'a [u8]>>;

/// The sheets in the workbook's order. Cells are read one by one, so that the declared dimensions of a sheet take no
/// memory.
///
/// # Errors
/// The file is no workbook, is damaged, is protected by a password, or unpacks to more than a table of patients can
/// need.
pub fn read(bytes: &[u8], file: &str, problems: &mut Vec<Problem>) -> Result<Vec<Grid>, String> {
    check(bytes)?;
    // A panic in the reader must not stop the program: it only means that the workbook cannot be read.
    let mut found = Vec::new();
    let outcome: Result<Vec<Grid>, String> = catch_unwind(AssertUnwindSafe(|| {
        let mut workbook: Workbook<'_> = Xlsx::new(Cursor::new(bytes)).map_err(|e| format!("not a workbook: {e}"))?;
        let (mut grids, mut taken) = (Vec::new(), Taken::default());
        let (visible, hidden): (Vec<_>, Vec<_>) =
            workbook.sheets_metadata().iter().cloned().partition(|s| s.visible == SheetVisible::Visible);
        // A hidden sheet is usually an older or internal one; hidden sheets are read only if all sheets are hidden.
        let (wanted, left_out) = if visible.is_empty() { (hidden, visible) } else { (visible, hidden) };
        for other in left_out {
            found.push(
                Problem::new(ProblemSeverity::Info, file, "the sheet is hidden", "sheet left out").at(other.name),
            );
        }
        for name in wanted.into_iter().map(|s| s.name) {
            match sheet(&mut workbook, &name, &mut taken) {
                Ok((grid, damage)) => {
                    if let Some(damage) = damage {
                        let reason = format!("the sheet is damaged: {damage}");
                        found.push(
                            Problem::new(ProblemSeverity::Error, file, reason, "the rows before it are read").at(&name),
                        );
                    }
                    grids.push(grid);
                }
                Err(reason) => {
                    found.push(Problem::new(ProblemSeverity::Error, file, reason, "sheet left out").at(&name))
                }
            }
        }
        Ok(grids)
    }))
    .unwrap_or_else(|_| Err("the workbook is damaged; open it in Excel and save it again".into()));
    problems.extend(found);
    let grids = outcome?;
    if grids.is_empty() {
        let why = problems.last().map_or("the workbook has none".to_owned(), |p| p.reason.clone());
        return Err(format!("no sheet can be read: {why}"));
    }
    Ok(grids)
}

/// Unpacks every part within the limit, which also verifies its checksum, and checks the counts that it declares.
fn check(bytes: &[u8]) -> Result<(), String> {
    if bytes.starts_with(&[0xd0, 0xcf, 0x11, 0xe0]) {
        return Err("an old .xls workbook, or one with a password; save it as .xlsx without password, or as CSV".into());
    }
    let mut archive = ZipArchive::new(Cursor::new(bytes)).map_err(|e| format!("not a workbook: {e}"))?;
    if archive.len() > MAX_PARTS {
        return Err(format!("the workbook has {} parts; at most {MAX_PARTS} are read", archive.len()));
    }
    let mut left = MAX_UNPACKED;
    let mut part = Vec::new();
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).map_err(|e| format!("damaged: {e}"))?;
        let name = entry.name().to_owned();
        part.clear();
        // One byte more than the limit shows that it is exceeded; the size that the archive declares is not trusted.
        let size =
            (&mut entry).take(left + 1).read_to_end(&mut part).map_err(|e| format!("damaged: part {name}: {e}"))?
                as u64;
        left = left
            .checked_sub(size)
            .ok_or_else(|| format!("it unpacks to more than {} MiB; save only the table as CSV", MAX_UNPACKED >> 20))?;
        if name == "xl/workbook.xml" && contains(&part, b"purl.oclc.org/ooxml") {
            return Err(
                "a workbook in the format \"Strict Open XML\"; save it as an ordinary Excel workbook (.xlsx)".into()
            );
        }
        // The reader reserves memory for the number of shared strings that the part claims; each takes 5 bytes.
        if counts(&part, b"uniqueCount").any(|count| count > size / 5 + 1) {
            return Err(format!("part {name} claims more shared strings than it can hold; save the workbook again"));
        }
    }
    Ok(())
}

fn contains(part: &[u8], text: &[u8]) -> bool {
    part.windows(text.len()).any(|window| window == text)
}

/// The numbers after each occurrence of `attribute`; a number that does not fit 64 bits becomes the largest that does.
fn counts<'a>(part: &'a [u8], attribute: &'a [u8]) -> impl Iterator<Item = u64> + 'a {
    let places = part.windows(attribute.len()).enumerate().filter(move |(_, w)| *w == attribute);
    places.filter_map(move |(at, _)| {
        let after = &part[at + attribute.len()..];
        let digits = after.iter().position(u8::is_ascii_digit)?;
        let is_filler = |b: &u8| b.is_ascii_whitespace() || b"=\"'+".contains(b);
        if !after[..digits].iter().all(is_filler) {
            return None;
        }
        Some(
            after[digits..]
                .iter()
                .take_while(|b| b.is_ascii_digit())
                .fold(0u64, |n, b| n.saturating_mul(10).saturating_add(u64::from(b - b'0'))),
        )
    })
}

/// The filled cells of a sheet, and the place and error if it is damaged.
fn sheet(workbook: &mut Workbook<'_>, name: &str, taken: &mut Taken) -> Result<(Grid, Option<String>), String> {
    let mut reader = workbook.worksheet_cells_reader(name).map_err(|e| format!("the sheet cannot be read: {e}"))?;
    let mut rows: BTreeMap<u32, BTreeMap<u32, Cell>> = BTreeMap::new();
    let mut damage = None;
    loop {
        let record = match reader.next_cell_with_formula_metadata() {
            Ok(Some(record)) => record,
            Ok(None) => break,
            Err(error) => {
                let last = rows.keys().next_back().map_or(0, |r| r.saturating_add(1));
                damage = Some(format!("after row {last}: {error}"));
                break;
            }
        };
        let cell = match record.value {
            DataRef::Empty if record.formula.is_some() => Cell::Broken("formula without a stored value".into()),
            DataRef::Empty => continue,
            DataRef::Int(n) => Cell::Number(n as f64),
            DataRef::Float(n) if n.is_finite() => Cell::Number(n),
            DataRef::Float(n) => Cell::Broken(n.to_string()),
            DataRef::DateTime(date) => Cell::Date(date.as_f64()),
            DataRef::String(text) => Cell::Text(text),
            DataRef::SharedString(text) if taken.bytes + text.len() <= MAX_TEXT => Cell::Text(text.to_owned()),
            DataRef::SharedString(_) => return Err(format!("more than {} MiB of text", MAX_TEXT >> 20)),
            DataRef::DateTimeIso(text) | DataRef::DurationIso(text) => Cell::Text(text),
            DataRef::Bool(truth) => Cell::Truth(truth),
            DataRef::Error(error) => Cell::Broken(error.to_string()),
        };
        let cell = match cell {
            Cell::Text(raw) if raw.trim().is_empty() => continue,
            Cell::Text(raw) => {
                taken.bytes += raw.len();
                Cell::Text(text::escape_controls(&raw))
            }
            other => other,
        };
        taken.cells += 1;
        if taken.cells > MAX_CELLS {
            return Err(format!("more than {MAX_CELLS} filled cells in the workbook; save only the table of patients"));
        }
        rows.entry(record.pos.0).or_default().insert(record.pos.1, cell);
    }
    let rows = rows
        .into_iter()
        .map(|(row, cells)| {
            let number = row.saturating_add(1);
            GridRow { number, last: number, cells: cells.into_iter().collect() }
        })
        .collect();
    Ok((Grid { sheet: Some(name.to_owned()), rows }, damage))
}
