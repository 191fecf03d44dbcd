use std::fs::File;
use std::path::Path;

use polars::prelude::*;

use crate::artefact::write_atomically;

use super::{BoneRow, ImageRow, PatientRow, ProblemRow, Table, TableError};

/// Reads `FOLDER/NAME.parquet`.
pub fn read_parquet<T: Table>(path: &Path) -> Result<Vec<T>, TableError> {
    let file = File::open(path).map_err(|source| TableError::Io { path: path.into(), source })?;
    let frame = ParquetReader::new(file).finish().map_err(|source| TableError::Polars { path: path.into(), source })?;
    T::from_frame(&frame).map_err(|source| TableError::Schema { path: path.into(), table: T::NAME, source })
}

/// Writes rows as Parquet (zstd), by rename.
pub fn write_parquet<T: Table>(path: &Path, rows: &[T]) -> Result<(), TableError> {
    let polars = |source| TableError::Polars { path: path.into(), source };
    let mut frame = T::to_frame(rows).map_err(polars)?;
    write_atomically(path, |out| {
        ParquetWriter::new(out)
            .with_compression(ParquetCompression::Zstd(None))
            .finish(&mut frame)
            .map(drop)
            .map_err(std::io::Error::other)
    })
    .map_err(|source| TableError::Io { path: path.into(), source })
}

/// Writes rows as CSV, by rename.
pub fn write_csv<T: Table>(path: &Path, rows: &[T]) -> Result<(), TableError> {
    write_atomically(path, |out| {
        let mut csv = csv::Writer::from_writer(out);
        csv.write_record(T::COLUMNS)?;
        for row in rows {
            csv.write_record(row.to_cells())?;
        }
        csv.flush()
    })
    .map_err(|source| TableError::Io { path: path.into(), source })
}

/// Reads a CSV with at least the table's columns, in any order.
pub fn read_csv<T: Table>(path: &Path) -> Result<Vec<T>, TableError> {
    let csv_error = |source| TableError::Csv { path: path.into(), source };
    let mut reader = csv::Reader::from_path(path).map_err(csv_error)?;
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
        .enumerate()
        .map(|(row, record)| {
            let record = record.map_err(csv_error)?;
            let cells: Vec<&str> = places.iter().map(|p| record.get(*p).unwrap_or_default()).collect();
            T::from_cells(&cells).map_err(|(at, found, expected)| TableError::Cell {
                path: path.into(),
                table: T::NAME,
                row: row + 2,
                column: T::COLUMNS[at],
                found,
                expected,
            })
        })
        .collect()
}

/// Reads rows by the file's ending: `.csv`, else Parquet.
pub fn read<T: Table>(path: &Path) -> Result<Vec<T>, TableError> {
    if path.extension().is_some_and(|e| e.eq_ignore_ascii_case("csv")) { read_csv(path) } else { read_parquet(path) }
}

/// The four tables that `carpus scan` writes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tables {
    /// Patients, in the order of the spreadsheet, then those without a row.
    pub patients: Vec<PatientRow>,
    /// Images, in the order of the layout.
    pub images: Vec<ImageRow>,
    /// Bones, by image, then class.
    pub bones: Vec<BoneRow>,
    /// Problems, by file.
    pub problems: Vec<ProblemRow>,
}

impl Tables {
    /// Reads the four Parquet files of `folder`.
    pub fn read(folder: &Path) -> Result<Tables, TableError> {
        let at = |name: &str| folder.join(format!("{name}.parquet"));
        Ok(Tables {
            patients: read_parquet(&at(PatientRow::NAME))?,
            images: read_parquet(&at(ImageRow::NAME))?,
            bones: read_parquet(&at(BoneRow::NAME))?,
            problems: read_parquet(&at(ProblemRow::NAME))?,
        })
    }

    /// Writes the four Parquet files, and CSV beside them where `csv`.
    pub fn write(&self, folder: &Path, csv: bool) -> Result<(), TableError> {
        write_table(folder, &self.patients, csv)?;
        write_table(folder, &self.images, csv)?;
        write_table(folder, &self.bones, csv)?;
        write_table(folder, &self.problems, csv)
    }

    /// The patient of an image.
    pub fn patient(&self, patient_id: &str) -> Option<&PatientRow> {
        self.patients.iter().find(|p| p.patient_id == patient_id)
    }
}

/// Writes one table into `folder` under its own name.
pub fn write_table<T: Table>(folder: &Path, rows: &[T], csv: bool) -> Result<(), TableError> {
    write_parquet(&folder.join(format!("{}.parquet", T::NAME)), rows)?;
    if csv {
        write_csv(&folder.join(format!("{}.csv", T::NAME)), rows)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn image(id: &str, angle: Option<f64>, note: Option<String>) -> ImageRow {
        ImageRow {
            image_id: id.into(),
            angle_deg: angle,
            rotated: angle.map(|a| a > 0.0),
            side: note,
            ..Default::default()
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn rows_come_back_the_same(
            cells in prop::collection::vec((prop::option::of(-180.0f64..180.0), prop::option::of("[^\r\u{0}]{1,12}")), 0..20)
        ) {
            let rows: Vec<ImageRow> =
                cells.into_iter().enumerate().map(|(i, (a, n))| image(&format!("손{i}"), a, n)).collect();
            let folder = tempfile::tempdir().unwrap();
            let (parquet, csv) = (folder.path().join("t.parquet"), folder.path().join("t.csv"));
            write_parquet(&parquet, &rows).unwrap();
            prop_assert_eq!(&read::<ImageRow>(&parquet).unwrap(), &rows);
            write_csv(&csv, &rows).unwrap();
            prop_assert_eq!(&read::<ImageRow>(&csv).unwrap(), &rows);
        }
    }

    #[test]
    fn the_same_rows_are_the_same_bytes() {
        let rows = vec![image("a", Some(1.5), None), image("b", None, Some("R".into()))];
        let folder = tempfile::tempdir().unwrap();
        let bytes = |name: &str| {
            write_parquet(&folder.path().join(name), &rows).unwrap();
            std::fs::read(folder.path().join(name)).unwrap()
        };
        assert_eq!(bytes("1.parquet"), bytes("2.parquet"));
    }

    #[test]
    fn a_bad_cell_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("folds.csv");
        std::fs::write(&path, "fold,image_id,patient_id,stratum\n0,a,1,F\nx,b,2,M\n").unwrap();
        let error = read_csv::<crate::tables::FoldRow>(&path).unwrap_err().to_string();
        assert!(error.contains("row 3") && error.contains("`fold`") && error.contains("\"x\""), "{error}");
        std::fs::write(&path, "image_id,patient_id,stratum\na,1,F\n").unwrap();
        let error = read_csv::<crate::tables::FoldRow>(&path).unwrap_err().to_string();
        assert!(error.contains("no column `fold`"), "{error}");
    }

    #[test]
    fn tables_of_another_version_are_refused_with_the_way_out() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("images.parquet");
        write_parquet(&path, &[crate::tables::FoldRow::default()]).unwrap();
        let error = read_parquet::<ImageRow>(&path).unwrap_err().to_string();
        assert!(error.contains("images.parquet") && error.contains("Run the stage"), "{error}");
    }
}
