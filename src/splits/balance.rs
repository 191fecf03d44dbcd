//! Balance of the strata over the folds.

use std::collections::BTreeMap;
use std::path::Path;

use polars::prelude::*;
use serde::Serialize;

use super::strata::{Bin, StrataKey};
use crate::artefact::write_atomically;
use crate::tables::{ColumnValue, TableError, texts};

/// Key of the rows for strata (all keys together).
pub const STRATUM: &str = "stratum";

/// Size of a fold.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FoldSize {
    /// Number of the fold.
    pub fold: usize,
    /// Number of images held out in it.
    pub images: usize,
    /// Number of patients held out in it.
    pub patients: usize,
    /// Share of all images, 0 to 1.
    pub share: f64,
}

/// Balance of one value of a key, or of one stratum.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BalanceRow {
    /// Name of the key, or `stratum` for all keys together.
    pub key: String,
    /// The value.
    pub value: String,
    /// Number of images with this value.
    pub images: usize,
    /// Number of patients with at least one such image.
    pub patients: usize,
    /// Share of all images, 0 to 1.
    pub share: f64,
    /// Number of images with this value, per fold.
    pub fold_images: Vec<usize>,
    /// Share of the fold's images, per fold; 0 in a fold without images.
    pub fold_shares: Vec<f64>,
    /// Largest difference between a fold's share and the overall share.
    pub worst_deviation: f64,
}

/// The balance of a split.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Balance {
    /// Sizes of the folds.
    pub folds: Vec<FoldSize>,
    /// Strata first, then the values of each key; sorted by value.
    pub rows: Vec<BalanceRow>,
    /// Largest difference between a stratum's share in a fold and its overall share.
    pub worst_deviation: f64,
    /// The bins of numeric keys, by key.
    pub bins: BTreeMap<String, Vec<Bin>>,
}

impl Balance {
    /// Counts images and patients per fold. `assigned` has the columns of a fold table and those of the `keys`.
    ///
    /// # Errors
    /// A column is missing.
    pub fn new(assigned: &DataFrame, keys: &[StrataKey], folds: usize) -> PolarsResult<Balance> {
        let counts = [len().alias("images"), col("patient_id").n_unique().alias("patients")];
        let share = |part: u32, whole: usize| f64::from(part) / whole.max(1) as f64;

        let held_out = assigned.clone().lazy().group_by([col("fold")]).agg(&counts);
        let sizes = df!("fold" => (0..folds as u32).collect::<Vec<_>>())?.lazy();
        let sizes = sizes.left_join(held_out, col("fold"), col("fold")).sort(["fold"], SortMultipleOptions::default());
        let sizes = sizes.fill_null(lit(0)).collect()?;
        let (images, patients) = (u32::values(sizes.column("images")?)?, u32::values(sizes.column("patients")?)?);
        let size = |(fold, (images, patients)): (usize, (u32, u32))| FoldSize {
            fold,
            images: images as usize,
            patients: patients as usize,
            share: share(images, assigned.height()),
        };
        let sizes: Vec<FoldSize> = images.into_iter().zip(patients).enumerate().map(size).collect();

        let in_folds = (0..folds).map(|fold| col("fold").eq(lit(fold as u32)).sum().alias(fold.to_string()));
        let counts: Vec<Expr> = counts.into_iter().chain(in_folds).collect();
        let by_value = |key: &str, label: &Expr| -> PolarsResult<Vec<BalanceRow>> {
            let values = assigned.clone().lazy().group_by([label.clone().alias("value")]).agg(&counts);
            let values = values.sort(["value"], SortMultipleOptions::default()).collect()?;
            let counts = values.columns()[1..].iter().map(u32::values).collect::<PolarsResult<Vec<_>>>()?;
            let row = |(at, value): (usize, String)| {
                let in_folds = || counts[2..].iter().map(|column| column[at]);
                let overall = share(counts[0][at], assigned.height());
                let fold_shares: Vec<f64> = in_folds().zip(&sizes).map(|(n, size)| share(n, size.images)).collect();
                BalanceRow {
                    key: key.to_owned(),
                    value,
                    images: counts[0][at] as usize,
                    patients: counts[1][at] as usize,
                    share: overall,
                    worst_deviation: fold_shares.iter().map(|s| (s - overall).abs()).fold(0.0, f64::max),
                    fold_images: in_folds().map(|n| n as usize).collect(),
                    fold_shares,
                }
            };
            Ok(texts(&values, "value")?.into_iter().flatten().enumerate().map(row).collect())
        };
        let mut rows = by_value(STRATUM, &col(STRATUM))?;
        let worst_deviation = rows.iter().map(|r| r.worst_deviation).fold(0.0, f64::max);
        if keys.len() > 1 {
            for key in keys {
                rows.extend(by_value(&key.name, &key.label)?);
            }
        }
        let bins = keys.iter().filter(|k| !k.bins.is_empty()).map(|k| (k.name.clone(), k.bins.clone())).collect();
        Ok(Balance { folds: sizes, rows, worst_deviation, bins })
    }

