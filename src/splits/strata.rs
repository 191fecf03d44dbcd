//! Strata: the values of chosen table columns, joined, one label an image.

use std::collections::HashMap;

use polars::prelude::PolarsResult;
use serde::Serialize;

use super::SplitError;
use crate::stats::at_place;
use crate::tables::{ImageRow, PatientRow, Table};

/// Label of a missing value.
pub const MISSING: &str = "?";

/// What goes between the keys' values in a stratum.
pub const JOINT: char = '|';

/// One bin of a numeric key: `low < value <= high` (the first one has its low end inside).
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Bin {
    /// `q1`, `q2`, …
    pub label: String,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// One key's label for each image.
#[derive(Clone, Debug, PartialEq)]
pub struct Key {
    /// Column of the images or the patients table.
    pub name: String,
    /// One label an image; [`MISSING`] where there is no value.
    pub labels: Vec<String>,
    /// The bins of a numeric column, in rising order.
    pub bins: Vec<Bin>,
    /// Whether the column holds true or false.
    pub boolean: bool,
}

/// Values of one column, and of which kind they are.
enum Kind {
    Text,
    Boolean,
    Number,
}

/// Reads columns of the two tables as labels of the images.
pub struct Keys<'a> {
    images: &'a [&'a ImageRow],
    patients: HashMap<&'a str, &'a PatientRow>,
    image_kinds: Vec<Kind>,
    patient_kinds: Vec<Kind>,
    quantiles: usize,
}

impl<'a> Keys<'a> {
    /// Numeric columns are cut into `quantiles` bins, each with about as many of the `images` as the others.
    pub fn new(images: &'a [&'a ImageRow], patients: &'a [PatientRow], quantiles: usize) -> Result<Self, SplitError> {
        if quantiles < 2 {
            return Err(SplitError::Quantiles { quantiles });
        }
        let kinds = |table, kinds: PolarsResult<_>| kinds.map_err(|source| SplitError::Table { table, source });
        Ok(Keys {
            images,
            // The first row of a patient counts, as `Tables::patient` has it.
            patients: patients.iter().rev().map(|p| (p.patient_id.as_str(), p)).collect(),
            image_kinds: kinds(ImageRow::NAME, column_kinds::<ImageRow>())?,
            patient_kinds: kinds(PatientRow::NAME, column_kinds::<PatientRow>())?,
            quantiles,
        })
    }

    /// The labels of column `name`, looked for in the images table, then in the patients table.
    pub fn key(&self, name: &str) -> Result<Key, SplitError> {
        let place = |columns: &[&str]| columns.iter().position(|c| *c == name);
        let (cells, kind): (Vec<String>, _) = if let Some(at) = place(ImageRow::COLUMNS) {
            (self.images.iter().map(|image| image.cell(at)).collect(), &self.image_kinds[at])
        } else if let Some(at) = place(PatientRow::COLUMNS) {
            let of = |image: &&ImageRow| self.patients.get(image.patient_id.as_str()).map(|patient| patient.cell(at));
            (self.images.iter().map(|image| of(image).unwrap_or_default()).collect(), &self.patient_kinds[at])
        } else {
            let available = PatientRow::COLUMNS.iter().chain(ImageRow::COLUMNS).copied().collect();
            return Err(SplitError::UnknownKey { key: name.to_owned(), available });
        };
        let or_missing = |c: &String| if c.is_empty() { MISSING.to_owned() } else { c.clone() };
        let (labels, bins) = match kind {
            Kind::Text | Kind::Boolean => (cells.iter().map(or_missing).collect(), Vec::new()),
            Kind::Number => {
                let numbers: Vec<Option<f64>> =
                    cells.iter().map(|c| c.parse::<f64>().ok().filter(|v| v.is_finite())).collect();
                let bins = quantile_bins(&numbers, self.quantiles);
                let label = |v: &Option<f64>| match v {
                    // A value equal to an edge belongs to the bin below it.
                    Some(v) => bins[bins.partition_point(|b| b.high < *v)].label.clone(),
                    None => MISSING.to_owned(),
                };
                (numbers.iter().map(label).collect(), bins)
            }
        };
        Ok(Key { name: name.to_owned(), labels, bins, boolean: matches!(kind, Kind::Boolean) })
    }
}

