//! SQL over tables on disk, run by polars.

use std::path::{Path, PathBuf};

use polars::prelude::*;
use polars::sql::SQLContext;
use serde_json::{Map, Value};

use super::statement::Query;
use super::store::read_frame;
use super::{TableError, csv_frame};

/// A query that has no result.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum QueryError {
    #[error(transparent)]
    TableRow(#[from] TableError),
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: std::io::Error },
    #[error("{}: no table in it; expected files NAME.parquet or NAME.csv", path.display())]
    NoTables { path: PathBuf },
    #[error("two tables are called `{name}`: {} and {}; give one of them another name", first.display(), second.display())]
    TwoOfAName { name: String, first: PathBuf, second: PathBuf },
    #[error("{reason}; tables: {}", tables.join(", "))]
    Sql { reason: String, tables: Vec<String> },
}

/// A table by the name that a query gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedTable {
    /// Name in the query.
    pub name: String,
    /// CSV by its ending, else Parquet that carpus wrote.
    pub path: PathBuf,
}

/// The tables that a path stands for: those of a folder, each by the name of its file, or one file. Where a folder has a table
/// as Parquet and as CSV, the Parquet counts.
///
/// # Errors
/// The folder cannot be read or has no table.
pub fn tables_at(path: &Path) -> Result<Vec<NamedTable>, QueryError> {
    let named = |path: PathBuf| {
        let name = path.file_stem()?.to_str()?.to_owned();
        Some(NamedTable { name, path })
    };
    let io = |source| QueryError::Io { path: path.into(), source };
    if !std::fs::metadata(path).map_err(io)?.is_dir() {
        return Ok(named(path.to_owned()).into_iter().collect());
    }
    let mut tables = Vec::new();
    for entry in std::fs::read_dir(path).map_err(io)? {
        let path = entry.map_err(io)?.path();
        let has_ending = |ending| path.extension().is_some_and(|e| e.eq_ignore_ascii_case(ending));
        if path.is_file() && (has_ending("parquet") || (has_ending("csv") && !path.with_extension("parquet").is_file()))
        {
            tables.extend(named(path));
        }
    }
    tables.sort_by(|a, b| a.name.cmp(&b.name));
    if tables.is_empty() { Err(QueryError::NoTables { path: path.into() }) } else { Ok(tables) }
}

/// Memory for the calls of a query, in bytes: polars walks over operations one in another by recursion.
const STACK: usize = 256 << 20;

/// Runs a query of polars' SQL. Only the tables that it names are read. Whole numbers are signed ones of 64 bits.
///
/// # Errors
/// Two tables have one name, a table cannot be read, or the query is not valid or fails.
pub fn query(tables: &[NamedTable], sql: &str) -> Result<DataFrame, QueryError> {
    for (i, table) in tables.iter().enumerate() {
        if let Some(other) = tables[..i].iter().find(|other| other.name == table.name) {
            let (first, second) = (other.path.clone(), table.path.clone());
            return Err(QueryError::TwoOfAName { name: table.name.clone(), first, second });
        }
        if let Err(source) = std::fs::metadata(&table.path) {
            return Err(QueryError::Io { path: table.path.clone(), source });
        }
    }
    apart(|| run(tables, sql)).unwrap_or_else(|reason| Err(failure(tables, &reason)))
}

/// What `run` gives, in a thread of its own: some queries that make no sense end in a panic of polars, and others need much of the
/// stack.
fn apart<T: Send>(run: impl FnOnce() -> T + Send) -> Result<T, String> {
    std::thread::scope(|scope| {
        let run = std::thread::Builder::new().stack_size(STACK).spawn_scoped(scope, run).map_err(|e| e.to_string())?;
        run.join().map_err(|_| "polars cannot run this query".to_owned())
    })
}

