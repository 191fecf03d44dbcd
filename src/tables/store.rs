use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{BufWriter, Cursor, Write};
use std::path::Path;

use polars::prelude::*;
use serde::{Deserialize, Serialize};

use crate::artefact::{FileKind, Together};
use crate::bounded::{self, Csv};
use crate::digest::sha256;
use crate::names::image_id;

use super::checksum;
use super::frame::enums_as_text;
use super::{BoneRow, FoldRow, ImageRow, OverlapRow, PatientRow, ProblemRow, ShapeRow, TableError, TableRow};

/// File next to the tables of a scan. It has their hashes, by which tables of different scans and damaged tables are detected, and
/// thresholds of the scan.
pub const HASHES: &str = "tables.json";

/// Contents of [`HASHES`].
#[derive(Default, Serialize, Deserialize)]
struct Hashes {
    /// Hashes in hex, by file name.
    sha256: BTreeMap<String, String>,
    /// See [`Tables::rotated_deg`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rotated_deg: Option<f64>,
}

/// The hashes in this file; `None` if it does not exist.
fn read_hashes(path: &Path) -> Result<Option<Hashes>, TableError> {
    let Ok(text) = std::fs::read(path) else { return Ok(None) };
    serde_json::from_slice(&text).map(Some).map_err(|e| TableError::Io { path: path.into(), source: e.into() })
}

/// Largest Parquet file that is read, in bytes: the tables have thousands of rows.
const MAX_PARQUET: u64 = 1 << 30;

/// Reads `FOLDER/NAME.parquet`.
///
/// # Errors
/// The file cannot be read, is damaged, has another table, or is not the one that the scan wrote.
pub fn read_parquet<T: TableRow>(path: &Path) -> Result<Vec<T>, TableError> {
    let frame = read_frame(path)?;
    T::from_frame(&frame).map_err(|source| TableError::Schema { path: path.into(), table: T::NAME, source })
}

/// As [`read_parquet`], but no rows if there is no such file.
fn read_if_there<T: TableRow>(path: &Path) -> Result<Vec<T>, TableError> {
    if path.exists() { read_parquet(path) } else { Ok(Vec::new()) }
}

/// Reads a Parquet file that carpus wrote, with any columns; texts are strings.
///
/// # Errors
/// The file cannot be read, was not written by carpus, or is not the one that the scan wrote.
pub fn read_frame(path: &Path) -> Result<DataFrame, TableError> {
    read_bytes(path, Source::Carpus)
}

/// Reads a Parquet file of carpus or of another program, with any columns. The reader may panic on a damaged file of another program.
///
/// # Errors
/// The file cannot be read, is damaged, or is not the one that the scan wrote.
pub(super) fn read_any_frame(path: &Path) -> Result<DataFrame, TableError> {
    read_bytes(path, Source::Any)
}

/// Programs whose files are read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Source {
    Carpus,
    Any,
}

fn read_bytes(path: &Path, source: Source) -> Result<DataFrame, TableError> {
    let io = |source| TableError::Io { path: path.into(), source };
    let bytes = bounded::read(path, MAX_PARQUET).map_err(io)?;
    let hashes = path.with_file_name(HASHES);
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let known = read_hashes(&hashes)?.and_then(|mut hashes| hashes.sha256.remove(&*name));
    if known.is_some_and(|known| known != sha256(&bytes)) {
        let path = path.into();
        return Err(match checksum::is_correct(&bytes) {
            true => TableError::Changed { path, hashes },
            false => TableError::Edited { path, hashes },
        });
    }
    if !checksum::is_correct(&bytes) && (source == Source::Carpus || checksum::is_present(&bytes)) {
        return Err(TableError::Damaged { path: path.into() });
    }
    let read = ParquetReader::new(Cursor::new(bytes)).finish();
    read.map_err(|source| TableError::Polars { path: path.into(), source })
}

