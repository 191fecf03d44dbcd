//! Dice scores as a CSV file: `image_id`, one column per class, and the mean.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use super::{ImageScore, ScoreError};
use crate::artefact;
use crate::bones::{self, Bone, COUNT};
use crate::bounded::Csv;
use crate::names::image_id;

/// Why a CSV file of Dice scores cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum DiceFileError {
    /// The file cannot be opened, or one of its records cannot be read.
    #[error("{path}: {source}")]
    Csv {
        /// The file.
        path: PathBuf,
        /// The error of the CSV reader.
        source: csv::Error,
    },
    /// The file has no column `image_id`, or no column of a bone.
    #[error("{path} line 1: columns {found:?}; expected image_id and columns named after bones")]
    Header {
        /// The file.
        path: PathBuf,
        /// The columns of the file.
        found: Vec<String>,
    },
    /// A file that must have all classes lacks one.
    #[error(
        "{path} line 1: no column {column}; expected image_id, the 29 class names and mean, as `carpus evaluate` writes them"
    )]
    NoColumn {
        /// The file.
        path: PathBuf,
        /// The missing class.
        column: &'static str,
    },
    /// A cell is not a number from 0 to 1, or is empty or NaN where each class needs a score.
    #[error("{path} line {line}, column {column}: {found:?} is not a Dice score; expected a number from 0 to 1")]
    Cell {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: u64,
        /// The class.
        column: &'static str,
        /// The text of the cell.
        found: String,
    },
    /// Two rows have the same image.
    #[error("{path} line {line}: image {image} occurs twice; expected one row per image")]
    Twice {
        /// The file.
        path: PathBuf,
        /// The line of the second row, counted from 1.
        line: u64,
        /// The image, as in the second row.
        image: String,
    },
}

/// Dice per image and class; `None` for classes without a score.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DiceTable {
    images: BTreeMap<String, [Option<f64>; COUNT]>,
}

impl DiceTable {
    /// Reads a CSV file with the column `image_id` and columns named after bones; other columns are ignored. Images may be
    /// named by id, file name or path. An empty or NaN cell (a class in neither annotation nor prediction) is `None`.
    ///
    /// # Errors
    /// The file cannot be read, these columns are missing, a cell is not a Dice score, or an image occurs twice.
    pub fn read(path: &Path) -> Result<DiceTable, DiceFileError> {
        let rows = rows(path)?.1;
        Ok(DiceTable::new(rows.into_iter().map(|row| (row.image, row.dice.map(Result::ok)))))
    }

    /// Makes a table of scores by image; images may be named by id, file name or path.
    pub fn new(images: impl IntoIterator<Item = (String, [Option<f64>; COUNT])>) -> DiceTable {
        DiceTable { images: images.into_iter().map(|(image, dice)| (image_id(&image), dice)).collect() }
    }

    /// Scores of an image by class index.
    pub fn image(&self, image: &str) -> Option<&[Option<f64>; COUNT]> {
        self.images.get(&image_id(image))
    }

    /// The ids of the scored images, sorted.
    pub fn images(&self) -> impl Iterator<Item = &str> {
        self.images.keys().map(String::as_str)
    }

    /// Scores of a class in the order of the image ids, without the missing ones.
    pub fn class(&self, class: usize) -> impl Iterator<Item = f64> + '_ {
        self.images.values().filter_map(move |scores| scores[class])
    }
}

/// Reads a file of [`write_scores`]. Columns are found by name, in any order; the mean is not needed.
///
/// # Errors
/// The file cannot be read, a class has no column, a cell is not a Dice score (NaN and empty cells included), or an image
/// occurs twice.
pub fn read_scores(path: &Path) -> Result<Vec<ImageScore>, DiceFileError> {
    let (columns, rows) = rows(path)?;
    if let Some(bone) = Bone::all().find(|bone| !columns.contains(bone)) {
        return Err(DiceFileError::NoColumn { path: path.into(), column: bone.name() });
    }
    let complete = |row: Row| {
        let mut dice = [0.0; COUNT];
        for (bone, of_class) in Bone::all().zip(row.dice) {
            let (line, column) = (row.line, bone.name());
            let missing = |found| DiceFileError::Cell { path: path.into(), line, column, found };
            dice[bone.index()] = of_class.map_err(missing)?;
        }
        Ok(ImageScore { image_id: row.image, dice })
    };
    rows.into_iter().map(complete).collect()
}

struct Row {
    line: u64,
    image: String,
    /// By class index; the text of the cell (empty or NaN) where there is no score.
    dice: [Result<f64, String>; COUNT],
}

