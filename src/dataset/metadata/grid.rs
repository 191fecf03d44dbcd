//! A sheet or text file as rows of filled cells.

/// Content of a cell. Empty cells are not in the grid.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    Number(f64),
    /// A number shown as a date or a duration.
    Date(f64),
    /// Control characters are escaped as in workbooks: `_x0008_`.
    Text(String),
    Truth(bool),
    /// A formula's error, or a formula without a value.
    Broken(String),
}

impl Cell {
    /// The text that a person sees.
    pub fn shown(&self) -> String {
        match self {
            Cell::Number(n) | Cell::Date(n) => n.to_string(),
            Cell::Text(text) | Cell::Broken(text) => text.clone(),
            Cell::Truth(truth) => truth.to_string(),
        }
    }
}

/// Maximum number of filled cells in a file.
pub const MAX_CELLS: usize = 1_000_000;

/// A row with at least one cell.
#[derive(Clone, Debug, PartialEq)]
pub struct GridRow {
    /// Row of the sheet or first line of the record, from 1.
    pub number: u32,
    /// Last line of the record; the same in a sheet.
    pub last: u32,
    /// Columns from 0 with their cells, sorted by column.
    pub cells: Vec<(u32, Cell)>,
}

impl GridRow {
    pub fn cell(&self, column: u32) -> Option<&Cell> {
        self.cells.binary_search_by_key(&column, |(c, _)| *c).ok().map(|i| &self.cells[i].1)
    }
}

/// A table as stored in the file.
#[derive(Clone, Debug, PartialEq)]
pub struct Grid {
    /// Name of the sheet; `None` for a text file.
    pub sheet: Option<String>,
    /// Rows in order.
    pub rows: Vec<GridRow>,
}

impl Grid {
    /// Place of a cell: `ID!C17`, or `line 17 column sex`.
    pub fn place(&self, row: u32, column: u32, name: &str) -> String {
        match &self.sheet {
            Some(sheet) => format!("{sheet}!{}{row}", letters(column)),
            None if name.is_empty() => format!("line {row} column {}", u64::from(column) + 1),
            None => format!("line {row} column {name}"),
        }
    }

    /// Place of one or several rows: `ID!17` or `ID!3:5`, `line 17` or `lines 3-5`.
    pub fn place_of_rows(&self, first: u32, last: u32) -> String {
        let span = if first == last { first.to_string() } else { format!("{first}:{last}") };
        match &self.sheet {
            Some(sheet) => format!("{sheet}!{span}"),
            None if first == last => format!("line {first}"),
            None => format!("lines {first}-{last}"),
        }
    }
}

/// `A`, …, `Z`, `AA`, … for columns from 0.
fn letters(column: u32) -> String {
    let mut left = u64::from(column) + 1;
    let mut letters = Vec::new();
    while left > 0 {
        letters.push(b'A' + ((left - 1) % 26) as u8);
        left = (left - 1) / 26;
    }
    letters.iter().rev().map(|b| char::from(*b)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_named_as_in_excel_and_in_text_editors() {
        let sheet = Grid { sheet: Some("ID".into()), rows: Vec::new() };
        assert_eq!(sheet.place(17, 2, "sex"), "ID!C17");
        assert_eq!((letters(25), letters(26), letters(16_383)), ("Z".into(), "AA".into(), "XFD".into()));
        assert_eq!(sheet.place_of_rows(3, 5), "ID!3:5");
        let text = Grid { sheet: None, rows: Vec::new() };
        assert_eq!(text.place(17, 2, "sex"), "line 17 column sex");
        assert_eq!(text.place(17, 2, ""), "line 17 column 3");
        assert_eq!(text.place_of_rows(4, 4), "line 4");
    }
}
