//! SQL over tables on disk, run by Polars.

use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};

use polars::prelude::*;
use polars::sql::SQLContext;
use serde_json::{Map, Value};

use super::sql::{self, TextComparison};
use super::store::read_any_frame;
use super::{TableError, csv_frame};
use crate::wording::reason_of;

/// A query without a result.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// A table that the query names cannot be read.
    #[error(transparent)]
    Table(#[from] TableError),
    /// The folder of tables cannot be listed, or the file of a table is missing.
    #[error("{}: {}", path.display(), reason_of(source, "file or folder"))]
    Io {
        /// The file or the folder.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// The folder has neither Parquet nor CSV files.
    #[error("{}: no table in this folder; expected files NAME.parquet or NAME.csv", path.display())]
    NoTables {
        /// The folder.
        path: PathBuf,
    },
    /// Two of the given tables have the same name.
    #[error("two tables are called `{name}`: {} and {}; give one of them another name", first.display(), second.display())]
    DuplicateName {
        /// The name.
        name: String,
        /// The file of the first one.
        first: PathBuf,
        /// The file of the second one.
        second: PathBuf,
    },
    /// The query names a table that was not given.
    #[error("unknown table `{name}`; expected one of {}", tables.join(", "))]
    UnknownTable {
        /// The name in the query.
        name: String,
        /// The names of the given tables.
        tables: Vec<String>,
    },
    /// Polars panicked while it read a Parquet file.
    #[error("{}: not a Parquet file that can be read: {reason}", path.display())]
    Parquet {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        reason: String,
    },
    /// The query is not valid SQL, is refused, or fails in Polars.
    #[error("{reason}")]
    Sql {
        /// What is wrong with the query.
        reason: String,
    },
}

/// A table and its name in queries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedTable {
    /// Name in the query.
    pub name: String,
    /// A CSV file by its ending, else a Parquet file.
    pub path: PathBuf,
}

/// The result of a query.
#[derive(Clone, Debug)]
pub struct QueryResult {
    /// Its rows.
    pub frame: DataFrame,
    /// Notes about the query, such as a text that it compares with and that no row has.
    pub notes: Vec<String>,
}

/// The tables at a path: those of a folder, each named by its file, or one file. If a folder has a table as Parquet and as CSV,
/// the Parquet file is taken.
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

/// Stack of a query in bytes: Polars visits nested operations by recursion.
const STACK_BYTES: usize = 256 << 20;

/// Runs an SQL query with Polars. Only the tables that it names are read. Whole numbers are signed, with 128 bits
/// within the query and 64 bits in the result; empty texts are null. Queries that Polars answers differently from
/// standard SQL are rewritten or refused.
///
/// # Errors
/// - Two tables have the same name, or a table is unknown or cannot be read.
/// - The query is invalid, is not supported, or fails.
/// - A whole number of the result has more than 64 bits.
pub fn query(tables: &[NamedTable], sql: &str) -> Result<QueryResult, QueryError> {
    check_tables(tables)?;
    in_own_thread(|| run(tables, sql)).unwrap_or_else(|reason| Err(QueryError::Sql { reason }))
}

/// The columns of the tables: a frame with the columns `table`, `column` and `type`.
///
/// # Errors
/// Two tables have the same name, or a table cannot be read.
pub fn table_columns(tables: &[NamedTable]) -> Result<DataFrame, QueryError> {
    check_tables(tables)?;
    let mut cells: [Vec<String>; 3] = Default::default();
    for table in tables {
        for column in read_table(table)?.columns() {
            let words = match column.dtype() {
                DataType::String => "text".into(),
                DataType::Int128 => "whole number".into(),
                DataType::Float64 | DataType::Float32 => "number".into(),
                DataType::Boolean => "true or false".into(),
                other => other.to_string(),
            };
            let row = [table.name.clone(), column.name().to_string(), words];
            cells.iter_mut().zip(row).for_each(|(cells, cell)| cells.push(cell));
        }
    }
    let [table, column, words] = cells;
    let columns = df!("table" => table, "column" => column, "type" => words);
    columns.map_err(|e| QueryError::Sql { reason: e.to_string() })
}

