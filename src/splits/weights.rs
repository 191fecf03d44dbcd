//! Sampling weights: how often an image is sampled in training, relative to the others.

use std::path::Path;

use polars::prelude::*;

use super::SplitError;
use super::strata::Keys;
use crate::artefact::write_atomically;
use crate::bounded::Csv;
use crate::names::image_id;
use crate::tables::{ColumnValue, TableError, count, texts};

/// `KEY=WEIGHT` (for true in a true/false column) or `KEY:VALUE=WEIGHT`.
#[derive(Clone, Debug, PartialEq)]
pub struct WeightRule {
    /// Column of the images or the patients table.
    pub key: String,
    /// Value with this weight, as in a stratum (`M`, `q4`, `?`); `None` for `true`.
    pub value: Option<String>,
    /// Factor, above 0.
    pub weight: f64,
}

/// Weight of an image.
#[derive(Clone, Debug, PartialEq)]
pub struct ImageWeight {
    /// Key of the images table.
    pub image_id: String,
    /// Product of the weights of the rules that apply to it; 1 if none does.
    pub weight: f64,
}

impl std::str::FromStr for WeightRule {
    type Err = SplitError;

    fn from_str(text: &str) -> Result<Self, SplitError> {
        let invalid = || SplitError::WeightRule { text: text.to_owned() };
        let (left, weight) = text.rsplit_once('=').ok_or_else(invalid)?;
        let weight: f64 = weight.trim().parse().map_err(|_| invalid())?;
        let (key, value) = match left.split_once(':') {
            Some((key, value)) => (key.trim(), Some(value.trim().to_owned())),
            None => (left.trim(), None),
        };
        let is_valid = weight.is_finite() && weight > 0.0 && !key.is_empty() && value.as_deref() != Some("");
        is_valid.then(|| WeightRule { key: key.to_owned(), value, weight }).ok_or_else(invalid)
    }
}

/// The weights of images by rules.
#[derive(Clone, Debug, PartialEq)]
pub struct SampleWeights {
    /// One weight per image, in the order of the images.
    pub weights: Vec<ImageWeight>,
    /// A warning for each rule that applies to no image.
    pub warnings: Vec<String>,
}

/// Computes the weight of each image.
///
/// # Errors
/// - A rule has an unknown column, or no value for a column that is not true/false.
/// - The weights of an image multiply to infinity or 0.
pub fn sample_weights(keys: &Keys<'_>, rules: &[WeightRule]) -> Result<SampleWeights, SplitError> {
    let (mut weight, mut warnings) = (lit(1.0), Vec::new());
    for rule in rules {
        let key = keys.key(&rule.key)?;
        let value = match &rule.value {
            Some(value) => value.as_str(),
            None if key.boolean => "true",
            None => return Err(SplitError::WeightValue { key: rule.key.clone() }),
        };
        let applies = key.label.clone().eq(lit(value));
        if count(keys.hands, applies.clone())? == 0 {
            let present = key.label.unique().sort(SortOptions::default()).alias("value");
            let present = texts(&keys.hands.clone().lazy().select([present]).limit(10).collect()?, "value")?;
            let present: Vec<String> = present.into_iter().flatten().collect();
            warnings.push(format!(
                "weight {}:{value}={} applies to no image; values of the column: {}",
                rule.key,
                rule.weight,
                present.join(", ")
            ));
        }
        weight = weight * when(applies).then(lit(rule.weight)).otherwise(lit(1.0));
    }
    let weights = keys.hands.clone().lazy().select([col("image_id"), weight.alias("weight")]).collect()?;
    let images = String::values(weights.column("image_id")?)?.into_iter();
    let weights = images.zip(f64::values(weights.column("weight")?)?);
    let weights: Vec<_> = weights.map(|(image_id, weight)| ImageWeight { image_id, weight }).collect();
    if let Some(ImageWeight { image_id, weight }) = weights.iter().find(|w| !(w.weight.is_finite() && w.weight > 0.0)) {
        return Err(SplitError::WeightProduct { image_id: image_id.clone(), weight: *weight });
    }
    Ok(SampleWeights { weights, warnings })
}

