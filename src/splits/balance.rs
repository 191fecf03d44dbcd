//! How evenly strata lie in folds.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Serialize;

use super::strata::{Bin, Key};
use crate::artefact::write_atomically;
use crate::tables::{FoldRow, TableError};

/// Name of the rows that count whole strata.
pub const STRATUM: &str = "stratum";

/// Size of a fold.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FoldSize {
    /// Number of the fold.
    pub fold: usize,
    /// Images held out in it.
    pub images: usize,
    /// Patients held out in it.
    pub patients: usize,
    /// Share of all images.
    pub share: f64,
}

/// One value of one key (or one stratum) in the folds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BalanceRow {
    /// The key's name, or `stratum` for the keys together.
    pub key: String,
    /// The value.
    pub value: String,
    /// Images with it.
    pub images: usize,
    /// Patients with at least one such image.
    pub patients: usize,
    /// Share of all images, 0 to 1.
    pub share: f64,
    /// Images with it, a fold.
    pub fold_images: Vec<usize>,
    /// Share of the fold's images, a fold; 0 in a fold with no image.
    pub fold_shares: Vec<f64>,
    /// The largest distance of a fold's share from the overall share.
    pub worst_deviation: f64,
}

/// The balance of a split.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Balance {
    /// Folds and their sizes.
    pub folds: Vec<FoldSize>,
    /// Strata first, then the values of each key; sorted by value.
    pub rows: Vec<BalanceRow>,
    /// Largest deviation of any stratum's share in any fold.
    pub worst_deviation: f64,
    /// The bins of numeric keys, by key.
    pub bins: BTreeMap<String, Vec<Bin>>,
}

impl Balance {
    /// Counts what the folds hold. `keys` have one label for each row of `rows`.
    pub fn new(rows: &[FoldRow], keys: &[Key], folds: usize) -> Balance {
        let all: Vec<usize> = (0..rows.len()).collect();
        let in_fold =
            |members: &[usize], fold: usize| members.iter().filter(|i| rows[**i].fold as usize == fold).count();
        let patients = |members: &mut dyn Iterator<Item = usize>| {
            members.map(|i| rows[i].patient_id.as_str()).collect::<BTreeSet<_>>().len()
        };
        let sizes: Vec<FoldSize> = (0..folds)
            .map(|fold| {
                let images = in_fold(&all, fold);
                FoldSize {
                    fold,
                    images,
                    patients: patients(&mut all.iter().copied().filter(|i| rows[*i].fold as usize == fold)),
                    share: images as f64 / rows.len().max(1) as f64,
                }
            })
            .collect();
        let count = |key: &str, value: &str, members: &[usize]| {
            let share = members.len() as f64 / rows.len().max(1) as f64;
            let fold_images: Vec<usize> = (0..folds).map(|f| in_fold(members, f)).collect();
            let fold_shares: Vec<f64> =
                fold_images.iter().zip(&sizes).map(|(n, size)| *n as f64 / size.images.max(1) as f64).collect();
            BalanceRow {
                key: key.to_owned(),
                value: value.to_owned(),
                images: members.len(),
                patients: patients(&mut members.iter().copied()),
                share,
                worst_deviation: fold_shares.iter().map(|s| (s - share).abs()).fold(0.0, f64::max),
                fold_images,
                fold_shares,
            }
        };
        let by_value = |key: &str, label: &dyn Fn(usize) -> String| -> Vec<BalanceRow> {
            let mut members: BTreeMap<String, Vec<usize>> = BTreeMap::new();
            for i in 0..rows.len() {
                members.entry(label(i)).or_default().push(i);
            }
            members.iter().map(|(value, members)| count(key, value, members)).collect()
        };
        let mut table = by_value(STRATUM, &|i| rows[i].stratum.clone());
        let worst_deviation = table.iter().map(|r| r.worst_deviation).fold(0.0, f64::max);
        if keys.len() > 1 {
            for key in keys {
                table.extend(by_value(&key.name, &|i| key.labels[i].clone()));
            }
        }
        let bins = keys.iter().filter(|k| !k.bins.is_empty()).map(|k| (k.name.clone(), k.bins.clone())).collect();
        Balance { folds: sizes, rows: table, worst_deviation, bins }
    }

    /// Header and cells as a table: strata and values down, folds across; shares from 0 to 1. Its first row, of
    /// key `all`, has the folds' sizes.
    pub fn to_cells(&self) -> (Vec<String>, Vec<Vec<String>>) {
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

    /// Writes the table as CSV and the whole as JSON, each by rename.
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

    fn row(image: &str, patient: &str, stratum: &str, fold: u32) -> FoldRow {
        FoldRow { image_id: image.into(), patient_id: patient.into(), stratum: stratum.into(), fold }
    }

    #[test]
    fn shares_and_the_worst_deviation() {
        let rows = [row("a", "1", "F", 0), row("b", "1", "M", 0), row("c", "2", "F", 1), row("d", "2", "F", 1)];
        let balance = Balance::new(&rows, &[], 2);
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
    fn a_fold_with_no_image_has_share_zero() {
        let balance = Balance::new(&[row("a", "1", "F", 0)], &[], 2);
        assert_eq!(balance.rows[0].fold_shares, [1.0, 0.0]);
        assert_eq!(balance.worst_deviation, 1.0);
    }
}
