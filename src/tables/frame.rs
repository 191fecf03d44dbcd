//! Conversion between typed rows and Polars frames.

use std::path::PathBuf;

use polars::prelude::*;

use crate::closed_enum::Named;

/// A table that cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// A file cannot be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// A table has a correct checksum, but not the hash that the scan recorded.
    #[error(
        "{path} is from another scan than {hashes}. Run `carpus scan` again, or remove {hashes} to use the table as it is"
    )]
    Changed {
        /// The file.
        path: PathBuf,
        /// The file with the hashes that the scan recorded.
        hashes: PathBuf,
    },
    /// A table has neither a correct checksum nor the hash that the scan recorded.
    #[error(
        "{path} is damaged, or was edited by another program after the scan. Run `carpus scan` again; `carpus query` alone \
         reads an edited table, if {hashes} is removed"
    )]
    Edited {
        /// The file.
        path: PathBuf,
        /// The file with the hashes that the scan recorded.
        hashes: PathBuf,
    },
    /// A table has a wrong checksum, or has none where only tables of carpus are accepted.
    #[error(
        "{path} is damaged, or was written by an earlier version of carpus or by another program; \
         run the command that writes it again"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// A folds file contradicts itself.
    #[error("{path}: {reason}; expected one row per image, and all images of a patient in one fold")]
    Folds {
        /// The file.
        path: PathBuf,
        /// The image or patient, and its folds.
        reason: String,
    },
    /// Polars cannot read, build or write a table.
    #[error("{path}: {source}")]
    Polars {
        /// The file.
        path: PathBuf,
        /// The error of Polars.
        source: PolarsError,
    },
    /// A CSV file cannot be opened, or one of its records cannot be read.
    #[error("{path}: {source}")]
    Csv {
        /// The file.
        path: PathBuf,
        /// The error of the CSV reader.
        source: csv::Error,
    },
    /// The first line of a CSV file is not a list of different column names, separated by commas.
    #[error("{path}: {reason}")]
    Header {
        /// The file.
        path: PathBuf,
        /// What is wrong with the line.
        reason: String,
    },
    /// A Parquet file lacks a column or a required value of the table, or a column has another type.
    #[error(
        "{path}: table `{table}`: {source}. It may be from another version of carpus; run the command that writes it again"
    )]
    Schema {
        /// The file.
        path: PathBuf,
        /// The name of the table.
        table: &'static str,
        /// The error of Polars.
        source: PolarsError,
    },
    /// A cell of a CSV file is not a value of its column.
    #[error("{path}: table `{table}` line {line}, column `{column}`: expected {expected}, found {found:?}")]
    Cell {
        /// The file.
        path: PathBuf,
        /// The name of the table.
        table: &'static str,
        /// The line of the cell, counted from 1.
        line: u64,
        /// The column.
        column: &'static str,
        /// The text of the cell.
        found: String,
        /// The values that the column takes.
        expected: &'static str,
    },
    /// A CSV file lacks a column of the table.
    #[error("{path}: table `{table}` has no column `{column}`; it has {}", found.join(", "))]
    Column {
        /// The file.
        path: PathBuf,
        /// The name of the table.
        table: &'static str,
        /// The missing column.
        column: &'static str,
        /// The columns of the file.
        found: Vec<String>,
    },
}

/// A row of a table on disk.
pub trait TableRow: Sized {
    /// Name of the table and of its file.
    const NAME: &'static str;
    /// Column names in order.
    const COLUMNS: &'static [&'static str];
    /// Whether its CSV file is for people to open in a spreadsheet and has texts from other files: cells that a spreadsheet would
    /// run as a formula are then escaped.
    const FOR_PEOPLE: bool;

    /// Converts rows to a Polars frame, one column per field.
    ///
    /// # Errors
    /// The columns do not form a frame.
    fn to_frame(rows: &[Self]) -> PolarsResult<DataFrame>;
    /// Converts a frame with at least these columns, in any order.
    ///
    /// # Errors
    /// A column is missing or has another type, or a required value is missing.
    fn from_frame(frame: &DataFrame) -> PolarsResult<Vec<Self>>;
    /// The row's cells as CSV text, in the order of `COLUMNS`; `None` becomes an empty cell.
    fn to_cells(&self) -> Vec<String>;
    /// Parses CSV cells in the order of `COLUMNS`.
    ///
    /// # Errors
    /// A cell is invalid.
    fn from_cells(cells: &[&str]) -> Result<Self, InvalidCell>;
}

