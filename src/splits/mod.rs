//! Assignment of images to folds. All images of a patient are in one fold, and strata are in proportion. The assignment is the same
//! as scikit-learn's for the same input, so that folds made with scikit-learn can be reproduced.

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
pub use strata::{Bin, JOINT, Keys, MISSING, StrataKey, stratum};
pub use stratified_group::stratified_group_k_fold;
pub use weights::{ImageWeight, SampleWeights, WeightRule, read_weights, sample_weights, write_weights};

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use polars::prelude::*;

use crate::closed_enum::{closed_enum, closest, expected_one_of};
use crate::tables::{ColumnValue, FoldRow, TableRow, texts};
use crate::wording::counted;

closed_enum! {
    /// How patients are assigned to folds.
    pub enum Method ("method") {
        /// `StratifiedGroupKFold`: folds with proportional strata.
        StratifiedGroup = "stratified-group",
        /// `GroupKFold`: folds with equal numbers of images.
        Group = "group",
        /// `GroupKFold(shuffle=True)`: patients in random order, folds with equal numbers of patients.
        RandomGroup = "random-group",
    }
}

/// Settings of a split.
#[derive(Clone, Debug, PartialEq)]
pub struct SplitSettings {
    /// How patients are assigned to folds.
    pub method: Method,
    /// Columns that form the strata; methods without strata only report their balance.
    pub by: Vec<String>,
    /// Number of folds, at least 2.
    pub folds: usize,
    /// Seed of the shuffle (`random_state`); `None` for no shuffle.
    pub seed: Option<u32>,
    /// Number of bins of a numeric key.
    pub quantiles: usize,
}

/// Folds of images with their balance and warnings.
#[derive(Clone, Debug, PartialEq)]
pub struct Split {
    /// One row per image, in the order of the images.
    pub folds: Vec<FoldRow>,
    /// Balance of the strata over the folds.
    pub balance: Balance,
    /// Warnings of missing values, keys with one value, small strata, empty folds and identical files.
    pub warnings: Vec<String>,
}

/// Folds that cannot be made or used.
#[derive(Debug, thiserror::Error)]
pub enum SplitError {
    /// Fewer than two folds are requested.
    #[error("--folds {folds}: at least 2 folds are needed")]
    TooFewFolds {
        /// Number of folds.
        folds: usize,
    },
    /// The images table has no rows, or all its images are excluded.
    #[error("no image to split; check the column `subset` of the images table and the exclusions in the corrections")]
    NoImages,
    /// There are more folds than patients.
    #[error("{folds} folds need at least {folds} patients, but there are {patients}; use fewer folds")]
    TooFewPatients {
        /// Number of folds.
        folds: usize,
        /// Number of patients.
        patients: usize,
    },
    /// No stratum has at least one image per fold.
    #[error(
        "each of the {strata} strata has fewer than {folds} images (the largest has {largest}); use fewer keys, fewer \
         quantiles or fewer folds"
    )]
    ThinStrata {
        /// Number of strata.
        strata: usize,
        /// Number of folds.
        folds: usize,
        /// Number of images in the largest stratum.
        largest: usize,
    },
    /// The method draws at random, but there is no seed.
    #[error("the method `random-group` needs a shuffle; give a seed, or use the method `group`")]
    SeedNeeded,
    /// Numbers are to be divided into fewer than two quantiles.
    #[error("{quantiles} quantiles; expected at least 2")]
    Quantiles {
        /// Number of quantiles.
        quantiles: usize,
    },
    /// A key is none of the columns of the images and their patients.
    #[error("unknown column `{key}`{}", expected_one_of(closest(key, available.iter().copied()), &available.join(", ")))]
    UnknownKey {
        /// The key.
        key: String,
        /// The columns that can be keys.
        available: Vec<&'static str>,
    },
    /// Polars cannot compute with the tables.
    #[error("tables: {0}")]
    Table(#[from] PolarsError),
    /// Two rows of the folds have the same image.
    #[error("image {image_id} has more than one row in the fold table")]
    DuplicateImage {
        /// The id of the image.
        image_id: String,
    },
    /// The folds and the images table name different patients for an image.
    #[error("image {image_id} belongs to patient {in_images}, but its row in the fold table has patient {in_folds}")]
    Patient {
        /// The id of the image.
        image_id: String,
        /// Its patient in the folds.
        in_folds: String,
        /// Its patient in the images table.
        in_images: String,
    },
    /// Patients have images in several folds.
    #[error("{} in more than one fold: {}. Make the folds again with `carpus split`", counted(patients.len(), "patient", "patients"), leaks(patients))]
    Leakage {
        /// The folds of each such patient.
        patients: BTreeMap<String, BTreeSet<u32>>,
    },
    /// The text of a weight lacks `=`, its key, or a finite number above 0.
    #[error(
        "weight {text:?}: expected KEY=NUMBER (for a true/false column) or KEY:VALUE=NUMBER, with a number above 0"
    )]
    WeightRule {
        /// The text.
        text: String,
    },
    /// The text of a weight has no value, but its column is not true/false.
    #[error("weight of `{key}`: the column is not true/false; give the value: {key}:VALUE=NUMBER")]
    WeightValue {
        /// The name of the column.
        key: String,
    },
    /// The product of the weights of an image is 0 or infinite.
    #[error(
        "the weights of image {image_id} multiply to {weight}; expected a finite number above 0. Use weights nearer to 1"
    )]
    WeightProduct {
        /// The id of the image.
        image_id: String,
        /// The product.
        weight: f64,
    },
    /// The file of sample weights cannot be opened, or one of its records cannot be read.
    #[error("{path}: {source}")]
    WeightCsv {
        /// The file.
        path: PathBuf,
        /// The error of the CSV reader.
        source: csv::Error,
    },
    /// The file of sample weights lacks a column, or has an invalid weight.
    #[error("{path} line {line}: {reason}")]
    WeightFile {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: u64,
        /// What is wrong with the line.
        reason: String,
    },
}