/// Writes rows as Parquet (zstd), atomically.
///
/// # Errors
/// The file cannot be written.
pub fn write_parquet<T: TableRow>(path: &Path, rows: &[T]) -> Result<(), TableError> {
    let mut files = Together::default();
    add_parquet(&mut files, path, rows)?;
    files.commit().map_err(|source| TableError::Io { path: path.into(), source })
}

fn add_parquet<T: TableRow>(files: &mut Together, path: &Path, rows: &[T]) -> Result<(), TableError> {
    let bytes = parquet_bytes(path, rows)?;
    files.add(path, |out| out.write_all(&bytes)).map_err(|source| TableError::Io { path: path.into(), source })
}

fn parquet_bytes<T: TableRow>(path: &Path, rows: &[T]) -> Result<Vec<u8>, TableError> {
    let polars = |source| TableError::Polars { path: path.into(), source };
    let mut frame = T::to_frame(rows).and_then(|frame| enums_as_text(&frame)).map_err(polars)?;
    let mut bytes = Vec::new();
    let writer = ParquetWriter::new(&mut bytes).with_compression(ParquetCompression::Zstd(None));
    writer.finish(&mut frame).map_err(polars)?;
    Ok(checksum::add(bytes))
}

/// Escapes a cell that a spreadsheet would run as a formula: spreadsheets read a cell that begins with `'` as text.
fn escape_formula<T: TableRow>(cell: &str) -> Cow<'_, str> {
    let is_formula = cell.starts_with(['=', '+', '-', '@', '\t', '\r', '\'']) && cell.parse::<f64>().is_err();
    if T::FOR_PEOPLE && is_formula { Cow::Owned(format!("'{cell}")) } else { Cow::Borrowed(cell) }
}

/// Reverses [`escape_formula`].
fn unescape_formula<T: TableRow>(cell: &str) -> &str {
    cell.strip_prefix('\'').filter(|_| T::FOR_PEOPLE).unwrap_or(cell)
}

/// Writes rows as CSV, atomically.
///
/// # Errors
/// The file cannot be written.
pub fn write_csv<T: TableRow>(path: &Path, rows: &[T]) -> Result<(), TableError> {
    let mut files = Together::default();
    add_csv(&mut files, path, rows)?;
    files.commit().map_err(|source| TableError::Io { path: path.into(), source })
}

fn add_csv<T: TableRow>(files: &mut Together, path: &Path, rows: &[T]) -> Result<(), TableError> {
    let write = |out: &mut BufWriter<&File>| {
        let mut csv = csv::Writer::from_writer(out);
        csv.write_record(T::COLUMNS)?;
        for row in rows {
            csv.write_record(row.to_cells().iter().map(|cell| escape_formula::<T>(cell).into_owned()))?;
        }
        csv.flush()
    };
    files.add(path, write).map_err(|source| TableError::Io { path: path.into(), source })
}

/// Reads a CSV file with at least the table's columns, in any order.
///
/// # Errors
/// The file cannot be read, has no such column, or a cell is invalid.
pub fn read_csv<T: TableRow>(path: &Path) -> Result<Vec<T>, TableError> {
    let csv_error = |source| TableError::Csv { path: path.into(), source };
    let mut reader = Csv::open(path).map_err(csv_error)?;
    let header: Vec<String> = reader.headers().map_err(csv_error)?.iter().map(|h| h.trim().to_owned()).collect();
    let places = T::COLUMNS
        .iter()
        .map(|column| {
            header.iter().position(|h| h == column).ok_or_else(|| TableError::Column {
                path: path.into(),
                table: T::NAME,
                column,
                found: header.clone(),
            })
        })
        .collect::<Result<Vec<_>, _>>()?;
    reader
        .records()
        .map(|record| {
            let record = record.map_err(csv_error)?;
            let cells: Vec<&str> =
                places.iter().map(|p| unescape_formula::<T>(record.get(*p).unwrap_or_default())).collect();
            T::from_cells(&cells).map_err(|cell| TableError::Cell {
                path: path.into(),
                table: T::NAME,
                line: record.position().map_or(0, csv::Position::line),
                column: T::COLUMNS[cell.column],
                found: cell.found,
                expected: cell.expected,
            })
        })
        .collect()
}

