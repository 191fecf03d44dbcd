//! The patients' workbook, with the irregularities of the real one.

use std::path::Path;

use rust_xlsxwriter::{DocProperties, ExcelDateTime, Format, Note, Workbook, XlsxError};

/// One row as typed; `None` is an empty cell.
#[derive(Clone, Debug, PartialEq)]
pub struct WorkbookRow {
    /// Digits as text.
    pub id: String,
    /// Years.
    pub age: Option<f64>,
    /// As typed, with stray characters.
    pub sex: Option<String>,
    /// Kilograms.
    pub weight: Option<f64>,
    /// Centimetres.
    pub height: Option<f64>,
    /// A note in the column without a name.
    pub note: Option<String>,
}

/// Writes the sheet `ID`: Korean headings, a sixth column without heading, a frozen heading row, a comment, and
/// declared dimensions up to column Z.
pub fn write(path: &Path, rows: &[WorkbookRow]) -> Result<(), XlsxError> {
    let mut book = Workbook::new();
    // With the date of writing, equal data sets would differ.
    let created = ExcelDateTime::from_ymd(2022, 8, 22)?;
    book.set_properties(&DocProperties::new().set_creation_datetime(&created));
    let sheet = book.add_worksheet().set_name("ID")?;
    sheet.set_freeze_panes(1, 0)?;
    for (column, name) in ["ID", "나이", "성별", "체중(몸무게)", "키(신장)"].into_iter().enumerate() {
        sheet.write_string(0, column as u16, name)?;
    }
    for (row, line) in (1..).zip(rows) {
        sheet.write_string(row, 0, &line.id)?;
        for (column, value) in [(1, line.age), (3, line.weight), (4, line.height)] {
            if let Some(value) = value {
                sheet.write_number(row, column, value)?;
            }
        }
        for (column, text) in [(2, &line.sex), (5, &line.note)] {
            if let Some(text) = text {
                sheet.write_string(row, column, text)?;
            }
        }
    }
    sheet.write_blank(rows.len() as u32, 25, &Format::new().set_align(rust_xlsxwriter::FormatAlign::Left))?;
    sheet.insert_note(0, 3, &Note::new("단위: kg"))?;
    book.save(path)
}