fn leaks(patients: &BTreeMap<String, BTreeSet<u32>>) -> String {
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

/// Assigns images to folds, all images of a patient to the same one. `hands` are the images with the columns of their patients, in
/// the order of the images table.
///
/// # Errors
/// - There are too few folds, images, patients or quantiles, or only strata smaller than the number of folds.
/// - The method needs a seed.
/// - A key is not a column, or an image has several rows.
pub fn split(hands: &DataFrame, settings: &SplitSettings) -> Result<Split, SplitError> {
    if settings.folds < 2 {
        return Err(SplitError::TooFewFolds { folds: settings.folds });
    }
    if hands.height() == 0 {
        return Err(SplitError::NoImages);
    }
    let keys = Keys::new(hands, settings.quantiles)?;
    let keys = settings.by.iter().map(|k| keys.key(k)).collect::<Result<Vec<_>, _>>()?;
    let stratum = stratum(keys.iter().map(|key| key.label.clone()));
    let mut assigned = hands.clone().lazy().with_column(stratum.alias(STRATUM)).collect()?;

    let (groups, n_patients) = codes(&assigned, "patient_id")?;
    if n_patients < settings.folds {
        return Err(SplitError::TooFewPatients { folds: settings.folds, patients: n_patients });
    }
    let fold_of_group = match settings.method {
        Method::Group => group_k_fold(&groups, n_patients, settings.folds),
        Method::RandomGroup => {
            let seed = settings.seed.ok_or(SplitError::SeedNeeded)?;
            shuffled_group_k_fold(n_patients, settings.folds, seed)
        }
        Method::StratifiedGroup => {
            let (classes, n_strata) = codes(&assigned, STRATUM)?;
            let sizes = assigned.clone().lazy().group_by([col(STRATUM)]).agg([len().alias("images")]).collect()?;
            let largest = u32::values(sizes.column("images")?)?.into_iter().max().unwrap_or(0) as usize;
            if largest < settings.folds {
                return Err(SplitError::ThinStrata { strata: n_strata, folds: settings.folds, largest });
            }
            stratified_group_k_fold(&classes, n_strata, &groups, n_patients, settings.folds, settings.seed)
        }
    };
    let folds: Vec<u32> = groups.iter().map(|group| fold_of_group[*group] as u32).collect();
    assigned.with_column(Column::new("fold".into(), folds))?;
    let folds = FoldRow::from_frame(&assigned)?;
    check_leakage(&folds, &[])?;
    let balance = Balance::new(&assigned, &keys, settings.folds)?;
    let warnings = warnings(&assigned, &keys, &balance)?;
    Ok(Split { folds, balance, warnings })
}

/// For each row the index of its value among the sorted distinct values of a column, as `np.unique` returns it (UTF-8 sorts like
/// code points), and the number of distinct values.
fn codes(frame: &DataFrame, column: &str) -> PolarsResult<(Vec<usize>, usize)> {
    let rank = col(column).rank(RankOptions { method: RankMethod::Dense, descending: false }, None) - lit(1);
    let ranks = u32::values(frame.clone().lazy().select([rank]).collect()?.column(column)?)?;
    let codes: Vec<usize> = ranks.into_iter().map(|rank| rank as usize).collect();
    let n = codes.iter().max().map_or(0, |last| last + 1);
    Ok((codes, n))
}

fn warnings(assigned: &DataFrame, keys: &[StrataKey], balance: &Balance) -> PolarsResult<Vec<String>> {
    let folds = balance.folds.len();
    let mut out = Vec::new();
    for key in keys {
        let missing = col("image_id").filter(key.label.clone().eq(lit(MISSING)));
        let missing = texts(&assigned.clone().lazy().select([missing]).collect()?, "image_id")?;
        if !missing.is_empty() {
            let more = if missing.len() > 3 { ", …" } else { "" };
            let shown: Vec<&str> = missing.iter().flatten().take(3).map(String::as_str).collect();
            out.push(format!(
                "{} of {} images have no `{}` ({}{more}); they count as `{MISSING}`",
                missing.len(),
                assigned.height(),
                key.name,
                shown.join(", ")
            ));
        }
        if let [only] = &key.bins[..]
            && only.low == only.high
        {
            // `height_cm` for `height`; `height_raw` is a text.
            let is_similar = |name: &str| name.starts_with(&format!("{}_", key.name)) && !name.ends_with("_raw");
            let similar = assigned.get_column_names().into_iter().find(|name| is_similar(name));
            let advice = similar.map(|name| format!("; did you mean `{name}`?")).unwrap_or_default();
            out.push(format!("`{}` has only the value {}, so it forms no strata{advice}", key.name, only.low));
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
    let absent = absent_strata(assigned, keys)?;
    if !absent.is_empty() {
        out.push(format!("no image has stratum {}", absent.join(", ")));
    }
    for size in balance.folds.iter().filter(|f| f.images == 0) {
        out.push(format!("fold {} has no image", size.fold));
    }
    out.extend(leakage::identical_images(assigned)?);
    Ok(out)
}

/// Combinations of known values that no image has; an empty list if there are more than 64 combinations.
fn absent_strata(assigned: &DataFrame, keys: &[StrataKey]) -> PolarsResult<Vec<String>> {
    let values = keys.iter().enumerate().map(|(at, key)| {
        let value = key.label.clone().unique().sort(SortOptions::default()).alias(at.to_string());
        assigned.clone().lazy().select([value]).filter(col(at.to_string()).neq(lit(MISSING))).collect()
    });
    let values = values.collect::<PolarsResult<Vec<DataFrame>>>()?;
    if values.iter().map(DataFrame::height).fold(1, usize::saturating_mul) > 64 {
        return Ok(Vec::new());
    }
    let Some(all) = values.into_iter().map(IntoLazy::lazy).reduce(|all, values| all.cross_join(values, None)) else {
        return Ok(Vec::new());
    };
    let all = all.select([stratum((0..keys.len()).map(|at| col(at.to_string()))).alias(STRATUM)]);
    let absent = all.anti_join(assigned.clone().lazy(), col(STRATUM), col(STRATUM)).collect()?;
    String::values(absent.column(STRATUM)?)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::dataset::Side;
    use crate::tables::{ImageRow, PatientRow, with_patients};

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
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn no_patient_is_in_two_folds(patients in prop::collection::vec(0u8..40, 1..200), folds in 2usize..8, seed: u32) {
            let rows = images(&patients);
            let hands = ImageRow::to_frame(&rows).unwrap();
            for method in Method::ALL {
                match split(&hands, &settings(*method, folds, Some(seed))) {
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
    fn missing_values_small_strata_and_identical_files_are_warned_of() {
        let mut rows = images(&[1, 1, 2, 2, 3, 3, 4, 4, 5, 5]);
        for row in &mut rows {
            row.side = Some(Side::L);
        }
        rows[0].side = None;
        rows[1].sha256 = Some("abc".into());
        rows[2].sha256 = Some("abc".into());
        let hands = ImageRow::to_frame(&rows).unwrap();
        let made = split(&hands, &settings(Method::Group, 5, None)).unwrap();
        let text = made.warnings.join("\n");
        assert!(text.contains("1 of 10 images have no `side` (image0)"), "{text}");
        assert!(text.contains("stratum ? has 1 patient, fewer than the 5 folds"), "{text}");
        let same =
            "images image1 (patient 001, fold 4) and image2 (patient 002, fold 3) are the same file; exclude one";
        assert!(text.contains(same), "{text}");
    }

    #[test]
    fn numeric_keys_with_one_value_are_warned_of() {
        let patients = [PatientRow { patient_id: "001".into(), ..PatientRow::default() }];
        let mut rows = images(&[1, 2, 3, 4]);
        rows.iter_mut().for_each(|row| row.height = 2048);
        let hands =
            with_patients(ImageRow::to_frame(&rows).unwrap(), PatientRow::to_frame(&patients).unwrap()).unwrap();
        let settings = SplitSettings { by: vec!["height".into()], ..settings(Method::Group, 2, None) };
        let text = split(&hands, &settings).unwrap().warnings.join("\n");
        assert!(
            text.contains("`height` has only the value 2048, so it forms no strata; did you mean `height_cm`?"),
            "{text}"
        );
    }

    #[test]
    fn invalid_settings_are_refused() {
        let rows = images(&[1, 2, 3]);
        let hands = ImageRow::to_frame(&rows).unwrap();
        let fails = |s: SplitSettings| split(&hands, &s).unwrap_err().to_string();
        assert!(fails(settings(Method::Group, 1, None)).contains("at least 2 folds are needed"));
        assert!(fails(settings(Method::Group, 4, None)).contains("but there are 3"));
        assert!(fails(settings(Method::RandomGroup, 2, None)).contains("seed"));
        assert!(
            fails(SplitSettings { by: vec!["gender".into()], ..settings(Method::Group, 2, None) }).contains("`gender`")
        );
        assert!(matches!(split(&hands.head(Some(0)), &settings(Method::Group, 2, None)), Err(SplitError::NoImages)));
    }
}
