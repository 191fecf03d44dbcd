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
pub use strata::{Bin, JOINT, Keys, MISSING, StrataKey, stratum};
pub use stratified_group::stratified_group_k_fold;
pub use weights::{ImageWeight, WeightRule, read_weights, sample_weights, write_weights};

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use polars::prelude::*;

use crate::closed_enum::closed_enum;
use crate::tables::{ColumnValue, FoldRow, TableRow, texts};
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
    #[error("tables: {0}")]
    TableRow(#[from] PolarsError),
    #[error("image {image_id} has two rows")]
    DuplicateImage { image_id: String },
    #[error("image {image_id} belongs to patient {in_images}, its fold row says {in_folds}")]
    Patient { image_id: String, in_folds: String, in_images: String },
    #[error("{} in more than one fold: {}. Make the folds again with `carpus split`", counted(patients.len(), "patient", "patients"), leaks(patients))]
    Leakage { patients: BTreeMap<String, BTreeSet<u32>> },
    #[error("weight {text:?}: expected KEY=NUMBER (a true/false column) or KEY:VALUE=NUMBER, the number above 0")]
    WeightRule { text: String },
    #[error("weight of `{key}`: the column is not true/false; say for which value: {key}:VALUE=NUMBER")]
    WeightValue { key: String },
    #[error("{path} line {line}: {reason}")]
    WeightFile { path: PathBuf, line: u64, reason: String },
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

/// Deals `hands` to folds, patients whole: images with the columns of their patients, in the order of the images table.
///
/// # Errors
/// The settings do not fit the images, a key is not a column, or an image has two rows.
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
    let mut dealt = hands.clone().lazy().with_column(stratum.alias(STRATUM)).collect()?;

    let (groups, n_patients) = codes(&dealt, "patient_id")?;
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
            let (classes, n_strata) = codes(&dealt, STRATUM)?;
            let sizes = dealt.clone().lazy().group_by([col(STRATUM)]).agg([len().alias("images")]).collect()?;
            let largest = u32::values(sizes.column("images")?)?.into_iter().max().unwrap_or(0) as usize;
            if largest < settings.folds {
                return Err(SplitError::ThinStrata { strata: n_strata, folds: settings.folds, largest });
            }
            stratified_group_k_fold(&classes, n_strata, &groups, n_patients, settings.folds, settings.seed)
        }
    };
    let folds: Vec<u32> = groups.iter().map(|group| fold_of_group[*group] as u32).collect();
    dealt.with_column(Column::new("fold".into(), folds))?;
    let folds = FoldRow::from_frame(&dealt)?;
    check_leakage(&folds, &[])?;
    let balance = Balance::new(&dealt, &keys, settings.folds)?;
    let warnings = warnings(&dealt, &keys, &balance)?;
    Ok(Split { folds, balance, warnings })
}

/// Each value's place among the sorted distinct values of a column, as `np.unique` gives it (UTF-8 sorts as code points do), and
/// how many those are.
fn codes(frame: &DataFrame, column: &str) -> PolarsResult<(Vec<usize>, usize)> {
    let place = col(column).rank(RankOptions { method: RankMethod::Dense, descending: false }, None) - lit(1);
    let places = u32::values(frame.clone().lazy().select([place]).collect()?.column(column)?)?;
    let codes: Vec<usize> = places.into_iter().map(|place| place as usize).collect();
    let n = codes.iter().max().map_or(0, |last| last + 1);
    Ok((codes, n))
}

fn warnings(dealt: &DataFrame, keys: &[StrataKey], balance: &Balance) -> PolarsResult<Vec<String>> {
    let folds = balance.folds.len();
    let mut out = Vec::new();
    for key in keys {
        let missing = col("image_id").filter(key.label.clone().eq(lit(MISSING)));
        let missing = texts(&dealt.clone().lazy().select([missing]).collect()?, "image_id")?;
        if !missing.is_empty() {
            let more = if missing.len() > 3 { ", …" } else { "" };
            let shown: Vec<&str> = missing.iter().flatten().take(3).map(String::as_str).collect();
            out.push(format!(
                "{} of {} images have no `{}` ({}{more}); their value is `{MISSING}`",
                missing.len(),
                dealt.height(),
                key.name,
                shown.join(", ")
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
    let absent = absent_strata(dealt, keys)?;
    if !absent.is_empty() {
        out.push(format!("no image is of stratum {}", absent.join(", ")));
    }
    for size in balance.folds.iter().filter(|f| f.images == 0) {
        out.push(format!("fold {} holds no image", size.fold));
    }
    out.extend(leakage::identical_images(dealt)?);
    Ok(out)
}

/// Combinations of known values that no image has; none are looked for where there would be more than 64.
fn absent_strata(dealt: &DataFrame, keys: &[StrataKey]) -> PolarsResult<Vec<String>> {
    let values = keys.iter().enumerate().map(|(at, key)| {
        let value = key.label.clone().unique().sort(SortOptions::default()).alias(at.to_string());
        dealt.clone().lazy().select([value]).filter(col(at.to_string()).neq(lit(MISSING))).collect()
    });
    let values = values.collect::<PolarsResult<Vec<DataFrame>>>()?;
    if values.iter().map(DataFrame::height).fold(1, usize::saturating_mul) > 64 {
        return Ok(Vec::new());
    }
    let Some(all) = values.into_iter().map(IntoLazy::lazy).reduce(|all, values| all.cross_join(values, None)) else {
        return Ok(Vec::new());
    };
    let all = all.select([stratum((0..keys.len()).map(|at| col(at.to_string()))).alias(STRATUM)]);
    let absent = all.anti_join(dealt.clone().lazy(), col(STRATUM), col(STRATUM)).collect()?;
    String::values(absent.column(STRATUM)?)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::dataset::Side;
    use crate::tables::ImageRow;

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
    fn says_what_is_missing_thin_or_the_same() {
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
    fn senseless_settings_are_refused() {
        let rows = images(&[1, 2, 3]);
        let hands = ImageRow::to_frame(&rows).unwrap();
        let fails = |s: SplitSettings| split(&hands, &s).unwrap_err().to_string();
        assert!(fails(settings(Method::Group, 1, None)).contains("at least 2"));
        assert!(fails(settings(Method::Group, 4, None)).contains("there are 3"));
        assert!(fails(settings(Method::RandomGroup, 2, None)).contains("seed"));
        assert!(matches!(split(&hands.head(Some(0)), &settings(Method::Group, 2, None)), Err(SplitError::NoImages)));
    }
}
