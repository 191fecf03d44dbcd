//! One row per patient: the unit of every test.

use polars::prelude::*;

use crate::bones;
use crate::dataset::metadata::Sex;
use crate::tables::is;

/// A quantity of a patient: of the spreadsheet, or the mean over the patient's images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Quantity {
    /// Column of [`per_patient`], and key in `numbers.json`.
    pub key: &'static str,
    /// Name.
    pub name: &'static str,
    /// Unit.
    pub unit: &'static str,
    /// Decimals of a mean.
    pub decimals: usize,
    /// Where it comes from.
    pub origin: Origin,
}

/// Where a quantity comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// The spreadsheet.
    Metadata,
    /// Masks or annotations.
    Masks,
    /// Grey levels of the image.
    Pixels,
}

const fn quantity(
    key: &'static str,
    name: &'static str,
    unit: &'static str,
    decimals: usize,
    origin: Origin,
) -> Quantity {
    Quantity { key, name, unit, decimals, origin }
}

/// Height, weight, age and body mass index.
pub(super) const METADATA: [Quantity; 4] = [
    quantity("height_cm", "height", "cm", 1, Origin::Metadata),
    quantity("weight_kg", "weight", "kg", 1, Origin::Metadata),
    quantity("age", "age", "years", 1, Origin::Metadata),
    quantity("bmi", "body mass index", "kg/m²", 1, Origin::Metadata),
];

/// Means over the patient's images.
pub(super) const OF_IMAGES: [Quantity; 7] = [
    quantity("angle_deg", "absolute angle", "degrees", 1, Origin::Masks),
    MASK,
    quantity("overlap_px", "overlapping pixels", "px", 0, Origin::Masks),
    quantity("mean_grey", "mean grey level", "levels", 1, Origin::Pixels),
    quantity("bright_px", "bright pixels", "px", 0, Origin::Pixels),
    quantity("strip_top_px", "strip at the top", "px", 1, Origin::Pixels),
    quantity("strip_left_px", "strip at the left", "px", 1, Origin::Pixels),
];

/// Mask size of complete hands.
pub(super) const MASK: Quantity = quantity("mask_px", "mask size", "px", 0, Origin::Masks);

/// Column of [`per_patient`] with 1 for men and 0 for women.
pub(super) const MALE: &str = "male";

/// Whether an image has masks of all bones.
pub(super) fn is_complete() -> Expr {
    col("n_bones").eq(lit(bones::COUNT as u32)).and(col("mask_px").gt(lit(0u64)))
}

/// Body mass index of the patient of an image, kg/m².
pub(super) fn bmi() -> Expr {
    let metres = col("height_cm") / lit(100.0);
    when(col("height_cm").gt(lit(0.0))).then(col("weight_kg") / (metres.clone() * metres)).otherwise(lit(NULL))
}

/// One row per patient and subset, in the order of the ids, from images with the columns of their patients: `patient_id`,
/// `subset`, [`MALE`], [`METADATA`] and [`OF_IMAGES`] (means over the patient's images; mask sizes of complete hands only).
///
/// # Errors
/// polars cannot evaluate the images.
pub(super) fn per_patient(hands: &DataFrame) -> PolarsResult<DataFrame> {
    let number = |column: &str| col(column).cast(DataType::Float64);
    let of_image = |quantity: &Quantity| {
        let value = match quantity.key {
            "angle_deg" => number("angle_deg").abs(),
            key @ ("mask_px" | "overlap_px") => when(is_complete()).then(number(key)).otherwise(lit(NULL)),
            key => number(key),
        };
        value.mean().alias(quantity.key)
    };
    let of_patient =
        METADATA.iter().map(|q| if q.key == "bmi" { bmi().first().alias("bmi") } else { number(q.key).first() });
    let male = is("sex", Sex::M).cast(DataType::Float64).first().alias(MALE);
    let columns: Vec<Expr> = of_patient.chain([male]).chain(OF_IMAGES.iter().map(of_image)).collect();
    hands
        .clone()
        .lazy()
        .with_column(col("subset").cast(DataType::String))
        .group_by([col("patient_id"), col("subset")])
        .agg(columns)
        .sort(["patient_id", "subset"], SortMultipleOptions::default())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::Subset;
    use crate::tables::{ImageRow, PatientRow, TableRow, values, with_patients};

    #[test]
    fn images_of_a_patient_are_one_row() {
        let image = |id: &str, patient: &str, bones: u32, mask: u64, angle: f64| ImageRow {
            image_id: id.into(),
            patient_id: patient.into(),
            subset: Subset::Train,
            n_bones: bones,
            mask_px: Some(mask),
            angle_deg: Some(angle),
            ..ImageRow::default()
        };
        let images = [
            image("a", "002", 29, 100, -10.0),
            image("b", "002", 29, 300, 20.0),
            image("c", "001", 29, 50, 0.0),
            image("d", "001", 12, 7, 4.0),
        ];
        let patient = PatientRow {
            patient_id: "002".into(),
            sex: Some(Sex::M),
            height_cm: Some(200.0),
            weight_kg: Some(80.0),
            ..PatientRow::default()
        };
        let hands =
            with_patients(ImageRow::to_frame(&images).unwrap(), PatientRow::to_frame(&[patient]).unwrap()).unwrap();
        let found = per_patient(&hands).unwrap();
        let of = |key: &str| values(&found, col(key)).unwrap();
        // The incomplete hand of patient 001 does not count.
        assert_eq!(of("mask_px"), [Some(50.0), Some(200.0)]);
        assert_eq!(of("angle_deg"), [Some(2.0), Some(15.0)]);
        assert_eq!((of(MALE), of("bmi")), (vec![None, Some(1.0)], vec![None, Some(20.0)]));
    }
}
