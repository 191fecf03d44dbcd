//! Folds: which images are held out together. Patients stay whole, strata stay in proportion, and the
//! assignment is scikit-learn's for the same input, so that folds made elsewhere can be made again here.

mod balance;
mod group;
mod leakage;
mod numpy_random;
mod numpy_sum;
mod strata;
mod stratified_group;
mod weights;

pub use balance::{Balance, BalanceRow, FoldSize, STRATUM};
pub use group::{group_k_fold, shuffled_group_k_fold};
pub use leakage::check_leakage;
pub use numpy_random::RandomState;
pub use strata::{Bin, JOINT, Key, Keys, MISSING, strata};
pub use stratified_group::stratified_group_k_fold;
pub use weights::{ImageWeight, WeightRule, read_weights, sample_weights, write_weights};

use std::collections::BTreeSet;
use std::path::PathBuf;

use crate::closed_enum::closed_enum;
use crate::tables::{FoldRow, ImageRow, PatientRow};
use crate::wording::counted;

closed_enum! {
    /// How patients are assigned to folds.
    pub enum Method ("method") {
        /// `StratifiedGroupKFold`: strata in proportion.
        StratifiedGroup = "stratified-group",
        /// `GroupKFold`: folds of equal numbers of images.
        Group = "group",
        /// `GroupKFold(shuffle=True)`: shuffled, folds of equal numbers of patients.
        RandomGroup = "random-group",
    }
}

/// How to split.
#[derive(Clone, Debug, PartialEq)]
pub struct SplitSettings {
    /// How patients are dealt.
    pub method: Method,
    /// Columns that make a stratum; the methods without strata only report their balance.
    pub by: Vec<String>,
    /// Number of folds, at least 2.
    pub folds: usize,
    /// Seed of the shuffle (`random_state`); `None` does not shuffle.
    pub seed: Option<u32>,
    /// Bins of a numeric key.
    pub quantiles: usize,
}

/// Folds of images and what to know about them.
#[derive(Clone, Debug, PartialEq)]
pub struct Split {
    /// One row an image, in the images' order.
    pub folds: Vec<FoldRow>,
    /// How evenly the strata lie.
    pub balance: Balance,
    /// Missing values, thin strata, empty folds, identical files.
    pub warnings: Vec<String>,
}

