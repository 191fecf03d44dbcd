//! Access to the columns of a frame for statistics: values as vectors, and rows filtered by values of closed sets.
//!
//! If an enum column is one of several keys (of groups, sorts, joins), cast it to text first: Polars without its feature `dtype-u8`
//! panics on such keys.

use std::collections::BTreeMap;

use polars::prelude::*;

use super::ColumnValue;
use crate::closed_enum::Named;

/// Whether a column of a closed set has this value; null where the value is missing.
pub(crate) fn is<T: Named>(column: &str, value: T) -> Expr {
    col(column).eq(lit(value.text()))
}

/// The values of an expression as numbers, one per row; `None` for missing and non-finite values.
///
/// # Errors
/// The frame has no such column, or it is of another type.
pub(crate) fn values(frame: &DataFrame, value: Expr) -> PolarsResult<Vec<Option<f64>>> {
    let values = frame.clone().lazy().select([value.cast(DataType::Float64).alias("value")]).collect()?;
    Ok(values.column("value")?.f64()?.iter().map(|value| value.filter(|v| v.is_finite())).collect())
}

/// The values of an expression as numbers, without missing and non-finite values.
///
/// # Errors
/// The frame has no such column, or it is of another type.
pub(crate) fn numbers(frame: &DataFrame, value: Expr) -> PolarsResult<Vec<f64>> {
    Ok(values(frame, value)?.into_iter().flatten().collect())
}

/// The values of an expression as numbers, grouped by a column of whole numbers, without missing and non-finite values.
///
/// # Errors
/// The frame has no such column, or it is of another type.
pub(crate) fn numbers_by(frame: &DataFrame, key: &str, value: Expr) -> PolarsResult<BTreeMap<usize, Vec<f64>>> {
    let value = value.cast(DataType::Float64).alias("values");
    let groups = frame.clone().lazy().group_by([col(key)]).agg([value.clone().filter(value.is_finite())]).collect()?;
    let values = groups.column("values")?.list()?.no_null_series_iter();
    let by_key = wholes(&groups, key)?.into_iter().zip(values);
    by_key.map(|(key, values)| Ok((key, values.f64()?.iter().flatten().collect()))).collect()
}

/// Number of rows per value of an expression, values as text: the most frequent first, then in alphabetical order.
///
/// # Errors
/// The frame has no such column, or a value is missing.
pub(crate) fn tally(frame: &DataFrame, value: Expr) -> PolarsResult<Vec<(String, usize)>> {
    let value = value.cast(DataType::String).alias("value");
    let order = SortMultipleOptions::default().with_order_descending_multi([true, false]);
    let groups =
        frame.clone().lazy().group_by([value]).agg([len().alias("n")]).sort(["n", "value"], order).collect()?;
    Ok(cells(&groups, "value")?.into_iter().zip(wholes(&groups, "n")?).collect())
}

/// The cells of a column.
///
/// # Errors
/// The frame has no such column, it is of another type, or a required value is missing.
pub(crate) fn cells<T: ColumnValue>(frame: &DataFrame, column: &str) -> PolarsResult<Vec<T>> {
    T::values(frame.column(column)?)
}

/// The whole numbers of a column.
///
/// # Errors
/// The frame has no such column, or a value is missing or negative.
pub(crate) fn wholes(frame: &DataFrame, column: &str) -> PolarsResult<Vec<usize>> {
    Ok(cells::<u64>(frame, column)?.into_iter().map(|n| n as usize).collect())
}

/// Numbers of rows for which expressions are true, one number per expression.
///
/// # Errors
/// The frame has no such column, or it is of another type.
pub(crate) fn counts<const N: usize>(frame: &DataFrame, wanted: [Expr; N]) -> PolarsResult<[usize; N]> {
    let sums = wanted.into_iter().enumerate().map(|(i, wanted)| wanted.sum().alias(i.to_string()));
    let sums = frame.clone().lazy().select(sums.collect::<Vec<_>>()).collect()?;
    let mut found = [0; N];
    for (n, sum) in found.iter_mut().zip(sums.columns()) {
        *n = sum.get(0)?.try_extract()?;
    }
    Ok(found)
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

/// The values of a column as text; `None` for missing values.
///
/// # Errors
/// The frame has no such column.
pub(crate) fn texts(frame: &DataFrame, column: &str) -> PolarsResult<Vec<Option<String>>> {
    let texts = frame.column(column)?.cast(&DataType::String)?;
    Ok(texts.str()?.iter().map(|text| text.map(str::to_owned)).collect())
}

/// The images with the columns of their patients, in the order of the images. A column of both tables is taken from the images. If
/// a patient has several rows, the first is used.
///
/// # Errors
/// A key column is missing.
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
    use crate::tables::{ImageRow, PatientRow, TableRow};

    #[test]
    fn images_get_the_columns_of_their_patients() {
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
        assert_eq!(values(&frame, col("age")).unwrap(), [Some(30.0), None, None, Some(30.0)]);
        assert_eq!(count(&frame, is("sex", Sex::F)).unwrap(), 2);
        assert_eq!(counts(&frame, [is("sex", Sex::F), is("sex", Sex::M), lit(false)]).unwrap(), [2, 1, 0]);
        assert_eq!(counts(&frame.clear(), [is("sex", Sex::F)]).unwrap(), [0]);
        let kinds = tally(&frame, col("subset") + lit(" ") + col("patient_id")).unwrap();
        assert_eq!(kinds, [("train 2".into(), 2), ("train 1".into(), 1), ("train 3".into(), 1)]);
        let by_mask = numbers_by(&frame, "bits", col("mask_px")).unwrap();
        assert_eq!(by_mask, [(0, vec![7.0, 9.0, 0.0])].into());
        assert_eq!(cells::<Option<Sex>>(&frame, "sex").unwrap()[..3], [Some(Sex::F), None, Some(Sex::M)]);
        assert!(cells::<Sex>(&frame, "sex").is_err());
        assert_eq!(wholes(&frame, "width").unwrap(), [0; 4]);
        assert!(wholes(&frame, "mask_px").is_err());
        assert_eq!(count(&frame, is("subset", Subset::Train).and(col("age").gt(lit(1)))).unwrap(), 3);
        assert!(frame.column("sex").unwrap().dtype().is_enum());
        assert!(count(&frame, is("sexes", Sex::F)).is_err());
    }
}
