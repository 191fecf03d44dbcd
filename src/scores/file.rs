//! Dice as a CSV: `image_id`, then one column per class, and their mean.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::{ImageScore, ScoreError};
use crate::artefact;
use crate::bones::{self, Bone, COUNT};
use crate::bounded::Csv;
use crate::names::image_id;

/// A CSV of Dice that cannot be read.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum DiceFileError {
    #[error("{path}: {source}")]
    Csv { path: PathBuf, source: csv::Error },
    #[error("{path} line 1: columns {found:?}, expected image_id and the names of bones")]
    Header { path: PathBuf, found: Vec<String> },
    #[error(
        "{path} line 1: no column {column}; expected image_id, the 29 class names and mean (see `carpus evaluate`)"
    )]
    NoColumn { path: PathBuf, column: &'static str },
    #[error("{path} line {line}, column {column}: {found:?} is no Dice score (0 to 1)")]
    Cell { path: PathBuf, line: u64, column: &'static str, found: String },
    #[error("{path} line {line}: image {image} occurs twice")]
    Twice { path: PathBuf, line: u64, image: String },
}

/// Dice of each image and class; classes that the file leaves out are `None`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DiceTable {
    images: BTreeMap<String, [Option<f64>; COUNT]>,
}

impl DiceTable {
    /// Reads a CSV with the column `image_id` and one column per bone. Images may be named by ID, file name or path.
    /// Other columns are ignored; an empty cell (neither annotation nor prediction has the class) or NaN is `None`.
    ///
    /// # Errors
    /// There is no such column, a cell is not a Dice score, or an image occurs twice.
    pub fn read(path: &Path) -> Result<DiceTable, DiceFileError> {
        let mut images = BTreeMap::new();
        for Row { line, image, dice } in rows(path)?.1 {
            if images.insert(image_id(&image), dice).is_some() {
                return Err(DiceFileError::Twice { path: path.into(), line, image });
            }
        }
        Ok(DiceTable { images })
    }

    /// A table of scores by image; images may be named by ID, file name or path.
    pub fn new(images: impl IntoIterator<Item = (String, [Option<f64>; COUNT])>) -> DiceTable {
        DiceTable { images: images.into_iter().map(|(image, dice)| (image_id(&image), dice)).collect() }
    }

    /// The scores of an image.
    pub fn image(&self, image: &str) -> Option<&[Option<f64>; COUNT]> {
        self.images.get(&image_id(image))
    }

    /// The IDs of the scored images, sorted.
    pub fn images(&self) -> impl Iterator<Item = &str> {
        self.images.keys().map(String::as_str)
    }

    /// The scores of a class, by image.
    pub fn class(&self, class: usize) -> impl Iterator<Item = f64> + '_ {
        self.images.values().filter_map(move |scores| scores[class])
    }
}

/// Reads what [`write_scores`] wrote; columns by name, in any order, the mean not needed.
///
/// # Errors
/// A class has no column, or a cell is not a Dice score.
pub fn read_scores(path: &Path) -> Result<Vec<ImageScore>, DiceFileError> {
    let (columns, rows) = rows(path)?;
    if let Some(bone) = Bone::all().find(|bone| !columns.contains(bone)) {
        return Err(DiceFileError::NoColumn { path: path.into(), column: bone.name() });
    }
    let whole = |row: Row| {
        let mut dice = [0.0; COUNT];
        for (bone, of_class) in Bone::all().zip(row.dice) {
            let (line, column, found) = (row.line, bone.name(), String::new());
            let absent = || DiceFileError::Cell { path: path.into(), line, column, found };
            dice[bone.index()] = of_class.ok_or_else(absent)?;
        }
        Ok(ImageScore { image_id: row.image, dice })
    };
    rows.into_iter().map(whole).collect()
}

struct Row {
    line: u64,
    image: String,
    dice: [Option<f64>; COUNT],
}

/// The bones that have a column, and the rows.
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
    let mut rows = Vec::new();
    for record in reader.records() {
        let record = record.map_err(csv_error)?;
        let line = record.position().map_or(0, |p| p.line());
        let cell = |at: usize| record.get(at).unwrap_or_default().trim();
        let mut dice = [None; COUNT];
        for (at, bone) in &columns {
            let text = cell(*at);
            if text.is_empty() || text.eq_ignore_ascii_case("nan") {
                continue;
            }
            let value = text.parse::<f64>().ok().filter(|v| (0.0..=1.0).contains(v));
            let (column, found) = (bone.name(), text.to_owned());
            dice[bone.index()] =
                Some(value.ok_or_else(|| DiceFileError::Cell { path: path.into(), line, column, found })?);
        }
        rows.push(Row { line, image: cell(id).to_owned(), dice });
    }
    Ok((columns.into_iter().map(|c| c.1).collect(), rows))
}

/// Writes `image_id,finger-1,…,Ulna,mean`, one row an image, by rename.
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
    fn scores_round_trip_and_name_what_is_wrong() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("dice.csv");
        let scores = vec![ImageScore { image_id: "image1".into(), dice: std::array::from_fn(|i| i as f64 / 32.0) }];
        write_scores(&path, &scores).unwrap();
        assert_eq!(read_scores(&path).unwrap(), scores);
        let written = std::fs::read_to_string(&path).unwrap();
        for (from, to, expected) in [
            ("image1,0.000000", "image1,x", "line 2, column finger-1: \"x\""),
            ("image1,0.000000", "image1,", "line 2, column finger-1: \"\""),
            ("finger-19", "finger-0", "no column finger-19"),
        ] {
            std::fs::write(&path, written.replace(from, to)).unwrap();
            let error = read_scores(&path).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn what_is_no_score_names_its_place() {
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
