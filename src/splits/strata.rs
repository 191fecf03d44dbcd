//! Strata: one label per image, made of the values of chosen columns.

use polars::prelude::*;
use serde::Serialize;

use super::SplitError;
use crate::stats::at_place;
use crate::tables::{ImageRow, PatientRow, TableRow, numbers};

/// Label of a missing value.
pub const MISSING: &str = "?";

/// Separator of the keys' values in a stratum.
pub const JOINT: &str = "|";

/// A bin of a numeric key: `low < value <= high` (the first bin includes `low`).
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Bin {
    /// `q1`, `q2`, …
    pub label: String,
    /// Lower bound.
    pub low: f64,
    /// Upper bound, inclusive.
    pub high: f64,
}

/// The labels of images by one column.
#[derive(Clone, Debug, PartialEq)]
pub struct StrataKey {
    /// Column of the images or the patients table.
    pub name: String,
    /// Expression for the label of an image, over the columns of the images with their patients; [`MISSING`] if there is no value.
    pub label: Expr,
    /// The bins of a numeric column, in ascending order.
    pub bins: Vec<Bin>,
    /// Whether the column is true/false.
    pub boolean: bool,
}

/// Makes labels of images from columns.
pub struct Keys<'a> {
    pub(super) hands: &'a DataFrame,
    quantiles: usize,
}

impl<'a> Keys<'a> {
    /// `hands` are the images with the columns of their patients. Numeric columns are divided into `quantiles` bins with about equal
    /// numbers of images.
    ///
    /// # Errors
    /// Fewer than 2 quantiles.
    pub fn new(hands: &'a DataFrame, quantiles: usize) -> Result<Self, SplitError> {
        if quantiles < 2 { Err(SplitError::Quantiles { quantiles }) } else { Ok(Keys { hands, quantiles }) }
    }

    /// The labels of column `name`.
    ///
    /// # Errors
    /// Neither the images table nor the patients table has such a column.
    pub fn key(&self, name: &str) -> Result<StrataKey, SplitError> {
        let mut available: Vec<_> = PatientRow::COLUMNS.iter().chain(ImageRow::COLUMNS).copied().collect();
        available.sort_unstable();
        available.dedup();
        if !available.contains(&name) {
            return Err(SplitError::UnknownKey { key: name.to_owned(), available });
        }
        let dtype = self.hands.column(name)?.dtype();
        let (known, value, bins) = if dtype.is_primitive_numeric() {
            let number = col(name).cast(DataType::Float64);
            let bins = quantile_bins(numbers(self.hands, number.clone())?, self.quantiles);
            // A value equal to a bound belongs to the lower bin.
            let edges: Vec<f64> = bins[..bins.len().saturating_sub(1)].iter().map(|b| b.high).collect();
            let labels: Vec<String> = (0..=edges.len()).map(bin_label).collect();
            (number.clone().is_finite(), number.cut(edges, Some(labels), false, false), bins)
        } else {
            (col(name).cast(DataType::String).neq(lit("")), col(name), Vec::new())
        };
        let label = when(known).then(value.cast(DataType::String)).otherwise(lit(MISSING));
        Ok(StrataKey { name: name.to_owned(), label, bins, boolean: dtype.is_bool() })
    }
}

/// Bins with about equal numbers of values. The bounds are quantiles by linear interpolation (R's type 7, numpy's default). Equal
/// bounds are merged, so many equal values give fewer bins.
fn quantile_bins(mut sorted: Vec<f64>, quantiles: usize) -> Vec<Bin> {
    if sorted.is_empty() {
        return Vec::new();
    }
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len() - 1;
    let position = |i: usize| i as f64 * last as f64 / quantiles as f64;
    let mut highs: Vec<f64> = (1..quantiles).map(|i| at_place(&sorted, position(i))).collect();
    // The largest value itself, so that rounding in the interpolation cannot leave it outside all bins.
    highs.push(sorted[last]);
    highs.dedup();
    let mut low = sorted[0];
    highs
        .into_iter()
        .enumerate()
        .map(|(i, high)| Bin { label: bin_label(i), low: std::mem::replace(&mut low, high), high })
        .collect()
}