/// Writes a CSV file with the columns `image_id` and `weight`, atomically.
///
/// # Errors
/// The file cannot be written.
pub fn write_weights(path: &Path, weights: &[ImageWeight]) -> Result<(), TableError> {
    write_atomically(path, |out| {
        let mut csv = csv::Writer::from_writer(out);
        csv.write_record(["image_id", "weight"])?;
        for row in weights {
            csv.write_record([row.image_id.as_str(), &row.weight.to_string()])?;
        }
        csv.flush()
    })
    .map_err(|source| TableError::Io { path: path.into(), source })
}

/// Reads a file of [`write_weights`]. Images may be named by id, file name or path; the weights have ids.
///
/// # Errors
/// The file cannot be read, a column is missing, or a weight is not a number above 0.
pub fn read_weights(path: &Path) -> Result<Vec<ImageWeight>, SplitError> {
    let invalid = |line: u64, reason: String| SplitError::WeightFile { path: path.into(), line, reason };
    let csv_error = |source| SplitError::WeightCsv { path: path.into(), source };
    let mut reader = Csv::open(path).map_err(csv_error)?;
    let header = reader.headers().map_err(csv_error)?.clone();
    let place = |name: &str| {
        header.iter().position(|h| h.trim() == name).ok_or_else(|| invalid(1, format!("no column `{name}`")))
    };
    let (id, weight) = (place("image_id")?, place("weight")?);
    reader
        .records()
        .map(|record| {
            let record = record.map_err(csv_error)?;
            let line = record.position().map_or(0, csv::Position::line);
            let text = record.get(weight).unwrap_or_default();
            match text.trim().parse::<f64>() {
                Ok(w) if w.is_finite() && w > 0.0 => {
                    Ok(ImageWeight { image_id: image_id(record.get(id).unwrap_or_default()), weight: w })
                }
                _ => Err(invalid(line, format!("weight {text:?} is not a number above 0"))),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::metadata::Sex;
    use crate::tables::{ImageRow, PatientRow, TableRow, with_patients};

    #[test]
    fn rules_are_parsed() {
        let rule: WeightRule = "sex:M=1.34".parse().unwrap();
        assert_eq!(rule, WeightRule { key: "sex".into(), value: Some("M".into()), weight: 1.34 });
        assert_eq!("rotated=10".parse::<WeightRule>().unwrap().value, None);
        for wrong in ["rotated", "rotated=", "rotated=-1", "rotated=0", "=3", "sex:=2", "a=inf", "a=nan"] {
            assert!(wrong.parse::<WeightRule>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn weights_multiply() {
        let image = |id: &str, patient: &str, rotated| ImageRow {
            image_id: id.into(),
            patient_id: patient.into(),
            rotated: Some(rotated),
            ..ImageRow::default()
        };
        let rows = [image("a", "1", true), image("b", "1", false), image("c", "2", true)];
        let patients = [PatientRow { patient_id: "1".into(), sex: Some(Sex::M), ..PatientRow::default() }];
        let hands =
            with_patients(ImageRow::to_frame(&rows).unwrap(), PatientRow::to_frame(&patients).unwrap()).unwrap();
        let keys = Keys::new(&hands, 4).unwrap();
        let rules = ["rotated=10".parse().unwrap(), "sex:M=1.5".parse().unwrap(), "sex:F=2".parse().unwrap()];
        let SampleWeights { weights, warnings } = sample_weights(&keys, &rules).unwrap();
        assert_eq!(weights.iter().map(|w| w.weight).collect::<Vec<_>>(), [15.0, 1.5, 10.0]);
        assert_eq!(warnings.len(), 1);
        assert!(warnings[0].contains("?, M"), "{warnings:?}");
        assert!(sample_weights(&keys, &["sex=2".parse().unwrap()]).is_err());
        for (rules, product) in [(["rotated=1e308", "sex:M=1e308"], "inf"), (["rotated=1e-200", "sex:M=1e-200"], "0")] {
            let rules = rules.map(|rule| rule.parse().unwrap());
            let error = sample_weights(&keys, &rules).unwrap_err().to_string();
            assert!(error.contains(&format!("image a multiply to {product};")), "{error}");
        }

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("weights.csv");
        write_weights(&path, &weights).unwrap();
        assert_eq!(read_weights(&path).unwrap(), weights);
        std::fs::write(&path, "image_id,weight\ntest/a.png,2\n").unwrap();
        assert_eq!(read_weights(&path).unwrap()[0].image_id, "a", "images may be named by their files");
    }
}