/// Folds that cannot be made or must not be used.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum SplitError {
    #[error("{folds} folds: at least 2 are needed")]
    TooFewFolds { folds: usize },
    #[error("no image to split; see `subset` in the images table and what the corrections exclude")]
    NoImages,
    #[error("{folds} folds need at least as many patients; there are {patients}. Ask for fewer folds")]
    TooFewPatients { folds: usize, patients: usize },
    #[error(
        "each of the {strata} strata has fewer than {folds} images (the largest {largest}); use fewer keys, fewer \
         quantiles or fewer folds"
    )]
    ThinStrata { strata: usize, folds: usize, largest: usize },
    #[error("random-group shuffles by its nature; give a seed, or use the method `group`")]
    SeedNeeded,
    #[error("{quantiles} quantiles: at least 2 are needed to tell numbers apart")]
    Quantiles { quantiles: usize },
    #[error("no table has a column `{key}`; columns: {}", available.join(", "))]
    UnknownKey { key: String, available: Vec<&'static str> },
    #[error("table `{table}`: {source}")]
    Table { table: &'static str, source: polars::error::PolarsError },
    #[error("image {image_id} has two rows")]
    DuplicateImage { image_id: String },
    #[error("image {image_id} belongs to patient {in_images}, its fold row says {in_folds}")]
    Patient { image_id: String, in_folds: String, in_images: String },
    #[error("{} in more than one fold: {}. Make the folds again with `carpus split`", counted(patients.len(), "patient", "patients"), leaks(patients))]
    Leakage { patients: Vec<(String, Vec<u32>)> },
    #[error("weight {text:?}: expected KEY=NUMBER (a true/false column) or KEY:VALUE=NUMBER, the number above 0")]
    WeightRule { text: String },
    #[error("weight of `{key}`: the column is not true/false; say for which value: {key}:VALUE=NUMBER")]
    WeightValue { key: String },
    #[error("{path} line {line}: {reason}")]
    WeightFile { path: PathBuf, line: u64, reason: String },
}

fn leaks(patients: &[(String, Vec<u32>)]) -> String {
    let mut lines: Vec<String> = patients
        .iter()
        .take(20)
        .map(|(patient, folds)| {
            let folds: Vec<String> = folds.iter().map(u32::to_string).collect();
            format!("{patient} in folds {}", folds.join(", "))
        })
        .collect();
    if patients.len() > 20 {
        lines.push(format!("and {} more", patients.len() - 20));
    }
    lines.join("; ")
}

/// Deals the `images` to folds, patients whole.
pub fn split(images: &[&ImageRow], patients: &[PatientRow], settings: &SplitSettings) -> Result<Split, SplitError> {
    if settings.folds < 2 {
        return Err(SplitError::TooFewFolds { folds: settings.folds });
    }
    if images.is_empty() {
        return Err(SplitError::NoImages);
    }
    let keys = Keys::new(images, patients, settings.quantiles)?;
    let keys = settings.by.iter().map(|k| keys.key(k)).collect::<Result<Vec<_>, _>>()?;
    let strata = strata(&keys, images.len());

    // Numbers in sorted order, as np.unique gives them: UTF-8 sorts as code points do.
    let (patient_names, groups) = encode(images.iter().map(|i| i.patient_id.as_str()));
    if patient_names.len() < settings.folds {
        return Err(SplitError::TooFewPatients { folds: settings.folds, patients: patient_names.len() });
    }
    let fold_of_group = match settings.method {
        Method::Group => group_k_fold(&groups, patient_names.len(), settings.folds),
        Method::RandomGroup => {
            let seed = settings.seed.ok_or(SplitError::SeedNeeded)?;
            shuffled_group_k_fold(patient_names.len(), settings.folds, seed)
        }
        Method::StratifiedGroup => {
            let (names, classes) = encode(strata.iter().map(String::as_str));
            let mut sizes = vec![0; names.len()];
            for class in &classes {
                sizes[*class] += 1;
            }
            let largest = sizes.into_iter().max().unwrap_or(0);
            if largest < settings.folds {
                return Err(SplitError::ThinStrata { strata: names.len(), folds: settings.folds, largest });
            }
            stratified_group_k_fold(&classes, names.len(), &groups, patient_names.len(), settings.folds, settings.seed)
        }
    };
    let rows: Vec<FoldRow> = images
        .iter()
        .zip(strata)
        .zip(&groups)
        .map(|((image, stratum), group)| FoldRow {
            image_id: image.image_id.clone(),
            patient_id: image.patient_id.clone(),
            stratum,
            fold: fold_of_group[*group] as u32,
        })
        .collect();
    check_leakage(&rows, &[])?;
    let balance = Balance::new(&rows, &keys, settings.folds);
    let warnings = warnings(&rows, &keys, &balance, images);
    Ok(Split { folds: rows, balance, warnings })
}

/// The distinct values in order, and each value's place among them.
fn encode<'a>(values: impl Iterator<Item = &'a str> + Clone) -> (Vec<&'a str>, Vec<usize>) {
    let names: Vec<&str> = values.clone().collect::<BTreeSet<_>>().into_iter().collect();
    let codes = values.map(|v| names.binary_search(&v).expect("every value is among the names")).collect();
    (names, codes)
}

fn warnings(rows: &[FoldRow], keys: &[Key], balance: &Balance, images: &[&ImageRow]) -> Vec<String> {
    let folds = balance.folds.len();
    let mut out = Vec::new();
    for key in keys {
        let missing: Vec<&str> = rows
            .iter()
            .zip(&key.labels)
            .filter(|(_, label)| *label == MISSING)
            .map(|(row, _)| row.image_id.as_str())
            .collect();
        if !missing.is_empty() {
            let more = if missing.len() > 3 { ", …" } else { "" };
            let shown = missing[..missing.len().min(3)].join(", ");
            out.push(format!(
                "{} of {} images have no `{}` ({shown}{more}); their value is `{MISSING}`",
                missing.len(),
                rows.len(),
                key.name
            ));
        }
    }
    for row in balance.rows.iter().filter(|r| r.key == STRATUM) {
        if row.patients < folds {
            let patients = counted(row.patients, "patient", "patients");
            out.push(format!("stratum {} has {patients}, fewer than the {folds} folds", row.value));
        } else {
            let empty: Vec<String> = (0..folds).filter(|f| row.fold_images[*f] == 0).map(|f| f.to_string()).collect();
            if !empty.is_empty() {
                out.push(format!("stratum {} has no image in fold {}", row.value, empty.join(", ")));
            }
        }
    }
    let absent = absent_strata(keys, balance);
    if !absent.is_empty() {
        out.push(format!("no image is of stratum {}", absent.join(", ")));
    }
    for size in balance.folds.iter().filter(|f| f.images == 0) {
        out.push(format!("fold {} holds no image", size.fold));
    }
    out.extend(leakage::identical_images(rows, images));
    out
}

