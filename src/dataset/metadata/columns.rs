//! Finding the header row and the column of each field.

use std::collections::BTreeMap;

use super::grid::{Cell, Grid, GridRow};
use super::numbers::Unit;
use super::text;
use crate::closed_enum::closed_enum;
use crate::dataset::corrections::CorrectableField;

closed_enum! {
    /// Content of a column; the names are those in messages.
    pub enum MetadataField ("field") {
        /// The patient's number.
        Id = "ID",
        /// Years.
        Age = "age",
        /// Female or male.
        Sex = "sex",
        /// Body weight.
        Weight = "weight",
        /// Body height.
        Height = "height",
    }
}

impl MetadataField {
    /// The field of corrections; `None` for the ID, which cannot be corrected.
    pub fn correctable(self) -> Option<CorrectableField> {
        match self {
            MetadataField::Id => None,
            MetadataField::Age => Some(CorrectableField::Age),
            MetadataField::Sex => Some(CorrectableField::Sex),
            MetadataField::Weight => Some(CorrectableField::WeightKg),
            MetadataField::Height => Some(CorrectableField::HeightCm),
        }
    }

    /// Lower-case names without spaces and punctuation.
    fn names(self) -> &'static [&'static str] {
        match self {
            MetadataField::Id => &[
                "id",
                "pid",
                "uid",
                "patient",
                "patientid",
                "patientno",
                "patientnumber",
                "patientcode",
                "patients",
                "subject",
                "subjectid",
                "subjectno",
                "case",
                "caseid",
                "caseno",
                "identifier",
                "folder",
                "folderid",
                "아이디",
                "환자",
                "환자id",
                "환자번호",
                "환자아이디",
                "환자코드",
                "환자명",
                "등록번호",
                "피험자",
                "피험자번호",
                "대상자",
                "대상자번호",
                "식별자",
                "식별번호",
                "고유번호",
            ],
            MetadataField::Age => &["age", "나이", "연령", "만나이", "연세", "ageatscan", "ages", "환자나이"],
            MetadataField::Sex => &["sex", "gender", "성별", "성", "남녀", "환자성별"],
            MetadataField::Weight => {
                &["weight", "bodyweight", "wt", "bw", "mass", "bodymass", "체중", "몸무게", "무게"]
            }
            MetadataField::Height => &["height", "bodyheight", "stature", "ht", "patientsize", "키", "신장"],
        }
    }
}

/// Names that mean an ID only if no other column does: they may also mean a running number.
const WEAK_IDS: [&str; 7] = ["no", "number", "num", "번호", "연번", "순번", "index"];
/// Words for the patient: alone they mean the ID; next to another word they are ignored.
const PATIENT_WORDS: [&str; 7] = ["patient", "patients", "subject", "case", "환자", "대상자", "피험자"];
/// Words in a header that do not identify the column.
const IGNORED_WORDS: [&str; 16] =
    ["만", "단위", "unit", "units", "f", "m", "w", "남", "여", "the", "of", "in", "at", "scan", "no", "실측"];

/// A header cell.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    /// From 0.
    pub column: u32,
    /// As written, cleaned.
    pub name: String,
    /// The unit that the header states.
    pub unit: Option<Unit>,
}

/// The header of a table.
#[derive(Clone, Debug, PartialEq)]
pub struct Header {
    /// Its first row; differs from `row` if the header is split over two rows.
    pub first: u32,
    /// Its last row.
    pub row: u32,
    /// The column of each field that has one.
    pub columns: BTreeMap<MetadataField, Column>,
    /// Columns with unknown names, and second columns for a field.
    pub others: Vec<(Column, Option<MetadataField>)>,
}

/// Number of rows that are searched for the header.
const HEADER_ROWS: u32 = 20;

/// The row among the first 20 that names the ID and most other fields; if a header is split over two rows, their union.
/// `None` if no row names an ID.
pub fn find(grid: &Grid) -> Option<Header> {
    let rows: Vec<&GridRow> = grid.rows.iter().take_while(|r| r.number <= HEADER_ROWS).collect();
    let single = rows.iter().map(|r| read([r.number; 2], named_cells(r)));
    let double = rows.windows(2).filter(|pair| pair[1].number == pair[0].number + 1).map(|pair| {
        // The name in the lower row, else the one in the upper row: cells may be merged over both rows.
        let mut names: BTreeMap<u32, String> = named_cells(pair[0]).into_iter().collect();
        names.extend(named_cells(pair[1]));
        read([pair[0].number, pair[1].number], names.into_iter().collect())
    });
    let mut best: Option<Header> = None;
    for header in single.chain(double).filter(|h| h.columns.contains_key(&MetadataField::Id)) {
        if best.as_ref().is_none_or(|b| header.columns.len() > b.columns.len()) {
            best = Some(header);
        }
    }
    best
}

/// Names in the row that is most similar to a header: the one with most text cells.
pub fn likely_header(grid: &Grid) -> Vec<String> {
    let names = |row: &GridRow| named_cells(row).into_iter().map(|(_, name)| name).collect::<Vec<_>>();
    let rows = grid.rows.iter().take_while(|r| r.number <= HEADER_ROWS).map(names);
    rows.fold(Vec::new(), |best, row| if row.len() > best.len() { row } else { best })
}

/// Whether a cell's text is a name of an ID column, as in a header that is repeated on each page.
pub fn is_id_name(text: &str) -> bool {
    matches!(recognise(text), Some((MetadataField::Id, _, false)))
}