fn check_tables(tables: &[NamedTable]) -> Result<(), QueryError> {
    for (i, table) in tables.iter().enumerate() {
        if let Some(other) = tables[..i].iter().find(|other| other.name == table.name) {
            let (first, second) = (other.path.clone(), table.path.clone());
            return Err(QueryError::DuplicateName { name: table.name.clone(), first, second });
        }
        if let Err(source) = std::fs::metadata(&table.path) {
            return Err(QueryError::Io { path: table.path.clone(), source });
        }
    }
    Ok(())
}

/// The result of `run` in a thread of its own: some invalid queries end in a panic of Polars, and some need a large stack.
fn in_own_thread<T: Send>(run: impl FnOnce() -> T + Send) -> Result<T, String> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK_BYTES);
        let run = thread.spawn_scoped(scope, run).map_err(|e| e.to_string())?;
        run.join().map_err(|_| "Polars cannot run this query".to_owned())
    })
}

fn run(tables: &[NamedTable], text: &str) -> Result<QueryResult, QueryError> {
    let failed = |reason: String| QueryError::Sql { reason };
    let mut query = sql::Query::parse(text).map_err(failed)?;
    let mut context = SQLContext::new();
    let mut frames = Vec::new();
    let names: BTreeSet<String> = query.tables.drain(..).collect();
    for name in names {
        let Some(table) = tables.iter().find(|table| table.name == name) else {
            let tables = tables.iter().map(|table| table.name.clone()).collect();
            return Err(QueryError::UnknownTable { name, tables });
        };
        let frame = read_table(table)?;
        context.register(&table.name, frame.clone().lazy());
        frames.push(frame);
    }
    let notes = texts_without_rows(&frames, &query.comparisons);
    let columns = || frames.iter().flat_map(DataFrame::columns);
    let names: HashSet<String> = columns().map(|column| column.name().to_string()).collect();
    let has_nulls = |name: &str| columns().any(|column| column.name() == name && column.null_count() > 0);
    let complete = names.iter().filter(|name| !has_nulls(name)).cloned().collect();
    let text = query.for_polars(sql::TableColumns { names, complete }).map_err(failed)?;
    let frame = context.execute(&text).and_then(LazyFrame::collect);
    let frame = frame.map_err(|e| failed(sql::plain(&e.to_string())))?;
    Ok(QueryResult { frame: with_64_bits(&frame).map_err(failed)?, notes })
}

/// The frame with its whole numbers in 64 bits.
///
/// # Errors
/// A whole number has more.
fn with_64_bits(frame: &DataFrame) -> Result<DataFrame, String> {
    let narrow = |column: &Column| {
        let dtype = match column.dtype() {
            DataType::Int128 => DataType::Int64,
            DataType::List(inner) if **inner == DataType::Int128 => DataType::List(Box::new(DataType::Int64)),
            _ => return Ok(column.clone()),
        };
        column.strict_cast(&dtype).map_err(|_| {
            format!(
                "column `{}` of the result has a whole number with more than 64 bits; cast(… as double) gives it rounded",
                column.name()
            )
        })
    };
    let columns = frame.columns().iter().map(narrow).collect::<Result<_, String>>()?;
    DataFrame::new(frame.height(), columns).map_err(|e| e.to_string())
}

/// A table as queries see it.
fn read_table(table: &NamedTable) -> Result<DataFrame, QueryError> {
    let path = &table.path;
    let is_csv = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("csv"));
    let frame = if is_csv {
        csv_frame(path)?
    } else {
        let reason = "Polars stopped while reading it".to_owned();
        in_own_thread(|| read_any_frame(path)).map_err(|_| QueryError::Parquet { path: path.clone(), reason })??
    };
    let polars = |source| TableError::Polars { path: path.clone(), source };
    Ok(for_queries(&frame).map_err(polars)?)
}

/// Whole numbers signed with 128 bits (a difference below 0 of unsigned numbers and a sum over 64 bits would wrap
/// around), texts as strings, and empty texts as null.
fn for_queries(frame: &DataFrame) -> PolarsResult<DataFrame> {
    let columns = frame.columns().iter().map(|column| match column.dtype() {
        dtype if dtype.is_integer() => column.strict_cast(&DataType::Int128),
        dtype if dtype.is_string() || dtype.is_enum() || dtype.is_categorical() => {
            let column = column.cast(&DataType::String)?;
            let texts = column.str()?;
            if !texts.iter().any(|text| text == Some("")) {
                return Ok(column);
            }
            let texts: StringChunked = texts.iter().map(|text| text.filter(|text| !text.is_empty())).collect();
            Ok(texts.with_name(column.name().clone()).into_column())
        }
        _ => Ok(column.clone()),
    });
    DataFrame::new(frame.height(), columns.collect::<PolarsResult<_>>()?)
}

