//! The tables that stages exchange: typed rows in memory, Parquet files on disk.
//!
//! Each table has a struct for its rows. [`TableRow`] converts rows to a Polars frame and back. Tables are written atomically as
//! `NAME.parquet` and, on request, `NAME.csv`.

mod checksum;
mod columns;
mod corrected;
mod csv_frame;
mod frame;
mod metrics;
mod query;
mod rows;
mod sql;
mod store;

pub(crate) use columns::{
    cells, count, counts, filtered, is, numbers, numbers_by, tally, texts, values, wholes, with_patients,
};
pub use corrected::correct;
pub use csv_frame::csv_frame;
pub(crate) use frame::{ColumnValue, table};
pub use frame::{InvalidCell, TableError, TableRow};
pub use metrics::EpochRow;
pub use query::{
    NamedTable, QueryError, QueryResult, are_numbers, json_rows, query, table_columns, tables_at, text_rows,
};
pub use rows::{BoneRow, FoldRow, HeldOutRow, ImageRow, OverlapRow, PatientRow, ProblemRow, ShapeRow};
pub use store::{
    HASHES, TableFormats, Tables, read, read_csv, read_fold_of_each_image, read_folds, read_folds_of_patients,
    read_frame, read_parquet, write_csv, write_parquet, write_table,
};
