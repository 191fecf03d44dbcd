//! What a format cannot hold.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::closed_enum::closed_enum;
use crate::wording::counted;

closed_enum! {
    /// Something of the data that a format has no place for.
    pub enum FormatLoss ("loss") {
        /// Images that the corrections exclude.
        ExcludedImages = "excluded-images",
        /// Corrections of metadata: the spreadsheet is copied unchanged.
        MetadataCorrections = "metadata-corrections",
        /// Keys of the original annotations other than label and points.
        OtherKeys = "other-keys",
        /// Shapes whose label is not the name of a bone.
        UnknownLabels = "unknown-labels",
        /// Vertices: the format has the pixels of masks.
        Vertices = "vertices",
        /// Pixels: the format fills polygons differently.
        Pixels = "pixels",
        /// Findings of an audit.
        Findings = "findings",
        /// The files of DICOM images: their pixels are written as PNG.
        DicomHeaders = "dicom-headers",
    }
}

impl FormatLoss {
    /// The loss of `count` things, for people.
    pub fn describe(self, count: usize) -> String {
        let of = |one, many| counted(count, one, many);
        match self {
            FormatLoss::ExcludedImages => format!("{} excluded by the corrections", of("image is", "images are")),
            FormatLoss::MetadataCorrections => format!(
                "{} of metadata; the spreadsheet is copied unchanged: give --corrections with the copy too",
                of("correction", "corrections")
            ),
            FormatLoss::OtherKeys => {
                format!("keys other than label and points of {}", of("annotation file", "annotation files"))
            }
            FormatLoss::UnknownLabels => format!("{} with a label that is not a bone", of("shape", "shapes")),
            FormatLoss::Vertices => format!("the vertices of {}; the pixels are exact", of("shape", "shapes")),
            FormatLoss::Pixels => format!("the exact pixels of {}; see the areas below", of("mask", "masks")),
            FormatLoss::Findings => of("finding", "findings"),
            FormatLoss::DicomHeaders => {
                format!("the headers of {}, which become PNG", of("DICOM file", "DICOM files"))
            }
        }
    }
}

/// How many things of each kind are lost.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Losses(BTreeMap<FormatLoss, usize>);

impl Losses {
    /// Adds `count` things; none changes nothing.
    pub fn add(&mut self, loss: FormatLoss, count: usize) {
        if count > 0 {
            *self.0.entry(loss).or_default() += count;
        }
    }

    /// Adds those of another part of the data.
    pub fn extend(&mut self, other: Losses) {
        other.0.into_iter().for_each(|(loss, count)| self.add(loss, count));
    }

    /// The kinds that occurred, with how many.
    pub fn iter(&self) -> impl Iterator<Item = (FormatLoss, usize)> {
        self.0.iter().map(|(loss, count)| (*loss, *count))
    }

    /// How many of this kind are lost.
    pub fn count(&self, loss: FormatLoss) -> usize {
        self.0.get(&loss).copied().unwrap_or(0)
    }
}
