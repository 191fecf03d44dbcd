//! A patient must be in one fold only, as the two hands of a person are nearly mirror images.

use std::collections::{BTreeMap, BTreeSet};

use polars::prelude::*;

use super::SplitError;
use crate::tables::{FoldRow, ImageRow, TableRow, filtered, texts};

/// Checks that no patient is in two folds and no image has two rows.
///
/// For an image that is not in `images`, the patient of its fold row is used.
///
/// # Errors
/// - A patient is in several folds.
/// - An image has several rows.
/// - The patient of a row differs from that of the images table.
pub fn check_leakage(folds: &[FoldRow], images: &[ImageRow]) -> Result<(), SplitError> {
    let images = df!(
        "image_id" => images.iter().map(|i| i.image_id.as_str()).collect::<Vec<_>>(),
        "in_images" => images.iter().map(|i| i.patient_id.as_str()).collect::<Vec<_>>(),
    )?;
    let images = images.lazy().group_by([col("image_id")]).agg([col("in_images").last()]);
    let mut by = JoinArgs::new(JoinType::Left);
    by.maintain_order = MaintainOrderJoin::Left;
    let rows = FoldRow::to_frame(folds)?.lazy().join(images, [col("image_id")], [col("image_id")], by);
    let n_rows = len().over([col("image_id")])?.alias("n_rows");
    let n_folds = col("fold").n_unique().over([col("patient_id")])?.alias("n_folds");
    let rows = rows.with_columns([n_rows, n_folds]).collect()?;

    let repeated = FoldRow::from_frame(&filtered(&rows, col("n_rows").gt(lit(1)))?)?;
    if let Some(row) = repeated.into_iter().next() {
        return Err(SplitError::DuplicateImage { image_id: row.image_id });
    }
    let wrong = filtered(&rows, col("in_images").neq(col("patient_id")))?;
    let in_images = texts(&wrong, "in_images")?.into_iter().flatten();
    if let Some((row, in_images)) = FoldRow::from_frame(&wrong)?.into_iter().zip(in_images).next() {
        return Err(SplitError::Patient { image_id: row.image_id, in_folds: row.patient_id, in_images });
    }
    let mut patients = BTreeMap::<_, BTreeSet<_>>::new();
    for row in FoldRow::from_frame(&filtered(&rows, col("n_folds").gt(lit(1)))?)? {
        patients.entry(row.patient_id).or_default().insert(row.fold);
    }
    if patients.is_empty() { Ok(()) } else { Err(SplitError::Leakage { patients }) }
}

/// A warning for each pair of byte-identical image files of different patients in different folds.
pub(super) fn identical_images(assigned: &DataFrame) -> PolarsResult<Vec<String>> {
    let first = |value: Expr| value.first().over([col("sha256")]);
    let fold = || col("fold").cast(DataType::String);
    let image = col("image_id") + lit(" (patient ") + col("patient_id") + lit(", fold ") + fold() + lit(")");
    let line = lit("images ") + first(image.clone())? + lit(" and ") + image + lit(" are the same file; exclude one");
    let lines = assigned.clone().lazy().filter(col("sha256").is_not_null());
    let lines = lines.select([line.alias("line"), col("fold").neq(first(col("fold"))?).alias("is_other")]);
    let lines = texts(&lines.filter(col("is_other")).collect()?, "line")?;
    Ok(lines.into_iter().flatten().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(image: &str, patient: &str, fold: u32) -> FoldRow {
        FoldRow { image_id: image.into(), patient_id: patient.into(), stratum: "all".into(), fold }
    }

    fn image(id: &str, patient: &str) -> ImageRow {
        ImageRow { image_id: id.into(), patient_id: patient.into(), ..ImageRow::default() }
    }

    #[test]
    fn patients_in_two_folds_are_named() {
        let images = [image("a", "001"), image("b", "001"), image("c", "002")];
        assert!(check_leakage(&[row("a", "001", 0), row("b", "001", 0), row("c", "002", 1)], &images).is_ok());
        let error = check_leakage(&[row("a", "001", 0), row("b", "001", 1), row("c", "002", 1)], &images).unwrap_err();
        assert!(error.to_string().contains("001 in folds 0, 1"), "{error}");
    }

    #[test]
    fn patients_are_compared_with_the_images_table() {
        let images = [image("a", "001"), image("b", "001")];
        let error = check_leakage(&[row("a", "001", 0), row("b", "009", 1)], &images).unwrap_err();
        assert!(matches!(error, SplitError::Patient { .. }), "{error}");
        let error = check_leakage(&[row("a", "001", 0), row("a", "001", 0)], &images).unwrap_err();
        assert!(matches!(error, SplitError::DuplicateImage { .. }), "{error}");
    }
}