/// Reads rows from a CSV file if its name ends with `.csv`, else from a Parquet file.
///
/// # Errors
/// Those of [`read_csv`] and [`read_parquet`].
pub fn read<T: TableRow>(path: &Path) -> Result<Vec<T>, TableError> {
    if path.extension().is_some_and(|e| e.eq_ignore_ascii_case("csv")) { read_csv(path) } else { read_parquet(path) }
}

/// Reads a folds file, CSV or Parquet. Images may be named by id, file name or path; the rows have ids.
///
/// # Errors
/// Those of [`read`].
pub fn read_folds(path: &Path) -> Result<Vec<FoldRow>, TableError> {
    let rows: Vec<FoldRow> = read(path)?;
    Ok(rows.into_iter().map(|row| FoldRow { image_id: image_id(&row.image_id), ..row }).collect())
}

/// As [`read_folds`], for everything that selects or scores images by fold.
///
/// # Errors
/// Those of [`read_folds`]; an image has several rows.
pub fn read_fold_of_each_image(path: &Path) -> Result<Vec<FoldRow>, TableError> {
    let rows = read_folds(path)?;
    let mut first: HashMap<&str, u32> = HashMap::new();
    for row in &rows {
        if let Some(fold) = first.insert(&row.image_id, row.fold) {
            let reason = format!("image {} is listed twice, in folds {fold} and {}", row.image_id, row.fold);
            return Err(TableError::Folds { path: path.into(), reason });
        }
    }
    Ok(rows)
}

/// As [`read_fold_of_each_image`], for scores on folds that must not share a patient.
///
/// # Errors
/// Those of [`read_fold_of_each_image`]; a patient is in several folds.
pub fn read_folds_of_patients(path: &Path) -> Result<Vec<FoldRow>, TableError> {
    let rows = read_fold_of_each_image(path)?;
    let mut first: HashMap<&str, u32> = HashMap::new();
    for row in &rows {
        let fold = *first.entry(&row.patient_id).or_insert(row.fold);
        if fold != row.fold {
            let reason = format!("patient {} is in folds {fold} and {}", row.patient_id, row.fold);
            return Err(TableError::Folds { path: path.into(), reason });
        }
    }
    Ok(rows)
}

/// The tables that `carpus scan` writes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tables {
    /// Patients in the order of the spreadsheet, then those who are not in it.
    pub patients: Vec<PatientRow>,
    /// Images in the order of the data folder.
    pub images: Vec<ImageRow>,
    /// Bones by image, then by class.
    pub bones: Vec<BoneRow>,
    /// Pairs of bones that share pixels, by image, then by classes.
    pub overlaps: Vec<OverlapRow>,
    /// Outlines of bones by image, then by class.
    pub shapes: Vec<ShapeRow>,
    /// Problems by file.
    pub problems: Vec<ProblemRow>,
    /// Angle from the vertical in degrees at and above which the scan counted a hand as rotated; `None` if it is not recorded.
    pub rotated_deg: Option<f64>,
}

/// The files that a table is written as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TableFormats {
    /// Parquet only.
    #[default]
    Parquet,
    /// Parquet, and a CSV file of the same name next to it.
    ParquetAndCsv,
}

impl Tables {
    /// Reads the Parquet files of `folder`. Earlier scans wrote no overlaps and no shapes; these are then empty.
    ///
    /// # Errors
    /// Those of [`read_parquet`].
    pub fn read(folder: &Path) -> Result<Tables, TableError> {
        let at = |name: &str| folder.join(format!("{name}.parquet"));
        Ok(Tables {
            patients: read_parquet(&at(PatientRow::NAME))?,
            images: read_parquet(&at(ImageRow::NAME))?,
            bones: read_parquet(&at(BoneRow::NAME))?,
            overlaps: read_if_there(&at(OverlapRow::NAME))?,
            shapes: read_if_there(&at(ShapeRow::NAME))?,
            problems: read_parquet(&at(ProblemRow::NAME))?,
            rotated_deg: read_hashes(&folder.join(HASHES))?.and_then(|hashes| hashes.rotated_deg),
        })
    }

