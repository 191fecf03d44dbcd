//! The artefact tables that stages hand to each other: typed rows here, Parquet on disk.
//!
//! Each table is a struct of one row; [`TableRow`] turns rows into a polars frame and back, and writes it
//! whole or not at all, as `NAME.parquet` and, on request, `NAME.csv`.

mod checksum;
mod columns;
mod corrected;
mod csv_frame;
mod frame;
mod metrics;
mod query;
mod rows;
mod statement;
mod store;

pub(crate) use columns::{
    cells, count, counts, filtered, is, numbers, numbers_by, tally, texts, values, wholes, with_patients,
};
pub use corrected::correct;
pub use csv_frame::csv_frame;
pub(crate) use frame::{ColumnValue, table};
pub use frame::{TableError, TableRow};
pub use metrics::EpochRow;
pub use query::{NamedTable, QueryError, are_numbers, json_rows, query, tables_at, text_rows};
pub use rows::{BoneRow, FoldRow, HeldOutRow, ImageRow, PatientRow, ProblemRow};
pub use store::{HASHES, Tables, read, read_csv, read_frame, read_parquet, write_csv, write_parquet, write_table};