    /// Header and cells of a table with one row per stratum or value and two columns per fold; shares are from 0 to 1. The first
    /// row, with the key `all`, has the sizes of the folds.
    fn to_cells(&self) -> (Vec<String>, Vec<Vec<String>>) {
        let mut header: Vec<String> = ["key", "value", "images", "patients", "share"].map(str::to_owned).into();
        for size in &self.folds {
            header.push(format!("fold_{}_images", size.fold));
            header.push(format!("fold_{}_share", size.fold));
        }
        header.push("worst_deviation".to_owned());

        let even = 1.0 / self.folds.len().max(1) as f64;
        let total: usize = self.folds.iter().map(|f| f.images).sum();
        let patients: usize = self.folds.iter().map(|f| f.patients).sum();
        let mut first = vec!["all".to_owned(), String::new(), total.to_string(), patients.to_string(), share(1.0)];
        for size in &self.folds {
            first.extend([size.images.to_string(), share(size.share)]);
        }
        first.push(share(self.folds.iter().map(|f| (f.share - even).abs()).fold(0.0, f64::max)));

        let rows = self.rows.iter().map(|row| {
            let mut cells = vec![
                row.key.clone(),
                row.value.clone(),
                row.images.to_string(),
                row.patients.to_string(),
                share(row.share),
            ];
            for (images, in_fold) in row.fold_images.iter().zip(&row.fold_shares) {
                cells.extend([images.to_string(), share(*in_fold)]);
            }
            cells.push(share(row.worst_deviation));
            cells
        });
        (header, std::iter::once(first).chain(rows).collect())
    }

    /// Writes the balance as a CSV table and as JSON, each atomically.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn write(&self, csv_path: &Path, json_path: &Path) -> Result<(), TableError> {
        let io = |path: &Path| {
            let path = path.to_owned();
            move |source| TableError::Io { path, source }
        };
        write_atomically(csv_path, |out| {
            let (header, rows) = self.to_cells();
            let mut csv = csv::Writer::from_writer(out);
            csv.write_record(header)?;
            for row in rows {
                csv.write_record(row)?;
            }
            csv.flush()
        })
        .map_err(io(csv_path))?;
        write_atomically(json_path, |out| Ok(serde_json::to_writer_pretty(out, self)?)).map_err(io(json_path))
    }
}

fn share(v: f64) -> String {
    format!("{v:.4}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables::{FoldRow, TableRow};

    fn balance(rows: &[FoldRow]) -> Balance {
        Balance::new(&FoldRow::to_frame(rows).unwrap(), &[], 2).unwrap()
    }

    fn row(image: &str, patient: &str, stratum: &str, fold: u32) -> FoldRow {
        FoldRow { image_id: image.into(), patient_id: patient.into(), stratum: stratum.into(), fold }
    }

    #[test]
    fn shares_and_worst_deviation() {
        let rows = [row("a", "1", "F", 0), row("b", "1", "M", 0), row("c", "2", "F", 1), row("d", "2", "F", 1)];
        let balance = balance(&rows);
        assert_eq!(balance.folds.iter().map(|f| (f.images, f.patients)).collect::<Vec<_>>(), [(2, 1), (2, 1)]);
        let f = &balance.rows[0];
        assert_eq!((f.value.as_str(), f.images, f.patients, f.share), ("F", 3, 2, 0.75));
        assert_eq!((f.fold_shares.as_slice(), f.worst_deviation), ([0.5, 1.0].as_slice(), 0.25));
        assert_eq!(balance.worst_deviation, 0.25);
        let (header, cells) = balance.to_cells();
        assert_eq!(header.len(), 10);
        assert!(cells.iter().all(|c| c.len() == header.len()));
    }

    #[test]
    fn a_fold_without_images_has_share_zero() {
        let balance = balance(&[row("a", "1", "F", 0)]);
        assert_eq!(balance.rows[0].fold_shares, [1.0, 0.0]);
        assert_eq!(balance.worst_deviation, 1.0);
    }
}
