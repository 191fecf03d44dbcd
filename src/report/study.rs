use polars::prelude::*;

use super::{EvidencePictures, ReportOptions};
use crate::audit::FindingRow;
use crate::dataset::Subset;
use crate::dataset::metadata::Sex;
use crate::figures::style::{MEN, NEUTRAL, Rgb, TEST, TRAIN, WOMEN};
use crate::tables::{FoldRow, ImageRow, PatientRow, TableRow, Tables, filtered, is, with_patients};

/// Everything a section may look at.
pub struct Study<'a> {
    /// The tables of a scan.
    pub tables: &'a Tables,
    /// The folds, where given.
    pub folds: Option<&'a [FoldRow]>,
    /// The findings, where given, worst first.
    pub findings: Option<&'a [FindingRow]>,
    /// Evidence pictures by the findings' `evidence`.
    pub evidence: &'a EvidencePictures,
    /// Settings.
    pub settings: &'a ReportOptions,
    /// Images shown as examples, small, by `path`; see [`Study::example_images`].
    pub examples: Option<&'a EvidencePictures>,
    /// Images with the columns of their patients, in the order of the table.
    pub(super) hands: DataFrame,
    /// Patients.
    pub(super) patients: DataFrame,
}

/// A number that the spreadsheet holds of each patient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatientQuantity {
    /// Years.
    Age,
    /// Centimetres.
    Height,
    /// Kilograms.
    Weight,
}

impl PatientQuantity {
    /// All, in the order in which they are shown.
    pub const ALL: [PatientQuantity; 3] = [PatientQuantity::Height, PatientQuantity::Weight, PatientQuantity::Age];

    /// Column of the patients table.
    pub fn key(self) -> &'static str {
        match self {
            PatientQuantity::Age => "age",
            PatientQuantity::Height => "height_cm",
            PatientQuantity::Weight => "weight_kg",
        }
    }

    /// Name.
    pub fn name(self) -> &'static str {
        match self {
            PatientQuantity::Age => "age",
            PatientQuantity::Height => "height",
            PatientQuantity::Weight => "weight",
        }
    }

    /// Unit.
    pub fn unit(self) -> &'static str {
        match self {
            PatientQuantity::Age => "years",
            PatientQuantity::Height => "cm",
            PatientQuantity::Weight => "kg",
        }
    }
}

/// The subsets in the order shown.
pub(super) const SUBSETS: [Subset; 2] = [Subset::Train, Subset::Test];
/// The sexes in the order shown, and their plurals.
pub(super) const SEXES: [(Sex, &str); 2] = [(Sex::F, "women"), (Sex::M, "men")];

/// Colour of a subset.
pub(super) fn subset_colour(subset: Subset) -> Rgb {
    match subset {
        Subset::Train => TRAIN,
        Subset::Test => TEST,
    }
}

/// Colour of a sex.
pub(super) fn sex_colour(sex: Option<Sex>) -> Rgb {
    match sex {
        Some(Sex::F) => WOMEN,
        Some(Sex::M) => MEN,
        None => NEUTRAL,
    }
}

/// Whether an image has masks.
pub(super) fn has_masks() -> Expr {
    col("mask_px").gt(lit(0u64))
}

impl<'a> Study<'a> {
    /// Joins images and patients.
    ///
    /// # Errors
    /// Those of polars.
    pub fn new(
        tables: &'a Tables,
        folds: Option<&'a [FoldRow]>,
        findings: Option<&'a [FindingRow]>,
        evidence: &'a EvidencePictures,
        settings: &'a ReportOptions,
    ) -> PolarsResult<Study<'a>> {
        let patients = PatientRow::to_frame(&tables.patients)?;
        let hands = with_patients(ImageRow::to_frame(&tables.images)?, patients.clone())?;
        Ok(Study { tables, folds, findings, evidence, settings, examples: None, hands, patients })
    }

    /// Images of a subset with their patients, in the order of the table.
    pub(super) fn hands(&self, subset: Subset) -> PolarsResult<DataFrame> {
        filtered(&self.hands, is("subset", subset))
    }

    /// Those of them that have masks.
    pub(super) fn masked(&self, subset: Subset) -> PolarsResult<DataFrame> {
        filtered(&self.hands(subset)?, has_masks())
    }

    /// Patients with images in a subset.
    pub(super) fn patients(&self, subset: Subset) -> PolarsResult<DataFrame> {
        filtered(&self.patients, is("subset", subset))
    }

    /// Typical hands of each subset: the straight one and the rotated one of median |angle|, and the one that leans
    /// most. Each with what it is an example of.
    ///
    /// # Errors
    /// Those of polars.
    pub fn example_images(&self) -> PolarsResult<Vec<(&'static str, ImageRow)>> {
        let mut found = Vec::new();
        for subset in SUBSETS {
            let by_lean = |wanted: Expr| {
                let lean = [col("angle_deg").abs().fill_null(lit(0.0)), col("image_id")];
                let hands = self.hands(subset)?.lazy().filter(wanted);
                ImageRow::from_frame(&hands.sort_by_exprs(lean, SortMultipleOptions::default()).collect()?)
            };
            let (straight, rotated) = (by_lean(col("rotated").not())?, by_lean(col("rotated"))?);
            let middle = |images: &[ImageRow]| images.get(images.len() / 2).cloned();
            found.extend(middle(&straight).map(|image| ("typical straight hand", image)));
            found.extend(middle(&rotated).map(|image| ("typical rotated hand", image)));
            found.extend(rotated.last().map(|image| ("leans most", image.clone())));
        }
        Ok(found)
    }
}
