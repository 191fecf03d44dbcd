//! What statistics need of a frame: its columns as slices, and rows chosen by values of closed sets.

use polars::prelude::*;

use crate::closed_enum::Named;

/// Whether a column of a closed set has this value; null where it has none.
pub(crate) fn is<T: Named>(column: &str, value: T) -> Expr {
    col(column).eq(lit(value.text()))
}

/// The values of an expression over the rows as numbers, missing ones and those that are not finite left out.
///
/// # Errors
/// The frame has no such column, or it is of another type.
pub(crate) fn numbers(frame: &DataFrame, value: Expr) -> PolarsResult<Vec<f64>> {
    let value = value.cast(DataType::Float64).alias("value");
    let kept = frame.clone().lazy().select([value]).filter(col("value").is_finite()).collect()?;
    Ok(kept.column("value")?.f64()?.iter().flatten().collect())
}

/// Number of rows for which an expression is true.
///
/// # Errors
/// The frame has no such column, or it is of another type.
pub(crate) fn count(frame: &DataFrame, wanted: Expr) -> PolarsResult<usize> {
    Ok(filtered(frame, wanted)?.height())
}

/// The rows for which an expression is true, in their order.
///
/// # Errors
/// The frame has no such column, or it is of another type.
pub(crate) fn filtered(frame: &DataFrame, wanted: Expr) -> PolarsResult<DataFrame> {
    frame.clone().lazy().filter(wanted).collect()
}

/// The texts of a column, closed sets by their names; `None` for missing values.
///
/// # Errors
/// The frame has no such column.
pub(crate) fn texts(frame: &DataFrame, column: &str) -> PolarsResult<Vec<Option<String>>> {
    let texts = frame.column(column)?.cast(&DataType::String)?;
    Ok(texts.str()?.iter().map(|text| text.map(str::to_owned)).collect())
}

/// The images with the columns of their patients, in the order of the images; a column of both is the image's. The first row of a
/// patient counts.
///
/// # Errors
/// Those of polars.
pub(crate) fn with_patients(images: DataFrame, patients: DataFrame) -> PolarsResult<DataFrame> {
    let patients = patients.lazy().unique_stable(
        Some(Selector::ByName { names: [PlSmallStr::from_static("patient_id")].into(), strict: true }),
        UniqueKeepStrategy::First,
    );
    let mut by = JoinArgs::new(JoinType::Left).with_suffix(Some("_of_patient".into()));
    by.maintain_order = MaintainOrderJoin::Left;
    let joined = images.lazy().join(patients, [col("patient_id")], [col("patient_id")], by);
    joined.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::Subset;
    use crate::dataset::metadata::Sex;
    use crate::tables::{ImageRow, PatientRow, Table};

    #[test]
    fn images_know_their_patients() {
        let image = |id: &str, patient: &str, mask_px| ImageRow {
            image_id: id.into(),
            patient_id: patient.into(),
            mask_px,
            ..ImageRow::default()
        };
        let patient = |id: &str, sex, age| PatientRow { patient_id: id.into(), sex, age, ..PatientRow::default() };
        let images =
            [image("a", "2", Some(7)), image("b", "3", None), image("c", "1", Some(9)), image("d", "2", Some(0))];
        let patients = [
            patient("1", Some(Sex::M), Some(f64::NAN)),
            patient("2", Some(Sex::F), Some(30.0)),
            patient("2", None, None),
        ];
        let frame =
            with_patients(ImageRow::to_frame(&images).unwrap(), PatientRow::to_frame(&patients).unwrap()).unwrap();
        let texts = |name| texts(&frame, name).unwrap().into_iter().map(Option::unwrap_or_default).collect::<Vec<_>>();
        assert_eq!((texts("image_id").join(""), texts("sex").join("-")), ("abcd".into(), "F--M-F".into()));
        assert_eq!(numbers(&frame, col("age")).unwrap(), [30.0, 30.0]);
        assert_eq!(numbers(&frame, col("mask_px")).unwrap(), [7.0, 9.0, 0.0]);
        assert_eq!(count(&frame, is("sex", Sex::F)).unwrap(), 2);
        assert_eq!(count(&frame, is("subset", Subset::Train).and(col("age").gt(lit(1)))).unwrap(), 3);
        assert!(frame.column("sex").unwrap().dtype().is_enum());
        assert!(count(&frame, is("sexes", Sex::F)).is_err());
    }
}
