//! The interface of a format, and the list of formats.

use std::io;
use std::path::Path;

use serde::Serialize;

use super::{Losses, coco, cvat, labelme, masks};
use crate::audit::FindingRow;
use crate::closed_enum::closed_enum;
use crate::dataset::ImageEntry;
use crate::dataset::annotation::Annotation;
use crate::mask::HandMasks;

closed_enum! {
    /// How COCO files hold the masks.
    #[derive(Default)]
    pub enum SegmentationForm ("form of segmentation") {
        /// Run lengths of carpus's own masks: areas are exact.
        #[default]
        Rle = "rle",
        /// Polygons, which COCO fills without their border: areas differ.
        Polygon = "polygon",
    }
}

/// An image with its annotation, ready to be written.
pub struct HandCopy<'a> {
    /// Its entry in the data.
    pub entry: &'a ImageEntry,
    /// Number of the image in its subset, from 1.
    pub number: usize,
    /// File of the image in the copy, relative to its folder, with `/`.
    pub file: String,
    /// Width in px.
    pub width: u32,
    /// Height in px.
    pub height: u32,
    /// Distance between the centres of two pixels in mm, if it is known.
    pub spacing_mm: Option<f64>,
    /// Its annotation with corrections applied; `None` if it has none.
    pub annotation: Option<Annotation>,
    /// Findings of an audit about it.
    pub findings: Vec<&'a FindingRow>,
    /// How COCO files hold masks.
    pub segmentation: SegmentationForm,
}

impl HandCopy<'_> {
    /// One mask per bone.
    pub fn masks(&self) -> Option<HandMasks> {
        self.annotation.as_ref().map(|annotation| annotation.masks(self.width, self.height))
    }

    /// Number of shapes with a label that is not the name of a bone.
    pub fn unknown_labels(&self) -> usize {
        let shapes = self.annotation.iter().flat_map(|annotation| &annotation.shapes);
        shapes.filter(|shape| shape.bone.is_none()).count()
    }
}

/// What was written of an image.
#[derive(Clone, Debug, Default)]
pub struct WrittenImage {
    /// Its part of the file that the format has for all images of a subset.
    pub text: Vec<u8>,
    /// Number of objects written: shapes, or masks.
    pub objects: usize,
    /// What the format cannot hold.
    pub losses: Losses,
    /// How the areas change if the format's readers fill the polygons.
    pub areas: Vec<AreaChange>,
}

/// A mask whose area differs in programs that read the format.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct AreaChange {
    /// Area in px.
    pub own_px: u64,
    /// Area in px as a reader of the format computes it.
    pub format_px: u64,
}

impl AreaChange {
    /// The change as a share of the own area.
    pub fn share(self) -> f64 {
        (self.format_px as f64 - self.own_px as f64) / self.own_px.max(1) as f64
    }
}

/// The images of a copy with their parts.
pub struct WrittenImages<'a, 'd> {
    /// In the order of the data.
    pub images: &'a [(HandCopy<'d>, WrittenImage)],
}

/// A format that data sets can be converted to.
pub trait Format: Sync {
    /// Its name on the command line.
    fn name(&self) -> &'static str;

    /// What it is, on one line.
    fn about(&self) -> &'static str;

    /// File of an image in the copy. `ending` is that of its content, without a dot.
    fn image_file(&self, entry: &ImageEntry, ending: &str) -> String;

    /// Writes or encodes the annotation of one image. Called for several images in parallel.
    ///
    /// # Errors
    /// A file cannot be written.
    fn image(&self, image: &HandCopy, folder: &Path) -> io::Result<WrittenImage>;

    /// Writes what all images share, when all are encoded.
    ///
    /// # Errors
    /// A file cannot be written.
    fn finish(&self, parts: &WrittenImages, folder: &Path) -> io::Result<()>;
}

/// Every format.
pub const FORMATS: &[&dyn Format] =
    &[&coco::Coco::PER_SUBSET, &labelme::LabelMe, &cvat::Cvat, &coco::Coco::FIFTYONE, &masks::MaskFiles];

/// The format with this name.
pub fn format_named(name: &str) -> Option<&'static dyn Format> {
    FORMATS.iter().copied().find(|format| format.name() == name)
}

/// The image's file with another ending, in a folder.
pub(super) fn with_ending(folder: &str, file: &str, ending: &str) -> String {
    let (path, name) = file.rsplit_once('/').map_or(("", file), |(path, name)| (path, name));
    let known =
        |e: &str| ["png", "jpg", "jpeg", "tif", "tiff", "dcm", "dicom"].iter().any(|k| k.eq_ignore_ascii_case(e));
    let stem = name.rsplit_once('.').filter(|(stem, e)| known(e) && !stem.is_empty()).map_or(name, |(stem, _)| stem);
    let parts = [folder, path].into_iter().filter(|part| !part.is_empty());
    parts.map(|part| format!("{part}/")).collect::<String>() + stem + "." + ending
}