fn run(tables: &[NamedTable], sql: &str) -> Result<DataFrame, QueryError> {
    let query = Query::parse(sql).map_err(|reason| failure(tables, &reason))?;
    let mut context = SQLContext::new();
    for table in tables.iter().filter(|table| query.tables.contains(&table.name)) {
        let is_csv = table.path.extension().is_some_and(|e| e.eq_ignore_ascii_case("csv"));
        let frame = if is_csv { csv_frame(&table.path)? } else { read_frame(&table.path)? };
        let polars = |source| TableError::Polars { path: table.path.clone(), source };
        context.register(&table.name, signed(&frame).map_err(polars)?.lazy());
    }
    let result = context.execute(&query.sql).and_then(LazyFrame::collect);
    // The plan that polars adds is of its own operations, not of the query.
    result.map_err(|e| failure(tables, e.to_string().split("\n\nResolved plan").next().unwrap_or_default()))
}

fn failure(tables: &[NamedTable], reason: &str) -> QueryError {
    let tables = tables.iter().map(|table| table.name.clone()).collect();
    QueryError::Sql { reason: reason.trim_end().to_owned(), tables }
}

/// Whole numbers as signed ones of 64 bits: a difference below 0 of unsigned numbers would wrap around.
fn signed(frame: &DataFrame) -> PolarsResult<DataFrame> {
    let columns = frame.columns().iter().map(|column| match column.dtype().is_integer() {
        true => column.cast(&DataType::Int64),
        false => Ok(column.clone()),
    });
    DataFrame::new(frame.height(), columns.collect::<PolarsResult<_>>()?)
}

/// The rows as JSON objects, keys in the order of the columns. Numbers that JSON cannot write (NaN, infinity) become `null`.
pub fn json_rows(frame: &DataFrame) -> Vec<Value> {
    (0..frame.height())
        .map(|row| {
            let cells = frame.columns().iter().map(|column| {
                let value = column.get(row).map_or(Value::Null, |value| json(&value));
                (column.name().to_string(), value)
            });
            Value::Object(cells.collect::<Map<_, _>>())
        })
        .collect()
}

/// The rows as text, `None` for missing values, below the names of the columns.
pub fn text_rows(frame: &DataFrame) -> Vec<Vec<Option<String>>> {
    let header = frame.columns().iter().map(|column| Some(column.name().to_string())).collect();
    let row = |row: usize| {
        let text = |column: &Column| column.get(row).map_or_else(|e| Some(e.to_string()), |value| text(&value));
        frame.columns().iter().map(text).collect()
    };
    std::iter::once(header).chain((0..frame.height()).map(row)).collect()
}

/// Whether each column holds numbers.
pub fn are_numbers(frame: &DataFrame) -> Vec<bool> {
    frame.columns().iter().map(|column| column.dtype().is_primitive_numeric()).collect()
}

fn json(value: &AnyValue) -> Value {
    match value {
        AnyValue::Null => Value::Null,
        AnyValue::Boolean(v) => Value::Bool(*v),
        AnyValue::String(v) => Value::String((*v).to_owned()),
        AnyValue::StringOwned(v) => Value::String(v.to_string()),
        AnyValue::List(series) => Value::Array(series.iter().map(|v| json(&v)).collect()),
        v if v.is_float() => v.extract::<f64>().map_or(Value::Null, Value::from),
        v if v.is_primitive_numeric() => {
            let unsigned = || v.extract::<u64>().map(Value::from);
            v.extract::<i64>().map(Value::from).or_else(unsigned).unwrap_or_else(|| Value::String(v.to_string()))
        }
        v => v.get_str().map_or_else(|| Value::String(v.to_string()), Value::from),
    }
}

fn text(value: &AnyValue) -> Option<String> {
    match value {
        AnyValue::Null => None,
        v if v.is_float() => v.extract::<f64>().map(|v| v.to_string()),
        v => Some(v.get_str().map_or_else(|| v.to_string(), str::to_owned)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error_and_the_stack_is_deep() {
        fn sum(n: u64) -> u64 {
            if n == 0 { 0 } else { std::hint::black_box(n) + sum(n - 1) }
        }
        assert_eq!(apart(|| sum(1_000_000)), Ok(500_000_500_000));
        let panics: Result<u64, String> = apart(|| std::hint::black_box(None).expect("inside polars"));
        assert_eq!(panics, Err("polars cannot run this query".into()));
    }
}
