//! Masks of images without annotation as a data set that can be trained on.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde::Serialize;
use serde_json::{Value, json};

use super::EnsembleError;
use crate::artefact::write_atomically;
use crate::bones::{self, Bone};
use crate::dataset::{Dataset, ImageEntry};
use crate::mask::HandMasks;
use crate::splits::{ImageWeight, write_weights};

/// The file that describes the data set.
const ABOUT: &str = "pseudo_labels.json";
/// Sampling weights of the images.
const WEIGHTS: &str = "weights.csv";
/// An outline with fewer points encloses nothing.
const LEAST_POINTS: usize = 3;

/// Which images become part of the data set.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PseudoLabelOptions {
    /// Least mean agreement over the bones of an image.
    pub least_mean: f64,
    /// Least agreement of each bone. An image is left out as a whole: a bone without its mask would be trained as
    /// background.
    pub least_of_bone: f64,
}

/// The masks of an image, and how far the members agree about each bone.
#[derive(Clone, Debug)]
pub struct PseudoLabel<'a> {
    /// The image.
    pub entry: &'a ImageEntry,
    /// The masks, in the image's size.
    pub masks: HandMasks,
    /// Per bone the mean Dice of all pairs of members.
    pub agreement: Vec<f64>,
}

/// An image that is not part of the data set.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LeftOutImage {
    /// Its id.
    pub image_id: String,
    /// Why: the agreement that is too low, or a bone without mask.
    pub reason: String,
}

/// The data set.
#[derive(Clone, Debug, PartialEq)]
pub struct PseudoLabels {
    /// The images, with their mean agreement as weight.
    pub images: Vec<ImageWeight>,
    /// The others.
    pub left_out: Vec<LeftOutImage>,
}

/// Writes the images whose members agree as a data set in the layout of the original data: the image files, their masks as
/// outlines, the spreadsheet, `weights.csv` with the mean agreement of each image, for `data.sample-weights` of a training,
/// and `pseudo_labels.json` with `teacher` and all figures.
///
/// Outlines are filled as in any annotation, so a mask with holes becomes the mask without them.
///
/// # Errors
/// An image cannot be read, or a file cannot be written.
pub fn write_pseudo_labels(
    folder: &Path,
    dataset: &Dataset,
    labels: &[PseudoLabel],
    options: PseudoLabelOptions,
    teacher: &Value,
) -> Result<PseudoLabels, EnsembleError> {
    let mut found = PseudoLabels { images: Vec::new(), left_out: Vec::new() };
    let mut kept: Vec<&PseudoLabel> = Vec::new();
    for label in labels {
        match reason_to_leave_out(label, options) {
            Some(reason) => {
                found.left_out.push(LeftOutImage { image_id: label.entry.image_id.clone(), reason });
            }
            None => {
                found.images.push(ImageWeight { image_id: label.entry.image_id.clone(), weight: label.mean() });
                kept.push(label);
            }
        }
    }
    kept.par_iter().try_for_each(|label| write_image(folder, dataset, label))?;
    if let (Some(name), Ok(Some(bytes))) = (dataset.metadata(), dataset.metadata_bytes()) {
        let name = name.rsplit('/').next().unwrap_or(name);
        write_file(&folder.join(name), &bytes)?;
    }
    write_weights(&folder.join(WEIGHTS), &found.images).map_err(|error| EnsembleError::Write {
        path: folder.join(WEIGHTS),
        source: std::io::Error::other(error.to_string()),
    })?;
    let about = json!({
        "teacher": teacher,
        "classes": bones::NAMES,
        "least_mean_agreement": options.least_mean,
        "least_agreement_of_a_bone": options.least_of_bone,
        // Not `images`, by which COCO files are recognised.
        "labelled": kept.iter().map(|label| label.about()).collect::<Vec<_>>(),
        "left_out": found.left_out,
    });
    let text = serde_json::to_string_pretty(&about).expect("texts and numbers");
    write_file(&folder.join(ABOUT), text.as_bytes())?;
    Ok(found)
}

impl PseudoLabel<'_> {
    fn mean(&self) -> f64 {
        self.agreement.iter().sum::<f64>() / self.agreement.len().max(1) as f64
    }

    fn about(&self) -> Value {
        json!({"image_id": self.entry.image_id, "patient_id": self.entry.patient_id, "agreement": self.mean()})
    }
}

fn reason_to_leave_out(label: &PseudoLabel, options: PseudoLabelOptions) -> Option<String> {
    if let Some(bone) = Bone::all().find(|bone| label.masks[*bone].is_empty()) {
        return Some(format!("{bone} has no mask"));
    }
    let lowest = Bone::all().zip(&label.agreement).min_by(|a, b| a.1.total_cmp(b.1));
    if let Some((bone, dice)) = lowest.filter(|(_, dice)| **dice < options.least_of_bone) {
        return Some(format!("agreement {dice:.4} of {bone}"));
    }
    (label.mean() < options.least_mean).then(|| format!("mean agreement {:.4}", label.mean()))
}

/// Writes the image and its annotation.
fn write_image(folder: &Path, dataset: &Dataset, label: &PseudoLabel) -> Result<(), EnsembleError> {
    let entry = label.entry;
    let patient = match entry.patient_id.bytes().all(|b| b.is_ascii_digit()) {
        true => format!("ID{}", entry.patient_id),
        false => entry.patient_id.clone(),
    };
    let file = dataset.root().join(&entry.image);
    let bytes = std::fs::read(&file).map_err(|source| EnsembleError::Write { path: file, source })?;
    write_file(&folder.join("train/DCM").join(&patient).join(entry.file_name()), &bytes)?;
    let shapes = label.masks.iter().flat_map(|(bone, mask)| {
        let outlines = mask.outlines().into_iter().filter(|points| points.len() >= LEAST_POINTS);
        outlines.map(move |points| {
            json!({"type": "poly_seg", "attributes": {"pseudo_label": true}, "label": bone.name(), "points": points})
        })
    });
    let document = json!({
        "annotations": shapes.collect::<Vec<_>>(),
        "attributes": {},
        "filename": entry.file_name(),
        "metadata": {"width": label.masks.width(), "height": label.masks.height()},
    });
    let stem = Path::new(entry.file_name()).file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let path = folder.join("train/outputs_json").join(&patient).join(format!("{stem}.json"));
    write_file(&path, document.to_string().as_bytes())
}

fn write_file(path: &Path, bytes: &[u8]) -> Result<(), EnsembleError> {
    let failed = |source| EnsembleError::Write { path: PathBuf::from(path), source };
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).map_err(failed)?;
    }
    write_atomically(path, |out| out.write_all(bytes)).map_err(failed)
}