/// Columns with few values, in which a text that no row has is probably a mistake.
const FEW_VALUES: [&str; 7] = ["check", "label", "mask_source", "severity", "sex", "side", "subset"];
/// Most values that a note lists.
const MAX_LISTED: usize = 40;

/// A note for each text that a column is compared with and that no row has.
fn texts_without_rows(frames: &[DataFrame], comparisons: &[TextComparison]) -> Vec<String> {
    let mut notes = Vec::new();
    for TextComparison { column, text } in comparisons.iter().filter(|c| FEW_VALUES.contains(&c.column.as_str())) {
        let columns: Vec<&Column> = frames.iter().filter_map(|frame| frame.column(column).ok()).collect();
        let values = columns.iter().filter_map(|column| column.str().ok()).flat_map(|texts| texts.iter().flatten());
        let values: BTreeSet<&str> = values.collect();
        if columns.is_empty() || values.contains(text.as_str()) {
            continue;
        }
        let mut listed: Vec<&str> = values.iter().copied().take(MAX_LISTED).collect();
        if values.len() > MAX_LISTED {
            listed.push("…");
        }
        let note = format!("no row has {column} = '{text}'; values: {}", listed.join(", "));
        if !notes.contains(&note) {
            notes.push(note);
        }
    }
    notes
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

/// The names of the columns, then the rows as text, `None` for missing values. Lists are written as JSON.
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
        AnyValue::List(_) => Some(json(value).to_string()),
        v if v.is_float() => v.extract::<f64>().map(|v| v.to_string()),
        v => Some(v.get_str().map_or_else(|| v.to_string(), str::to_owned)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::metadata::Sex;
    use crate::dataset::{Side, Subset};
    use crate::tables::{ImageRow, PatientRow, write_parquet};

    #[test]
    fn a_panic_is_an_error_and_the_stack_is_deep() {
        fn sum(n: u64) -> u64 {
            if n == 0 { 0 } else { std::hint::black_box(n) + sum(n - 1) }
        }
        assert_eq!(in_own_thread(|| sum(1_000_000)), Ok(500_000_500_000));
        let panics: Result<u64, String> = in_own_thread(|| std::hint::black_box(None).expect("inside Polars"));
        assert_eq!(panics, Err("Polars cannot run this query".into()));
    }

    /// Three patients and four images; a patient without sex and one without images.
    fn tables() -> (tempfile::TempDir, Vec<NamedTable>) {
        let folder = tempfile::tempdir().unwrap();
        let patient = |id: &str, sex, age, note: &str| PatientRow {
            patient_id: id.into(),
            sex,
            age,
            note: note.into(),
            n_images: 2,
            ..PatientRow::default()
        };
        let patients = [
            patient("1", Some(Sex::F), Some(30.0), "äb"),
            patient("2", Some(Sex::F), Some(20.0), ""),
            patient("3", None, None, ""),
        ];
        let image = |id: &str, patient: &str, side, rotated, n_bones| ImageRow {
            image_id: id.into(),
            patient_id: patient.into(),
            subset: Subset::Train,
            side,
            rotated,
            n_bones,
            ..ImageRow::default()
        };
        let images = [
            image("a", "1", Some(Side::L), Some(true), 29),
            image("b", "1", Some(Side::R), Some(false), 9),
            image("c", "2", Some(Side::L), None, 21),
            image("d", "9", None, Some(false), 5),
        ];
        write_parquet(&folder.path().join("patients.parquet"), &patients).unwrap();
        write_parquet(&folder.path().join("images.parquet"), &images).unwrap();
        let tables = tables_at(folder.path()).unwrap();
        (folder, tables)
    }

    fn rows(tables: &[NamedTable], sql: &str) -> String {
        let result = query(tables, sql).unwrap_or_else(|e| panic!("{sql}: {e}"));
        let row = |row: &Value| {
            let cells: Vec<String> = row.as_object().unwrap().values().map(ToString::to_string).collect();
            cells.join(" ").replace('"', "")
        };
        json_rows(&result.frame).iter().map(row).collect::<Vec<_>>().join(", ")
    }

    /// The expected values are those of SQL (SQLite and DuckDB agree).
    #[test]
    fn results_are_those_of_sql() {
        let (_folder, tables) = tables();
        for (sql, expected) in [
            ("select sex, n_images - count(*) as d from patients group by sex, n_images order by sex", "F 0, null 1"),
            ("select sex, count(*) from patients group by sex having sex = 'F'", "F 2"),
            ("select sex, count(*) as n from patients group by sex having n > 1", "F 2"),
            ("select sex, count(*) from patients group by sex order by count(*) desc", "F 2, null 1"),
            ("select max(age), min(age) from patients", "30.0 20.0"),
            ("select cast(n_bones/10 as int) as k, count(*) as n from images group by k order by k", "0 2, 2 2"),
            (
                "with b as (select cast(n_bones/10 as int) as k from images) \
                 select k*10 as k10, count(*) as n from b group by k order by k10",
                "0 2, 20 2",
            ),
            (
                "select n_bones + 1 as n, upper(side) as u from images group by n_bones, side order by n",
                "6 null, 10 R, 22 L, 30 L",
            ),
            (
                "select p.n_images + 1 as k, upper(p.sex) as u, count(*) as n from images i join patients p using (patient_id) group by p.n_images, p.sex",
                "3 F 3",
            ),
            ("select image_id from images where rotated is not true order by image_id", "b, c, d"),
            ("select image_id from images where rotated is not false order by image_id", "a, c"),
            ("select image_id from images where (rotated is true) = false order by image_id", "b, c, d"),
            ("select image_id from images where rotated is unknown", "c"),
            ("select power(10, 10) as x", "10000000000.0"),
            ("select sum(cast(n_bones as int) * 1000000000) as x from images", "64000000000"),
            ("select -7 % 3 as x, 7 % -3 as y, mod(-7, 3) as z, -7.5 % 2 as w", "-1 1 -1 -1.5"),
            ("select patient_id, length(note) - 3 as x from patients where note is not null", "1 -1"),
            ("select count(*) as n from patients where note is null", "2"),
            (
                "select p.patient_id as p, i.image_id as i from patients p left join (select * from images where side = 'R') i \
              on p.patient_id = i.patient_id order by p",
                "1 b, 2 null, 3 null",
            ),
            (
                "select coalesce(p.patient_id, i.patient_id) as p, count(*) as n from patients p \
              full join images i on p.patient_id = i.patient_id group by 1 order by p",
                "1 2, 2 1, 3 1, 9 1",
            ),
            (
                "select a.image_id as a, b.image_id as b from images a join images b \
              on a.patient_id = b.patient_id and a.image_id < b.image_id where a.side = 'L'",
                "a b",
            ),
            (
                "with m as (select max(age) as m from patients) select patient_id from patients cross join m where age = m",
                "1",
            ),
            (
                "select patient_id, sum(age) over (order by patient_id rows unbounded preceding) as s from patients order by patient_id",
                "1 30.0, 2 50.0, 3 50.0",
            ),
            ("select sex from patients order by sex nulls first", "null, F, F"),
            ("select patient_id, rank() over (order by age) as r from patients order by 1", "1 2, 2 1, 3 3"),
            ("select patient_id, rank() over (order by age desc) as r from patients order by 1", "1 2, 2 3, 3 1"),
            (
                "select patient_id, rank() over (order by age nulls first) as r from patients order by 1",
                "1 3, 2 2, 3 1",
            ),
            ("select patient_id, dense_rank() over (order by sex) as r from patients order by 1", "1 1, 2 1, 3 2"),
            ("select patient_id, row_number() over (order by age) as r from patients order by 1", "1 2, 2 1, 3 3"),
            (
                "select patient_id, lag(patient_id) over (order by age) as r from patients order by 1",
                "1 2, 2 null, 3 1",
            ),
            (
                "select patient_id, rank() over (order by sex, coalesce(age, 99)) as r from patients order by 1",
                "1 2, 2 1, 3 3",
            ),
            (
                "select image_id, rank() over (partition by patient_id order by rotated desc) as r from images order by 1",
                "a 1, b 2, c 1, d 1",
            ),
            ("select sum(n_bones * 9000000000000000000) / 1000000000000000000.0 as x from images", "576.0"),
            (
                "select sum(n_bones * 0 + 9223372036854775807) - sum(n_bones * 0 + 9223372036854775806) as x from images",
                "4",
            ),
            (
                "select max(n_bones * 9223372036854775807) > 0 as x, max(abs(-9223372036854775807)) as y from images",
                "true 9223372036854775807",
            ),
            ("select sum(n_bones) as s, avg(n_bones) as m, median(n_bones) as d from images", "64 16.0 15.0"),
            ("select sex, array_agg(patient_id) as l from patients group by sex order by sex", "F [1,2], null [3]"),
        ] {
            assert_eq!(rows(&tables, sql), expected, "{sql}");
        }
    }

    #[test]
    fn lists_are_written_whole() {
        let (_folder, tables) = tables();
        let result = query(&tables, "select array_agg(image_id) as l from images where image_id <> ''").unwrap();
        assert_eq!(text_rows(&result.frame)[1], [Some("[\"a\",\"b\",\"c\",\"d\"]".to_owned())]);
    }

    #[test]
    fn texts_that_no_row_has_are_noted() {
        let (_folder, tables) = tables();
        let notes = |sql: &str| query(&tables, sql).unwrap().notes;
        assert_eq!(notes("select * from patients where sex = 'female'"), ["no row has sex = 'female'; values: F"]);
        let noted = notes("select * from images i where i.side in ('L', 'l') or 'Train' = subset");
        assert_eq!(noted, ["no row has side = 'l'; values: L, R", "no row has subset = 'Train'; values: train"]);
        assert!(notes("select * from patients where sex = 'F' and patient_id = '77'").is_empty());
    }

    #[test]
    fn tables_are_listed_with_their_columns() {
        let (_folder, tables) = tables();
        let columns = text_rows(&table_columns(&tables).unwrap());
        let row = |cells: [&str; 3]| cells.map(|cell| Some(cell.to_owned())).to_vec();
        assert_eq!(columns[0], row(["table", "column", "type"]));
        for cells in [
            ["images", "rotated", "true or false"],
            ["patients", "age", "number"],
            ["patients", "n_images", "whole number"],
        ] {
            assert!(columns.contains(&row(cells)), "{cells:?}");
        }
    }

    #[test]
    fn mistakes_are_named() {
        let (_folder, tables) = tables();
        for (sql, expected) in [
            ("select * from pictures", "unknown table `pictures`; expected one of images, patients"),
            ("select nothing from patients", "unknown column `nothing`; expected one of patient_id, sex"),
            (
                "select i.side, j.side from images i join images j using (patient_id)",
                "two columns of the result are called `side`",
            ),
            ("select cast(sex as int) as x from patients", "conversion from text to whole number failed"),
            (
                "select sum(n_bones * 9000000000000000000) as x from images",
                "column `x` of the result has a whole number with more than 64 bits",
            ),
            ("select n_bones * 9000000000000000000 from images", "column `n_bones` of the result has a whole number"),
            (
                "select sum(1) as n from images",
                "sum(1) has no column, and Polars would compute it for one row; use count(*)",
            ),
            ("select array_agg(n_bones * 9000000000000000000) as l from images", "column `l` of the result"),
            ("select sex from patients where sex regexp '['", "invalid regular expression: unclosed character class"),
            (
                "select i.image_id from images i where exists (select 1 from images j where j.image_id <> i.image_id)",
                "unknown table `i`",
            ),
        ] {
            let error = query(&tables, sql).unwrap_err().to_string();
            assert!(error.contains(expected), "{sql}: {error}");
            assert!(!error.contains(" { ") && !error.contains("strict=False"), "{sql}: {error}");
        }
    }

    #[test]
    fn parquet_of_other_programs_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mine.parquet");
        let mut frame = df!("id" => ["a", ""], "n" => [1u32, 2]).unwrap();
        ParquetWriter::new(std::fs::File::create(&path).unwrap()).finish(&mut frame).unwrap();
        let tables = tables_at(&path).unwrap();
        assert_eq!(rows(&tables, "select id, n - 2 as n from mine"), "a -1, null 0");
        std::fs::write(&path, "PAR1 and nothing else").unwrap();
        let error = query(&tables, "select id from mine").unwrap_err().to_string();
        assert!(error.contains("mine.parquet"), "{error}");
        // A file of carpus with a wrong byte is refused by its checksum.
        write_parquet(&path, &[PatientRow { patient_id: "1".into(), ..PatientRow::default() }]).unwrap();
        let mut bytes = std::fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        assert!(query(&tables, "select sex from mine").unwrap_err().to_string().contains("is damaged"));
    }
}