fn column_kinds<T: Table>() -> PolarsResult<Vec<Kind>> {
    let frame = T::to_frame(&[])?;
    T::COLUMNS
        .iter()
        .map(|name| {
            let dtype = frame.column(name)?.dtype();
            Ok(match dtype {
                d if d.is_bool() => Kind::Boolean,
                d if d.is_primitive_numeric() => Kind::Number,
                _ => Kind::Text,
            })
        })
        .collect()
}

/// Bins with about equally many values; edges by linear interpolation (R's type 7, numpy's default). Edges that fall
/// together are one, so many equal values give fewer bins.
fn quantile_bins(values: &[Option<f64>], quantiles: usize) -> Vec<Bin> {
    let mut sorted: Vec<f64> = values.iter().flatten().copied().collect();
    if sorted.is_empty() {
        return Vec::new();
    }
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len() - 1;
    let place = |i: usize| i as f64 * last as f64 / quantiles as f64;
    let mut highs: Vec<f64> = (1..quantiles).map(|i| at_place(&sorted, place(i))).collect();
    // Exactly the largest value, so that it is in a bin whatever the rounding of the interpolation.
    highs.push(sorted[last]);
    highs.dedup();
    let mut low = sorted[0];
    highs
        .into_iter()
        .enumerate()
        .map(|(i, high)| Bin { label: format!("q{}", i + 1), low: std::mem::replace(&mut low, high), high })
        .collect()
}

/// The stratum of each image: the keys' labels joined; `all` where there are no keys.
pub fn strata(keys: &[Key], n_images: usize) -> Vec<String> {
    if keys.is_empty() {
        return vec!["all".to_owned(); n_images];
    }
    (0..n_images)
        .map(|i| {
            let labels: Vec<&str> = keys.iter().map(|k| k.labels[i].as_str()).collect();
            labels.join(&JOINT.to_string())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::metadata::Sex;

    fn image(id: &str, patient: &str, rotated: Option<bool>, mask: Option<u64>) -> ImageRow {
        ImageRow { image_id: id.into(), patient_id: patient.into(), rotated, mask_px: mask, ..ImageRow::default() }
    }

    #[test]
    fn joins_values_of_both_tables() {
        let patients = [
            PatientRow { patient_id: "001".into(), sex: Some(Sex::F), ..PatientRow::default() },
            PatientRow { patient_id: "002".into(), sex: None, ..PatientRow::default() },
        ];
        let rows =
            [image("a", "001", Some(true), None), image("b", "002", Some(false), None), image("c", "003", None, None)];
        let images: Vec<&ImageRow> = rows.iter().collect();
        let keys = Keys::new(&images, &patients, 4).unwrap();
        let keys = [keys.key("sex").unwrap(), keys.key("rotated").unwrap()];
        assert!(!keys[0].boolean && keys[1].boolean);
        assert_eq!(strata(&keys, 3), ["F|true", "?|false", "?|?"]);
        assert_eq!(strata(&[], 2), ["all", "all"]);
    }

    #[test]
    fn numbers_fall_into_quantiles() {
        let rows: Vec<ImageRow> = (1..=8)
            .map(|i| image(&i.to_string(), "p", None, Some(10 * i)))
            .chain([image("x", "p", None, None)])
            .collect();
        let images: Vec<&ImageRow> = rows.iter().collect();
        let key = Keys::new(&images, &[], 4).unwrap().key("mask_px").unwrap();
        assert_eq!(key.labels, ["q1", "q1", "q2", "q2", "q3", "q3", "q4", "q4", "?"]);
        assert_eq!((key.bins[0].low, key.bins[0].high, key.bins[3].high), (10.0, 27.5, 80.0));
        // n_bones is 0 in every row: one bin.
        let key = Keys::new(&images, &[], 4).unwrap().key("n_bones").unwrap();
        assert!(key.labels.iter().all(|l| l == "q1"));
        assert_eq!(key.bins.len(), 1);
    }

    #[test]
    fn unknown_column_and_senseless_quantiles_are_refused() {
        let keys = Keys::new(&[], &[], 4).unwrap();
        assert!(matches!(keys.key("gender"), Err(SplitError::UnknownKey { .. })));
        assert!(matches!(Keys::new(&[], &[], 1), Err(SplitError::Quantiles { quantiles: 1 })));
    }
}