fn bin_label(at: usize) -> String {
    format!("q{}", at + 1)
}

/// The stratum of an image: its labels joined, or `all` without keys.
pub fn stratum(labels: impl IntoIterator<Item = Expr>) -> Expr {
    labels.into_iter().reduce(|joined, label| joined + lit(JOINT) + label).unwrap_or(lit("all"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::metadata::Sex;
    use crate::tables::{texts, with_patients};

    fn image(id: &str, patient: &str, rotated: Option<bool>, mask: Option<u64>) -> ImageRow {
        ImageRow { image_id: id.into(), patient_id: patient.into(), rotated, mask_px: mask, ..ImageRow::default() }
    }

    fn labels(hands: &DataFrame, label: Expr) -> Vec<String> {
        let labels = hands.clone().lazy().select([col("image_id"), label.alias("label")]).collect().unwrap();
        texts(&labels, "label").unwrap().into_iter().map(Option::unwrap).collect()
    }

    #[test]
    fn strata_join_values_of_both_tables() {
        let patients = [
            PatientRow { patient_id: "001".into(), sex: Some(Sex::F), ..PatientRow::default() },
            PatientRow { patient_id: "002".into(), sex: None, ..PatientRow::default() },
        ];
        let images =
            [image("a", "001", Some(true), None), image("b", "002", Some(false), None), image("c", "003", None, None)];
        let hands =
            with_patients(ImageRow::to_frame(&images).unwrap(), PatientRow::to_frame(&patients).unwrap()).unwrap();
        let keys = Keys::new(&hands, 4).unwrap();
        let keys = ["sex", "rotated", "note", "age"].map(|name| keys.key(name).unwrap());
        assert!(!keys[0].boolean && keys[1].boolean);
        let strata = |keys: &[StrataKey]| labels(&hands, stratum(keys.iter().map(|k| k.label.clone())));
        assert_eq!(strata(&keys[..2]), ["F|true", "?|false", "?|?"]);
        assert_eq!(strata(&keys[2..]), ["?|?"; 3]);
        assert_eq!(strata(&[]), ["all"; 3]);
    }

    #[test]
    fn numbers_are_divided_into_quantiles() {
        let images: Vec<ImageRow> = (1..=8)
            .map(|i| image(&i.to_string(), "p", None, Some(10 * i)))
            .chain([image("x", "p", None, None)])
            .collect();
        let hands = ImageRow::to_frame(&images).unwrap();
        let key = Keys::new(&hands, 4).unwrap().key("mask_px").unwrap();
        assert_eq!(labels(&hands, key.label), ["q1", "q1", "q2", "q2", "q3", "q3", "q4", "q4", "?"]);
        assert_eq!((key.bins[0].low, key.bins[0].high, key.bins[3].high), (10.0, 27.5, 80.0));
        // n_bones is 0 in every row: one bin.
        let key = Keys::new(&hands, 4).unwrap().key("n_bones").unwrap();
        assert!(labels(&hands, key.label).iter().all(|l| l == "q1"));
        assert_eq!(key.bins.len(), 1);
    }

    #[test]
    fn values_on_a_bound_and_infinite_values() {
        let angle = |angle_deg| ImageRow { angle_deg: Some(angle_deg), ..ImageRow::default() };
        let hands = ImageRow::to_frame(&[3.0, 1.0, f64::NAN, 2.0, f64::INFINITY].map(angle)).unwrap();
        let key = Keys::new(&hands, 2).unwrap().key("angle_deg").unwrap();
        assert_eq!(labels(&hands, key.label), ["q2", "q1", "?", "q1", "?"]);
    }

    #[test]
    fn unknown_columns_and_invalid_quantiles_are_refused() {
        let hands = ImageRow::to_frame(&[]).unwrap();
        assert!(matches!(Keys::new(&hands, 4).unwrap().key("gender"), Err(SplitError::UnknownKey { .. })));
        assert!(matches!(Keys::new(&hands, 1), Err(SplitError::Quantiles { quantiles: 1 })));
    }
}