/// The bones that have a column, and the rows, one per image.
fn rows(path: &Path) -> Result<(Vec<Bone>, Vec<Row>), DiceFileError> {
    let csv_error = |source| DiceFileError::Csv { path: path.into(), source };
    let mut reader = Csv::open(path).map_err(csv_error)?;
    let header: Vec<String> = reader.headers().map_err(csv_error)?.iter().map(|h| h.trim().to_owned()).collect();
    let columns: Vec<(usize, Bone)> =
        header.iter().enumerate().filter_map(|(at, h)| Some((at, Bone::from_name(h)?))).collect();
    let id = header.iter().position(|h| h == "image_id");
    let (Some(id), false) = (id, columns.is_empty()) else {
        return Err(DiceFileError::Header { path: path.into(), found: header });
    };
    let (mut rows, mut images) = (Vec::new(), HashSet::new());
    for record in reader.records() {
        let record = record.map_err(csv_error)?;
        let line = record.position().map_or(0, |p| p.line());
        let cell = |at: usize| record.get(at).unwrap_or_default().trim();
        let mut dice = std::array::from_fn(|_| Err(String::new()));
        for (at, bone) in &columns {
            let text = cell(*at);
            if text.is_empty() || text.eq_ignore_ascii_case("nan") {
                dice[bone.index()] = Err(text.to_owned());
                continue;
            }
            let value = text.parse::<f64>().ok().filter(|v| (0.0..=1.0).contains(v));
            let (column, found) = (bone.name(), text.to_owned());
            dice[bone.index()] =
                Ok(value.ok_or_else(|| DiceFileError::Cell { path: path.into(), line, column, found })?);
        }
        let image = cell(id).to_owned();
        if !images.insert(image_id(&image)) {
            return Err(DiceFileError::Twice { path: path.into(), line, image });
        }
        rows.push(Row { line, image, dice });
    }
    Ok((columns.into_iter().map(|c| c.1).collect(), rows))
}

/// Writes a CSV file with the columns `image_id,finger-1,…,Ulna,mean` and one row per image, atomically.
///
/// # Errors
/// The file cannot be written.
pub fn write_scores(path: &Path, scores: &[ImageScore]) -> Result<(), ScoreError> {
    artefact::write_atomically(path, |out| {
        let mut csv = csv::Writer::from_writer(out);
        csv.write_record(std::iter::once("image_id").chain(bones::NAMES).chain(std::iter::once("mean")))?;
        for score in scores {
            let values =
                score.dice.iter().chain(std::iter::once(&score.mean())).map(|v| format!("{v:.6}")).collect::<Vec<_>>();
            csv.write_record(std::iter::once(score.image_id.clone()).chain(values))?;
        }
        csv.flush()
    })
    .map_err(|source| ScoreError::Write { path: path.into(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_round_trip_and_errors_name_the_cell() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("dice.csv");
        let scores = vec![ImageScore { image_id: "image1".into(), dice: std::array::from_fn(|i| i as f64 / 32.0) }];
        write_scores(&path, &scores).unwrap();
        assert_eq!(read_scores(&path).unwrap(), scores);
        let written = std::fs::read_to_string(&path).unwrap();
        for (from, to, expected) in [
            ("image1,0.000000", "image1,x", "line 2, column finger-1: \"x\""),
            ("image1,0.000000", "image1,", "line 2, column finger-1: \"\""),
            ("image1,0.000000", "image1,nan", "line 2, column finger-1: \"nan\" is not a Dice score"),
            ("finger-19", "finger-0", "no column finger-19"),
        ] {
            std::fs::write(&path, written.replace(from, to)).unwrap();
            let error = read_scores(&path).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn an_image_with_two_rows_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("dice.csv");
        let score = ImageScore { image_id: "image1".into(), dice: [0.5; COUNT] };
        write_scores(&path, &[score.clone(), score]).unwrap();
        let error = read_scores(&path).unwrap_err().to_string();
        assert!(error.contains("line 3: image image1 occurs twice"), "{error}");
    }

    #[test]
    fn an_invalid_score_is_reported_with_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("scores.csv");
        let read = |text: &str| {
            std::fs::write(&path, text).unwrap();
            DiceTable::read(&path)
        };
        let table = read("image_id,Ulna,mean\na,0.9,0.9\nb,,\n").unwrap();
        assert_eq!(table.class(Bone::ULNA.index()).collect::<Vec<_>>(), [0.9]);
        assert_eq!(table.image("b"), Some(&[None; COUNT]));
        let table = read("image_id,Ulna\ntrain/ID001/a.png,0.9\nb,nan\n").unwrap();
        assert_eq!((table.images().collect::<Vec<_>>(), table.image("a.png")), (vec!["a", "b"], table.image("a")));
        assert!(table.image("a").is_some_and(|scores| scores[Bone::ULNA.index()] == Some(0.9)));
        let message = read("image_id,Ulna\na,0.9\nb,1.7\n").unwrap_err().to_string();
        assert!(message.contains("line 3") && message.contains("Ulna") && message.contains("1.7"), "{message}");
        assert!(matches!(read("name,Ulna\n"), Err(DiceFileError::Header { .. })));
        assert!(matches!(read("image_id,Ulna\na,1\na,1\n"), Err(DiceFileError::Twice { .. })));
        assert!(matches!(read("image_id,Ulna\na,1\na.png,1\n"), Err(DiceFileError::Twice { .. })));
    }
}