    /// Writes the tables and their hashes: all files or none.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn write(&self, folder: &Path, formats: TableFormats) -> Result<(), TableError> {
        let csv = formats == TableFormats::ParquetAndCsv;
        let mut files = Together::default();
        let mut hashes = Hashes { rotated_deg: self.rotated_deg, ..Hashes::default() };
        add_table(&mut files, &mut hashes, folder, &self.patients, csv)?;
        add_table(&mut files, &mut hashes, folder, &self.images, csv)?;
        add_table(&mut files, &mut hashes, folder, &self.bones, csv)?;
        add_table(&mut files, &mut hashes, folder, &self.overlaps, csv)?;
        add_table(&mut files, &mut hashes, folder, &self.shapes, csv)?;
        add_table(&mut files, &mut hashes, folder, &self.problems, csv)?;
        let path = folder.join(HASHES);
        let io = |source| TableError::Io { path: path.clone(), source };
        files.add(&path, |out| serde_json::to_writer(out, &hashes).map_err(Into::into)).map_err(io)?;
        files.commit().map_err(io)
    }

    /// The patient with this id.
    pub fn patient(&self, patient_id: &str) -> Option<&PatientRow> {
        self.patients.iter().find(|p| p.patient_id == patient_id)
    }
}

fn add_table<T: TableRow>(
    files: &mut Together,
    hashes: &mut Hashes,
    folder: &Path,
    rows: &[T],
    csv: bool,
) -> Result<(), TableError> {
    let name = format!("{}.parquet", T::NAME);
    let path = folder.join(&name);
    let bytes = parquet_bytes(&path, rows)?;
    hashes.sha256.insert(name, sha256(&bytes));
    files.add(&path, |out| out.write_all(&bytes)).map_err(|source| TableError::Io { path, source })?;
    let csv_path = folder.join(format!("{}.csv", T::NAME));
    if csv {
        return add_csv(files, &csv_path, rows);
    }
    // A CSV file of an earlier scan would contradict the Parquet file.
    match FileKind::csv("", T::COLUMNS).matches(&csv_path) {
        Ok(true) => std::fs::remove_file(&csv_path).map_err(|source| TableError::Io { path: csv_path, source }),
        _ => Ok(()),
    }
}

