//! A patient must be in one fold only: two hands of a person are nearly mirror images.

use std::collections::{BTreeMap, BTreeSet};

use polars::prelude::*;

use super::SplitError;
use crate::tables::{FoldRow, ImageRow, TableRow, filtered, texts};

/// Refuses folds that hold a patient or an image twice.
///
/// The patient is that of the images table, which knows better than a fold table edited by hand; an image that the table
/// does not have counts for the patient its fold row names. A row whose patient disagrees with the images table is
/// an error as well.
///
/// # Errors
/// Those three.
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

    let twice = FoldRow::from_frame(&filtered(&rows, col("n_rows").gt(lit(1)))?)?;
    if let Some(row) = twice.into_iter().next() {
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

/// Image files that are the same byte for byte though their patients, and with them their folds, differ: one line each.
pub(super) fn identical_images(dealt: &DataFrame) -> PolarsResult<Vec<String>> {
    let first = |value: Expr| value.first().over([col("sha256")]);
    let fold = || col("fold").cast(DataType::String);
    let image = col("image_id") + lit(" (patient ") + col("patient_id") + lit(", fold ") + fold() + lit(")");
    let line = lit("images ") + first(image.clone())? + lit(" and ") + image + lit(" are the same file; exclude one");
    let lines = dealt.clone().lazy().filter(col("sha256").is_not_null());
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
    fn names_the_patients() {
        let images = [image("a", "001"), image("b", "001"), image("c", "002")];
        assert!(check_leakage(&[row("a", "001", 0), row("b", "001", 0), row("c", "002", 1)], &images).is_ok());
        let error = check_leakage(&[row("a", "001", 0), row("b", "001", 1), row("c", "002", 1)], &images).unwrap_err();
        assert!(error.to_string().contains("001 in folds 0, 1"), "{error}");
    }

    #[test]
    fn the_images_table_knows_the_patient() {
        let images = [image("a", "001"), image("b", "001")];
        let error = check_leakage(&[row("a", "001", 0), row("b", "009", 1)], &images).unwrap_err();
        assert!(matches!(error, SplitError::Patient { .. }), "{error}");
        let error = check_leakage(&[row("a", "001", 0), row("a", "001", 0)], &images).unwrap_err();
        assert!(matches!(error, SplitError::DuplicateImage { .. }), "{error}");
    }
}
