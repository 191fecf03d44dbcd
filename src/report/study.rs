use std::collections::HashSet;

use polars::prelude::*;

use super::{EvidencePictures, ReportOptions};
use crate::audit::FindingRow;
use crate::dataset::Subset;
use crate::dataset::metadata::Sex;
use crate::figures::style::{MEN, NEUTRAL, Rgb, TEST, TRAIN, WOMEN};
use crate::scores::DiceTable;
use crate::tables::{FoldRow, ImageRow, PatientRow, TableRow, Tables, filtered, is, with_patients};

/// Input of the sections.
pub struct Study<'a> {
    /// The tables of a scan.
    pub tables: &'a Tables,
    /// The folds, if given.
    pub folds: Option<&'a [FoldRow]>,
    /// The findings, if given, worst first.
    pub findings: Option<&'a [FindingRow]>,
    /// Evidence pictures of the findings.
    pub evidence: &'a EvidencePictures,
    /// Options.
    pub settings: &'a ReportOptions,
    /// Pictures of the example images by `path`, if they were read; see [`Study::example_images`].
    pub examples: Option<&'a EvidencePictures>,
    /// Ids of images that corrections exclude and that therefore need no fold; empty by default.
    pub excluded: HashSet<String>,
    /// Dice of predictions by image and class, if given.
    pub scores: Option<&'a DiceTable>,
    /// Images with the columns of their patients, in the order of the images table.
    pub(super) hands: DataFrame,
    /// Patients table.
    pub(super) patients: DataFrame,
}

/// A numeric attribute of a patient in the spreadsheet.
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
    /// All of them, in display order.
    pub const ALL: [PatientQuantity; 3] = [PatientQuantity::Height, PatientQuantity::Weight, PatientQuantity::Age];

    /// Column in the patients table.
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

/// The subsets in display order.
pub(super) const SUBSETS: [Subset; 2] = [Subset::Train, Subset::Test];
/// The sexes in display order, with their plural names.
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
    /// Joins the images with their patients.
    ///
    /// # Errors
    /// polars cannot evaluate the tables.
    pub fn new(
        tables: &'a Tables,
        folds: Option<&'a [FoldRow]>,
        findings: Option<&'a [FindingRow]>,
        evidence: &'a EvidencePictures,
        settings: &'a ReportOptions,
    ) -> PolarsResult<Study<'a>> {
        let patients = PatientRow::to_frame(&tables.patients)?;
        let hands = with_patients(ImageRow::to_frame(&tables.images)?, patients.clone())?;
        Ok(Study {
            tables,
            folds,
            findings,
            evidence,
            settings,
            examples: None,
            excluded: HashSet::new(),
            scores: None,
            hands,
            patients,
        })
    }

    /// Images of a subset with the columns of their patients, in the order of the images table.
    pub(super) fn hands(&self, subset: Subset) -> PolarsResult<DataFrame> {
        filtered(&self.hands, is("subset", subset))
    }

    /// Images of a subset that have masks.
    pub(super) fn masked(&self, subset: Subset) -> PolarsResult<DataFrame> {
        filtered(&self.hands(subset)?, has_masks())
    }

    /// Patients of a subset.
    pub(super) fn patients(&self, subset: Subset) -> PolarsResult<DataFrame> {
        filtered(&self.patients, is("subset", subset))
    }

    /// Example images of each subset, each with a description: the straight hand and the rotated hand with the median
    /// |angle|, and the hand with the largest |angle|.
    ///
    /// # Errors
    /// polars cannot evaluate the tables.
    pub fn example_images(&self) -> PolarsResult<Vec<(&'static str, ImageRow)>> {
        let mut found = Vec::new();
        for subset in SUBSETS {
            let by_angle = |wanted: Expr| {
                let angle = [col("angle_deg").abs().fill_null(lit(0.0)), col("image_id")];
                let hands = self.hands(subset)?.lazy().filter(wanted);
                ImageRow::from_frame(&hands.sort_by_exprs(angle, SortMultipleOptions::default()).collect()?)
            };
            let (straight, rotated) = (by_angle(col("rotated").not())?, by_angle(col("rotated"))?);
            let middle = |images: &[ImageRow]| images.get(images.len() / 2).cloned();
            found.extend(middle(&straight).map(|image| ("typical straight hand", image)));
            found.extend(middle(&rotated).map(|image| ("typical rotated hand", image)));
            found.extend(rotated.last().map(|image| ("most rotated hand", image.clone())));
        }
        Ok(found)
    }
}