/// A CSV cell that cannot be parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidCell {
    /// Position of its column in [`TableRow::COLUMNS`].
    pub column: usize,
    /// Its text.
    pub found: String,
    /// The values that the column takes.
    pub expected: &'static str,
}

/// A type of the fields of a row.
pub(crate) trait ColumnValue: Sized {
    const EXPECTED: &'static str;
    fn column(name: &str, values: Vec<Self>) -> Column;
    fn values(column: &Column) -> PolarsResult<Vec<Self>>;
    fn text(&self) -> String;
    fn parse(text: &str) -> Option<Self>;
}

/// The shortest text of a number that parses to the same number.
fn number_text(v: f64) -> String {
    format!("{v}")
}

macro_rules! cell {
    ($t:ty, $accessor:ident, $dtype:expr, $expected:literal, $text:expr) => {
        impl ColumnValue for $t {
            const EXPECTED: &'static str = $expected;
            fn column(name: &str, values: Vec<Self>) -> Column {
                Column::new(name.into(), values)
            }
            fn values(column: &Column) -> PolarsResult<Vec<Self>> {
                let column = column.cast(&$dtype)?;
                column
                    .$accessor()?
                    .iter()
                    .enumerate()
                    .map(|(row, v)| {
                        v.map(|v| v.to_owned())
                            .ok_or_else(|| polars_err!(ComputeError: "column `{}` row {row} is empty", column.name()))
                    })
                    .collect()
            }
            fn text(&self) -> String {
                #[allow(clippy::redundant_closure_call)]
                ($text)(self)
            }
            fn parse(text: &str) -> Option<Self> {
                text.parse().ok()
            }
        }

        impl ColumnValue for Option<$t> {
            const EXPECTED: &'static str = $expected;
            fn column(name: &str, values: Vec<Self>) -> Column {
                Column::new(name.into(), values)
            }
            fn values(column: &Column) -> PolarsResult<Vec<Self>> {
                let column = column.cast(&$dtype)?;
                Ok(column.$accessor()?.iter().map(|v| v.map(|v| v.to_owned())).collect())
            }
            fn text(&self) -> String {
                self.as_ref().map(ColumnValue::text).unwrap_or_default()
            }
            fn parse(text: &str) -> Option<Self> {
                if text.is_empty() { Some(None) } else { text.parse().ok().map(Some) }
            }
        }
    };
}

cell!(String, str, DataType::String, "text", |v: &String| v.clone());
cell!(f64, f64, DataType::Float64, "number", |v: &f64| number_text(*v));
cell!(u32, u32, DataType::UInt32, "whole number from 0", u32::to_string);
cell!(u64, u64, DataType::UInt64, "whole number from 0", u64::to_string);
cell!(bool, bool, DataType::Boolean, "true or false", bool::to_string);

fn enum_column<T: Named>(name: &str, values: impl Iterator<Item = Option<T>>) -> Column {
    let names: Vec<Option<&str>> = values.map(|value| value.map(T::text)).collect();
    let categories = FrozenCategories::new(T::names());
    let dtype = categories.map(DataType::from_frozen_categories);
    let column = dtype.and_then(|dtype| Column::new(name.into(), names).strict_cast(&dtype));
    column.expect("the names of a closed set are distinct and include every value")
}

/// Parses names; an empty text is a missing value.
fn enum_values<T: Named>(column: &Column) -> PolarsResult<Vec<Option<T>>> {
    let texts = column.cast(&DataType::String)?;
    let value = |(row, text): (usize, Option<&str>)| match text.filter(|text| !text.is_empty()) {
        None => Ok(None),
        Some(text) => T::named(text).map(Some).ok_or_else(|| {
            let (name, expected) = (column.name(), T::EXPECTED);
            polars_err!(ComputeError: "column `{name}` row {row}: expected {expected}, found {text:?}")
        }),
    };
    texts.str()?.iter().enumerate().map(value).collect()
}