/// Combinations of known values that no image has; none are looked for where there would be more than 64.
fn absent_strata(keys: &[Key], balance: &Balance) -> Vec<String> {
    let mut combinations = vec![String::new()];
    for (i, key) in keys.iter().enumerate() {
        let values: BTreeSet<&String> = key.labels.iter().filter(|l| *l != MISSING).collect();
        if combinations.len() * values.len() > 64 {
            return Vec::new();
        }
        combinations = combinations
            .iter()
            .flat_map(|c| values.iter().map(move |v| if i == 0 { (*v).clone() } else { format!("{c}{JOINT}{v}") }))
            .collect();
    }
    if keys.is_empty() {
        return Vec::new();
    }
    combinations.retain(|c| !balance.rows.iter().any(|r| r.key == STRATUM && r.value == *c));
    combinations
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::dataset::Side;

    fn settings(method: Method, folds: usize, seed: Option<u32>) -> SplitSettings {
        SplitSettings { method, by: vec!["side".into()], folds, seed, quantiles: 4 }
    }

    fn images(patients: &[u8]) -> Vec<ImageRow> {
        let row = |(i, p): (usize, &u8)| ImageRow {
            image_id: format!("image{i}"),
            patient_id: format!("{p:03}"),
            side: [None, Some(Side::L), Some(Side::R)][i * 7 % 3],
            ..ImageRow::default()
        };
        patients.iter().enumerate().map(row).collect()
    }

    proptest! {
        #[test]
        fn no_patient_is_in_two_folds(patients in prop::collection::vec(0u8..40, 1..200), folds in 2usize..8, seed: u32) {
            let rows = images(&patients);
            let refs: Vec<&ImageRow> = rows.iter().collect();
            for method in Method::ALL {
                match split(&refs, &[], &settings(*method, folds, Some(seed))) {
                    Ok(split) => {
                        prop_assert!(check_leakage(&split.folds, &rows).is_ok());
                        prop_assert!(split.folds.iter().all(|r| (r.fold as usize) < folds));
                        let ids: Vec<&str> = split.folds.iter().map(|r| r.image_id.as_str()).collect();
                        let expected: Vec<&str> = rows.iter().map(|r| r.image_id.as_str()).collect();
                        prop_assert_eq!(ids, expected);
                        let sum: usize = split.balance.folds.iter().map(|f| f.images).sum();
                        prop_assert_eq!(sum, rows.len());
                    }
                    Err(SplitError::TooFewPatients { patients: n, .. }) => prop_assert!(n < folds),
                    Err(SplitError::ThinStrata { largest, .. }) => prop_assert!(largest < folds),
                    Err(error) => return Err(TestCaseError::fail(error.to_string())),
                }
            }
        }
    }

    #[test]
    fn says_what_is_missing_thin_or_the_same() {
        let mut rows = images(&[1, 1, 2, 2, 3, 3, 4, 4, 5, 5]);
        for row in &mut rows {
            row.side = Some(Side::L);
        }
        rows[0].side = None;
        rows[1].sha256 = Some("abc".into());
        rows[2].sha256 = Some("abc".into());
        let refs: Vec<&ImageRow> = rows.iter().collect();
        let made = split(&refs, &[], &settings(Method::Group, 5, None)).unwrap();
        let text = made.warnings.join("\n");
        assert!(text.contains("1 of 10 images have no `side` (image0)"), "{text}");
        assert!(text.contains("stratum ? has 1 patient, fewer than the 5 folds"), "{text}");
        assert!(text.contains("are the same file"), "{text}");
    }

    #[test]
    fn senseless_settings_are_refused() {
        let rows = images(&[1, 2, 3]);
        let refs: Vec<&ImageRow> = rows.iter().collect();
        let fails = |s: SplitSettings| split(&refs, &[], &s).unwrap_err().to_string();
        assert!(fails(settings(Method::Group, 1, None)).contains("at least 2"));
        assert!(fails(settings(Method::Group, 4, None)).contains("there are 3"));
        assert!(fails(settings(Method::RandomGroup, 2, None)).contains("seed"));
        assert!(matches!(split(&[], &[], &settings(Method::Group, 2, None)), Err(SplitError::NoImages)));
    }
}
