use std::collections::HashMap;

use super::{Evidence, Settings};
use crate::audit::FindingRow;
use crate::dataset::Subset;
use crate::dataset::metadata::Sex;
use crate::figures::style::{MEN, NEUTRAL, Rgb, TEST, TRAIN, WOMEN};
use crate::tables::{FoldRow, ImageRow, PatientRow, Tables};

/// Everything a section may look at.
pub struct Study<'a> {
    /// The tables of a scan.
    pub tables: &'a Tables,
    /// The folds, where given.
    pub folds: Option<&'a [FoldRow]>,
    /// The findings, where given, worst first.
    pub findings: Option<&'a [FindingRow]>,
    /// Evidence pictures by the findings' `evidence`.
    pub evidence: &'a Evidence,
    /// Settings.
    pub settings: &'a Settings,
    /// Images shown as examples, small, by `path`; see [`Study::example_images`].
    pub examples: Option<&'a Evidence>,
    views: Vec<View<'a>>,
}

/// An image with its patient.
#[derive(Clone, Copy)]
pub struct View<'a> {
    /// The image.
    pub image: &'a ImageRow,
    /// Its patient, where the table has it.
    pub patient: Option<&'a PatientRow>,
}

/// A number that the spreadsheet holds of each patient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quantity {
    /// Years.
    Age,
    /// Centimetres.
    Height,
    /// Kilograms.
    Weight,
}

impl Quantity {
    /// All, in the order in which they are shown.
    pub const ALL: [Quantity; 3] = [Quantity::Height, Quantity::Weight, Quantity::Age];

    /// Column of the patients table.
    pub fn key(self) -> &'static str {
        match self {
            Quantity::Age => "age",
            Quantity::Height => "height_cm",
            Quantity::Weight => "weight_kg",
        }
    }

    /// Name.
    pub fn name(self) -> &'static str {
        match self {
            Quantity::Age => "age",
            Quantity::Height => "height",
            Quantity::Weight => "weight",
        }
    }

    /// Unit.
    pub fn unit(self) -> &'static str {
        match self {
            Quantity::Age => "years",
            Quantity::Height => "cm",
            Quantity::Weight => "kg",
        }
    }

    /// The patient's value, if known.
    pub fn of(self, patient: &PatientRow) -> Option<f64> {
        match self {
            Quantity::Age => patient.age,
            Quantity::Height => patient.height_cm,
            Quantity::Weight => patient.weight_kg,
        }
        .filter(|v| v.is_finite())
    }
}

/// The subsets in the order shown.
pub(super) const SUBSETS: [&str; 2] = ["train", "test"];
/// The sexes in the order shown: code, plural.
pub(super) const SEXES: [(&str, &str); 2] = [("F", "women"), ("M", "men")];

/// Colour of a subset.
pub(super) fn subset_colour(subset: &str) -> Rgb {
    if subset == "test" { TEST } else { TRAIN }
}

/// Colour of a sex.
pub(super) fn sex_colour(sex: Option<&str>) -> Rgb {
    match sex {
        Some("F") => WOMEN,
        Some("M") => MEN,
        _ => NEUTRAL,
    }
}

impl<'a> Study<'a> {
    /// Joins images and patients.
    pub fn new(
        tables: &'a Tables,
        folds: Option<&'a [FoldRow]>,
        findings: Option<&'a [FindingRow]>,
        evidence: &'a Evidence,
        settings: &'a Settings,
    ) -> Study<'a> {
        let by_id: HashMap<&str, &PatientRow> =
            tables.patients.iter().rev().map(|p| (p.patient_id.as_str(), p)).collect();
        let views = tables
            .images
            .iter()
            .map(|image| View { image, patient: by_id.get(image.patient_id.as_str()).copied() })
            .collect();
        Study { tables, folds, findings, evidence, settings, examples: None, views }
    }

    /// Images of a subset with their patients, in the order of the table.
    pub fn images(&self, subset: &str) -> impl Iterator<Item = View<'a>> + Clone {
        self.views.iter().copied().filter(move |v| v.image.subset.name() == subset)
    }

    /// Patients with images in a subset.
    pub fn patients(&self, subset: &str) -> impl Iterator<Item = &'a PatientRow> + Clone {
        self.tables.patients.iter().filter(move |p| p.subset.map(Subset::name) == Some(subset))
    }

    /// Typical hands of a subset: the straight one and the rotated one of median |angle|, and the one that leans
    /// most. Each with what it is an example of.
    pub fn example_images(&self, subset: &str) -> Vec<(&'static str, &'a ImageRow)> {
        let sorted = |rotated: bool| {
            let wanted = self.images(subset).filter(|v| v.image.rotated == Some(rotated));
            let mut images: Vec<&ImageRow> = wanted.map(|v| v.image).collect();
            let lean = |i: &ImageRow| i.angle_deg.map_or(0.0, f64::abs);
            images.sort_by(|a, b| lean(a).total_cmp(&lean(b)).then_with(|| a.image_id.cmp(&b.image_id)));
            images
        };
        let (straight, rotated) = (sorted(false), sorted(true));
        let middle = |images: &[&'a ImageRow]| images.get(images.len() / 2).copied();
        let mut examples = Vec::new();
        examples.extend(middle(&straight).map(|i| ("typical straight hand", i)));
        examples.extend(middle(&rotated).map(|i| ("typical rotated hand", i)));
        examples.extend(rotated.last().map(|i| ("leans most", *i)));
        examples
    }
}

impl View<'_> {
    /// `F`, `M`, or `None`.
    pub fn sex(&self) -> Option<&str> {
        self.patient.and_then(|p| p.sex.map(Sex::name))
    }

    /// Sum of the class areas, px; `None` without masks.
    pub fn mask_px(&self) -> Option<f64> {
        self.image.mask_px.filter(|px| *px > 0).map(|px| px as f64)
    }
}