impl<T: Named> ColumnValue for T {
    const EXPECTED: &'static str = T::EXPECTED;
    fn column(name: &str, values: Vec<Self>) -> Column {
        enum_column(name, values.into_iter().map(Some))
    }
    fn values(column: &Column) -> PolarsResult<Vec<Self>> {
        let missing = |row| polars_err!(ComputeError: "column `{}` row {row} is empty", column.name());
        enum_values(column)?.into_iter().enumerate().map(|(row, value)| value.ok_or_else(|| missing(row))).collect()
    }
    fn text(&self) -> String {
        Named::text(*self).to_owned()
    }
    fn parse(text: &str) -> Option<Self> {
        T::named(text)
    }
}

impl<T: Named> ColumnValue for Option<T> {
    const EXPECTED: &'static str = T::EXPECTED;
    fn column(name: &str, values: Vec<Self>) -> Column {
        enum_column(name, values.into_iter())
    }
    fn values(column: &Column) -> PolarsResult<Vec<Self>> {
        enum_values(column)
    }
    fn text(&self) -> String {
        self.map_or("", Named::text).to_owned()
    }
    fn parse(text: &str) -> Option<Self> {
        if text.is_empty() { Some(None) } else { T::named(text).map(Some) }
    }
}

/// Converts columns of closed sets to text, as on disk and in queries.
///
/// # Errors
/// The columns do not form a frame.
pub(super) fn enums_as_text(frame: &DataFrame) -> PolarsResult<DataFrame> {
    let columns = frame.columns().iter().map(|column| match column.dtype() {
        DataType::Enum(..) => column.cast(&DataType::String),
        _ => Ok(column.clone()),
    });
    DataFrame::new(frame.height(), columns.collect::<PolarsResult<_>>()?)
}

/// Defines a row struct and its [`TableRow`].
macro_rules! table {
    ($(#[$meta:meta])* pub struct $row:ident in $name:literal, for_people = $for_people:literal {
        $($(#[$field_meta:meta])* pub $field:ident: $type:ty,)+
    }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
        pub struct $row { $($(#[$field_meta])* pub $field: $type,)+ }

        impl $crate::tables::TableRow for $row {
            const NAME: &'static str = $name;
            const COLUMNS: &'static [&'static str] = &[$(stringify!($field)),+];
            const FOR_PEOPLE: bool = $for_people;

            fn to_frame(rows: &[Self]) -> polars::prelude::PolarsResult<polars::prelude::DataFrame> {
                use $crate::tables::ColumnValue;
                polars::prelude::DataFrame::new(rows.len(), vec![$(
                    <$type as ColumnValue>::column(stringify!($field), rows.iter().map(|r| r.$field.clone()).collect()),
                )+])
            }

            fn from_frame(frame: &polars::prelude::DataFrame) -> polars::prelude::PolarsResult<Vec<Self>> {
                use $crate::tables::ColumnValue;
                $(let mut $field = <$type as ColumnValue>::values(frame.column(stringify!($field))?)?.into_iter();)+
                (0..frame.height())
                    .map(|_| Ok($row { $($field: $field.next().expect("columns of a frame are equally long"),)+ }))
                    .collect()
            }

            fn to_cells(&self) -> Vec<String> {
                use $crate::tables::ColumnValue;
                vec![$(self.$field.text()),+]
            }

            fn from_cells(cells: &[&str]) -> Result<Self, $crate::tables::InvalidCell> {
                use $crate::tables::ColumnValue;
                let mut cells = cells.iter().enumerate();
                Ok($row { $($field: {
                    let (column, text) = cells.next().expect("as many cells as COLUMNS");
                    <$type as ColumnValue>::parse(text).ok_or_else(|| $crate::tables::InvalidCell {
                        column,
                        found: (*text).to_owned(),
                        expected: <$type as ColumnValue>::EXPECTED,
                    })?
                },)+ })
            }
        }
    };
}
pub(crate) use table;