fn named_cells(row: &GridRow) -> Vec<(u32, String)> {
    row.cells
        .iter()
        .filter_map(|(column, cell)| match cell {
            Cell::Text(raw) => Some((*column, text::clean(raw).text)).filter(|(_, t)| !t.is_empty()),
            _ => None,
        })
        .collect()
}

fn read([first, row]: [u32; 2], names: Vec<(u32, String)>) -> Header {
    let mut header = Header { first, row, columns: BTreeMap::new(), others: Vec::new() };
    let mut weak = Vec::new();
    for (column, name) in names {
        let recognised = recognise(&name);
        let column = Column { column, name, unit: recognised.and_then(|(_, unit, _)| unit) };
        match recognised {
            Some((field, _, false)) if !header.columns.contains_key(&field) => {
                header.columns.insert(field, column);
            }
            Some((MetadataField::Id, _, true)) => weak.push(column),
            other => header.others.push((column, other.map(|(field, ..)| field))),
        }
    }
    for column in weak {
        if let std::collections::btree_map::Entry::Vacant(free) = header.columns.entry(MetadataField::Id) {
            free.insert(column);
        } else {
            header.others.push((column, None));
        }
    }
    header.others.sort_by_key(|(c, _)| c.column);
    header
}

/// The name with spaces between its words: `height Cm` for `heightCm`, `Patient Size` for `PatientSize`.
fn spaced(name: &str) -> String {
    let mut out = String::with_capacity(name.len() + 4);
    let mut before = ' ';
    for c in name.chars() {
        if before.is_lowercase() && c.is_uppercase() {
            out.push(' ');
        }
        out.push(c);
        before = c;
    }
    out
}

/// The field that a cleaned name means, the unit in it, and whether it is a weak name of an ID.
fn recognise(name: &str) -> Option<(MetadataField, Option<Unit>, bool)> {
    // A header is short; a title above the table is not.
    if name.chars().count() > 40 {
        return None;
    }
    let lower = spaced(name).to_lowercase();
    let words: Vec<&str> = lower.split(|c: char| !c.is_alphanumeric()).filter(|w| !w.is_empty()).collect();
    let joined = words.concat();
    let exact = |text: &str| MetadataField::ALL.iter().copied().find(|f| f.names().contains(&text));
    if WEAK_IDS.contains(&joined.as_str()) {
        return Some((MetadataField::Id, None, true));
    }
    let is_ignored =
        |w: &str| IGNORED_WORDS.contains(&w) || Unit::from_word(w).is_some() || w.bytes().all(|b| b.is_ascii_digit());
    let unit = words.iter().rev().find_map(|w| Unit::from_word(w));
    if let Some(field) = exact(&joined) {
        return Some((field, None, false));
    }
    let relevant: Vec<&str> = words.iter().copied().filter(|w| !is_ignored(w)).collect();
    let field = exact(&relevant.concat()).or_else(|| {
        let mut named: Vec<&str> = relevant.iter().copied().filter(|w| !PATIENT_WORDS.contains(w)).collect();
        if named.is_empty() {
            named = relevant;
        }
        let first = exact(named.first()?)?;
        named.iter().all(|w| exact(w) == Some(first)).then_some(first)
    })?;
    let fits = |u: &Unit| match field {
        MetadataField::Height => u.dimension() == super::numbers::Dimension::Length,
        MetadataField::Weight => u.dimension() == super::numbers::Dimension::Mass,
        _ => false,
    };
    Some((field, unit.filter(fits), false))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_korean_and_english() {
        for (name, field) in [
            ("ID", MetadataField::Id),
            ("환자번호", MetadataField::Id),
            ("환자 번호", MetadataField::Id),
            ("Patient ID", MetadataField::Id),
            ("patient_id", MetadataField::Id),
            ("PatientID", MetadataField::Id),
            ("ID No.", MetadataField::Id),
            ("나이", MetadataField::Age),
            ("연령(세)", MetadataField::Age),
            ("만 나이", MetadataField::Age),
            ("Age (years)", MetadataField::Age),
            ("patient age", MetadataField::Age),
            ("성별", MetadataField::Sex),
            ("Sex (M/F)", MetadataField::Sex),
            ("성별(남/여)", MetadataField::Sex),
            ("GENDER", MetadataField::Sex),
            ("체중(몸무게)", MetadataField::Weight),
            ("몸무게", MetadataField::Weight),
            ("weight_kg", MetadataField::Weight),
            ("Body weight [kg]", MetadataField::Weight),
            ("키(신장)", MetadataField::Height),
            ("신장", MetadataField::Height),
            ("키 (cm)", MetadataField::Height),
            ("height_cm", MetadataField::Height),
            ("환자 키", MetadataField::Height),
            ("PatientSize", MetadataField::Height),
            ("heightCm", MetadataField::Height),
            ("bodyWeightKg", MetadataField::Weight),
            ("PatientSex", MetadataField::Sex),
            ("PatientAge", MetadataField::Age),
        ] {
            assert_eq!(recognise(name).map(|r| r.0), Some(field), "{name}");
        }
        for name in ["", "신장질환", "비고", "weight height", "BMI", "이름", "m", "kg", "1", "2024 hand study"]
        {
            assert_eq!(recognise(name), None, "{name}");
        }
        assert_eq!(recognise("Height (m)"), Some((MetadataField::Height, Some(Unit::Metre), false)));
        assert_eq!(recognise("weight lb"), Some((MetadataField::Weight, Some(Unit::Pound), false)));
        assert_eq!(recognise("번호"), Some((MetadataField::Id, None, true)));
    }
}