/// Writes one table into `folder` as `NAME.parquet` and `NAME.csv`.
///
/// # Errors
/// A file cannot be written.
pub fn write_table<T: TableRow>(folder: &Path, rows: &[T]) -> Result<(), TableError> {
    write_parquet(&folder.join(format!("{}.parquet", T::NAME)), rows)?;
    write_csv(&folder.join(format!("{}.csv", T::NAME)), rows)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::dataset::Side;

    #[test]
    fn folds_may_name_image_files() {
        let file = tempfile::Builder::new().suffix(".csv").tempfile().unwrap();
        let rows = "a.png,1,F,0\ntrain/DCM/ID001/b.png,1,F,0\nc,2,M,1\n";
        std::fs::write(file.path(), format!("image_id,patient_id,stratum,fold\n{rows}")).unwrap();
        let ids: Vec<String> = read_folds(file.path()).unwrap().into_iter().map(|row| row.image_id).collect();
        assert_eq!(ids, ["a", "b", "c"]);
    }

    fn image(id: &str, angle: Option<f64>, side: Option<Side>) -> ImageRow {
        ImageRow { image_id: id.into(), angle_deg: angle, rotated: angle.map(|a| a > 0.0), side, ..Default::default() }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn rows_round_trip(
            cells in prop::collection::vec((prop::option::of(-180.0f64..180.0), prop::option::of("[^\r\u{0}]{1,12}")), 0..20)
        ) {
            let rows: Vec<ImageRow> =
                cells.into_iter().enumerate().map(|(i, (angle, reason))| ImageRow {
                    unusable_reason: reason,
                    ..image(&format!("손{i}"), angle, [None, Some(Side::L), Some(Side::R)][i % 3])
                }).collect();
            let folder = tempfile::tempdir().unwrap();
            let (parquet, csv) = (folder.path().join("t.parquet"), folder.path().join("t.csv"));
            write_parquet(&parquet, &rows).unwrap();
            prop_assert_eq!(&read::<ImageRow>(&parquet).unwrap(), &rows);
            write_csv(&csv, &rows).unwrap();
            prop_assert_eq!(&read::<ImageRow>(&csv).unwrap(), &rows);
        }
    }

    #[test]
    fn equal_rows_give_equal_bytes() {
        let rows = vec![image("a", Some(1.5), None), image("b", None, Some(Side::R))];
        let folder = tempfile::tempdir().unwrap();
        let bytes = |name: &str| {
            write_parquet(&folder.path().join(name), &rows).unwrap();
            std::fs::read(folder.path().join(name)).unwrap()
        };
        assert_eq!(bytes("1.parquet"), bytes("2.parquet"));
    }

    #[test]
    fn formulas_are_escaped_in_csv() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("problems.csv");
        let texts = ["=cmd|'/c calc'!A1", "+1+1", "-x", "@SUM(1)", "'quoted", "-3.5", "plain"];
        let rows: Vec<ProblemRow> =
            texts.iter().map(|t| ProblemRow { raw: (*t).into(), ..ProblemRow::default() }).collect();
        write_csv(&path, &rows).unwrap();
        assert_eq!(read_csv::<ProblemRow>(&path).unwrap(), rows);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains("'=cmd") && text.contains("'@SUM") && text.contains(",-3.5,"), "{text}");
    }

    #[test]
    fn tables_of_two_scans_and_flipped_bytes_are_detected() {
        let folder = tempfile::tempdir().unwrap();
        let tables = |id: &str| Tables { images: vec![image(id, Some(1.0), None)], ..Tables::default() };
        tables("a").write(folder.path(), TableFormats::Parquet).unwrap();
        assert_eq!(Tables::read(folder.path()).unwrap(), tables("a"));
        let decided = Tables { rotated_deg: Some(27.5), ..tables("a") };
        decided.write(folder.path(), TableFormats::Parquet).unwrap();
        assert_eq!(Tables::read(folder.path()).unwrap(), decided);
        let path = folder.path().join("images.parquet");
        let first = std::fs::read(&path).unwrap();
        tables("b").write(folder.path(), TableFormats::ParquetAndCsv).unwrap();
        // The state after a run that was interrupted between two renames.
        std::fs::write(&path, &first).unwrap();
        let error = Tables::read(folder.path()).unwrap_err().to_string();
        assert!(error.contains("images.parquet is from another scan") && error.contains("carpus scan"), "{error}");
        // The advice of the message works.
        std::fs::remove_file(folder.path().join(HASHES)).unwrap();
        assert_eq!(Tables::read(folder.path()).unwrap().images, tables("a").images);
        tables("a").write(folder.path(), TableFormats::Parquet).unwrap();
        let mut flipped = first.clone();
        flipped[first.len() / 2] ^= 1;
        std::fs::write(&path, flipped).unwrap();
        assert!(matches!(read_parquet::<ImageRow>(&path), Err(TableError::Edited { .. })));
    }

    #[test]
    fn folds_that_contradict_themselves_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("folds.csv");
        let read = |rows: &str| {
            std::fs::write(&path, format!("image_id,patient_id,stratum,fold\n{rows}")).unwrap();
            read_folds_of_patients(&path).map_err(|e| e.to_string())
        };
        assert_eq!(read("a,1,,0\nb,1,,0\nc,2,,1\n").unwrap().len(), 3);
        let error = read("a,1,,0\nc,2,,1\na.png,1,,0\n").unwrap_err();
        assert!(error.contains("folds.csv: image a is listed twice, in folds 0 and 0"), "{error}");
        let error = read("a,1,,0\nb,1,,1\n").unwrap_err();
        assert!(error.contains("patient 1 is in folds 0 and 1"), "{error}");
    }

    /// The Parquet reader itself panics on some of these files, and on others allocates 2^61 bytes, which aborts the process.
    #[test]
    fn damaged_and_foreign_parquet_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.parquet");
        let mut rows = [FoldRow { image_id: "a".into(), ..FoldRow::default() }];
        write_parquet(&path, &rows).unwrap();
        let whole = std::fs::read(&path).unwrap();
        let error = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            read_parquet::<FoldRow>(&path).unwrap_err().to_string()
        };
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x11;
            assert!(error(&bytes).contains("t.parquet is damaged"), "byte {at}");
            error(&whole[..at]);
        }
        let mut foreign = Vec::new();
        ParquetWriter::new(&mut foreign).finish(&mut FoldRow::to_frame(&rows).unwrap()).unwrap();
        assert!(error(&foreign).contains("another program"));
        rows[0].fold = 3;
        write_parquet(&path, &rows).unwrap();
        assert_eq!(read_parquet::<FoldRow>(&path).unwrap(), rows);
        // Other programs can read it: Parquet readers ignore the place of the checksum.
        let frame = ParquetReader::new(Cursor::new(std::fs::read(&path).unwrap())).finish().unwrap();
        assert_eq!(frame.height(), 1);
    }

    #[test]
    fn a_bad_cell_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("folds.csv");
        std::fs::write(&path, "fold,image_id,patient_id,stratum\n0,a,1,F\nx,b,2,M\n").unwrap();
        let error = read_csv::<FoldRow>(&path).unwrap_err().to_string();
        assert!(error.contains("line 3") && error.contains("`fold`") && error.contains("\"x\""), "{error}");
        std::fs::write(&path, "image_id,patient_id,stratum\na,1,F\n").unwrap();
        let error = read_csv::<FoldRow>(&path).unwrap_err().to_string();
        assert!(error.contains("no column `fold`"), "{error}");
    }

    #[test]
    fn names_outside_a_closed_set_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("images.csv");
        write_csv(&path, &[image("a", None, Some(Side::L)), image("b", None, None)]).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.replace("b,,train", "b,,elsewhere")).unwrap();
        let error = read_csv::<ImageRow>(&path).unwrap_err().to_string();
        for part in ["images.csv", "line 3", "`subset`", "one of train test", "\"elsewhere\""] {
            assert!(error.contains(part), "{error}");
        }
        let rows = [image("a", None, Some(Side::L)), image("b", None, None)];
        let mut frame = enums_as_text(&ImageRow::to_frame(&rows).unwrap()).unwrap();
        frame.with_column(Column::new("side".into(), ["L", "left"])).unwrap();
        let error = ImageRow::from_frame(&frame).unwrap_err().to_string();
        assert!(error.contains("column `side` row 1: expected one of L R, found \"left\""), "{error}");
        frame.with_column(Column::new("side".into(), ["L", ""])).unwrap();
        assert_eq!(ImageRow::from_frame(&frame).unwrap(), rows);
    }

    /// Enums in memory, text on disk and in queries.
    #[test]
    fn closed_sets_are_enums_in_memory_and_text_on_disk() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("images.parquet");
        let rows = [image("a", None, Some(Side::R))];
        let frame = ImageRow::to_frame(&rows).unwrap();
        for name in ["subset", "side", "side_by_anatomy", "mask_source"] {
            assert!(frame.column(name).unwrap().dtype().is_enum(), "{name}");
        }
        write_parquet(&path, &rows).unwrap();
        let read = read_frame(&path).unwrap();
        assert!(read.columns().iter().all(|column| !column.dtype().is_enum()));
        assert_eq!(read.column("side").unwrap().str().unwrap().get(0), Some("R"));
    }

    #[test]
    fn tables_of_another_version_are_refused_with_advice() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("images.parquet");
        write_parquet(&path, &[FoldRow::default()]).unwrap();
        let error = read_parquet::<ImageRow>(&path).unwrap_err().to_string();
        assert!(error.contains("images.parquet") && error.contains("run the command that writes it again"), "{error}");
    }
}
