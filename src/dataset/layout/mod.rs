//! Finds images, their annotations and the metadata file under a data folder.
//!
//! Two layouts are known:
//!
//! - **subset folders**: `train/…` and `test/…` at the top (either may be absent). Only those two are searched. The
//!   innermost folder that is not one of the usual names for a kind of file (`DCM`, `outputs_json`, `images`, …) is
//!   the patient's.
//! - **flat**: anything else. The whole folder is searched. A folder is a patient's if its name is a number or `ID`
//!   and a number; without one, the patient is the `ID` and number in the file's name, else the file's stem less
//!   `_R` or `_L`. All images are `train` if any has an annotation, otherwise all are `test`; a folder `train` or
//!   `test` further down decides for what is in it.
//!
//! An annotation belongs to the image of the same stem in the same patient's folder of the same subset, whatever the
//! folders of the kinds are called (`DCM/ID001/a.png` and `outputs_json/ID001/a.json`; `scans/a.png` and
//! `outlines/a.json`). Hidden files, `__MACOSX` and Excel's lock files are passed over.

mod metadata_file;
mod names;
mod pairing;
mod walk;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use super::{Problem, Severity};
use names::{patient_in_stem, patient_of_folder, side_in_name, timestamp};
use walk::Found;

/// Which part of the data an image belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Subset {
    /// Annotated, to learn from.
    Train,
    /// To predict.
    Test,
}

impl Subset {
    /// `train` or `test`.
    pub fn name(self) -> &'static str {
        match self {
            Subset::Train => "train",
            Subset::Test => "test",
        }
    }

    /// The subset spelt `name`, in any case.
    pub fn from_name(name: &str) -> Option<Subset> {
        [Subset::Train, Subset::Test].into_iter().find(|s| s.name().eq_ignore_ascii_case(name))
    }
}

/// Left or right hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub enum Side {
    /// Left.
    L,
    /// Right.
    R,
}

impl Side {
    /// `L` or `R`.
    pub fn name(self) -> &'static str {
        match self {
            Side::L => "L",
            Side::R => "R",
        }
    }
}

/// One image found.
#[derive(Clone, Debug, PartialEq)]
pub struct ImageEntry {
    /// File stem, unique in the data set.
    pub image_id: String,
    /// Three digits or whatever the folder says without `ID`: `ID040` → `040`.
    pub patient_id: String,
    /// Train or test.
    pub subset: Subset,
    /// Relative to the root, with `/`.
    pub image: String,
    /// Relative to the root; `None` where there is none.
    pub annotation: Option<String>,
    /// The longest row of digits in the name if it has ten or more (milliseconds, in the data set this is made for).
    pub timestamp: Option<i64>,
    /// From the name's ending `_R`/`_L`, else from the order of the time stamps within a patient of exactly
    /// two images (earlier is right), else `None`. Also `None` where the order gives the side that the name of the
    /// patient's other image claims.
    pub side: Option<Side>,
    /// What the name's ending alone says.
    pub side_in_name: Option<Side>,
}

/// What a data folder holds. Images sorted by (subset: train first, patient_id, file name).
#[derive(Clone, Debug)]
pub struct Layout {
    /// The data folder.
    pub root: PathBuf,
    /// Images.
    pub images: Vec<ImageEntry>,
    /// Workbook or CSV of the patients, relative to the root.
    pub metadata: Option<String>,
    /// What was repaired, passed over or missing.
    pub problems: Vec<Problem>,
}

/// A folder that cannot be a data set.
#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    /// The folder itself cannot be listed.
    #[error("{path}: {source}")]
    Io {
        /// The data folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Nothing in it is an image.
    #[error("{path}: no images found. Expected train/DCM/ID001/*.png, test/DCM/…, or a folder of images")]
    NoImages {
        /// The data folder.
        path: PathBuf,
    },
}

/// An image on the way to an [`ImageEntry`].
struct Candidate {
    file: Found,
    subset: Subset,
    patient_id: String,
}

/// Looks for `train/DCM/ID*/*.png` + `train/outputs_json/ID*/*.json` + `test/DCM/…` + a metadata workbook or
/// CSV at the root; else a flat folder (images with JSON of the same stem beside them or in a sibling folder).
/// The same folder gives the same layout on every machine.
///
/// # Errors
/// The root cannot be listed, or there is no image under it. Everything else is a problem in the layout.
pub fn discover(root: &Path) -> Result<Layout, LayoutError> {
    let walked = walk::walk(root).map_err(|source| LayoutError::Io { path: root.into(), source })?;
    let mut problems = walked.problems;
    if walked.images.is_empty() {
        return Err(LayoutError::NoImages { path: root.into() });
    }
    // In a flat folder one annotation that fits an image makes all images train.
    let fallback = if pairing::any_pair(&walked.images, &walked.annotations) { Subset::Train } else { Subset::Test };
    let mut candidates: Vec<Candidate> = walked
        .images
        .into_iter()
        .map(|file| Candidate {
            subset: file.subset().unwrap_or(fallback),
            patient_id: patient(&file, walked.by_subset),
            file,
        })
        .collect();
    candidates.sort_by(|a, b| {
        let key = |c: &Candidate| (c.subset, c.patient_id.clone(), c.file.stem.clone(), c.file.rank(), c.file.path());
        key(a).cmp(&key(b))
    });
    let left_out = drop_repeated_stems(&mut candidates, &mut problems);
    let files: Vec<&Found> = candidates.iter().map(|c| &c.file).collect();
    let annotations = pairing::pair(&files, &left_out, &walked.annotations, &mut problems);

    let mut images: Vec<ImageEntry> = candidates
        .into_iter()
        .zip(annotations)
        .map(|(c, annotation)| ImageEntry {
            timestamp: timestamp(&c.file.stem),
            side: side_in_name(&c.file.stem),
            side_in_name: side_in_name(&c.file.stem),
            image: c.file.path(),
            image_id: c.file.stem,
            patient_id: c.patient_id,
            subset: c.subset,
            annotation,
        })
        .collect();
    images.sort_by(|a, b| {
        let name = |e: &ImageEntry| e.image.rsplit('/').next().unwrap_or_default().to_owned();
        (a.subset, &a.patient_id, name(a), &a.image).cmp(&(b.subset, &b.patient_id, name(b), &b.image))
    });
    sides_by_time(&mut images, &mut problems);
    report_images(&images, &mut problems);
    let metadata = metadata_file::choose(root, &walked.sheets, &mut problems);
    problems.sort_by(|a, b| (&a.file, &a.place, &a.reason).cmp(&(&b.file, &b.place, &b.reason)));
    Ok(Layout { root: root.into(), images, metadata, problems })
}

/// The patient by folder, else by the file's name.
fn patient(file: &Found, by_subset: bool) -> String {
    let folder = file.own_folders().last().copied();
    match folder {
        Some(folder) if by_subset || names::is_patient_folder(folder) => patient_of_folder(folder),
        _ => patient_in_stem(&file.stem),
    }
}

/// Keeps the first of several images with one stem (train before test, PNG before TIFF before JPEG).
fn drop_repeated_stems(candidates: &mut Vec<Candidate>, problems: &mut Vec<Problem>) -> Vec<Found> {
    let mut first: HashMap<String, String> = HashMap::new();
    let mut left_out = Vec::new();
    let mut kept = Vec::with_capacity(candidates.len());
    for candidate in candidates.drain(..) {
        let path = candidate.file.path();
        match first.get(&candidate.file.stem) {
            None => {
                first.insert(candidate.file.stem.clone(), path);
                kept.push(candidate);
            }
            Some(other) => {
                let reason = format!("its name without ending is that of {other}; an image's name must be unique");
                problems.push(
                    Problem::new(Severity::Error, path, reason, "image left out; rename one of the two")
                        .raw(&candidate.file.stem)
                        .of_patient(candidate.patient_id),
                );
                left_out.push(candidate.file);
            }
        }
    }
    *candidates = kept;
    left_out
}

/// Earlier is right, later is left, in patients of exactly two images with different time stamps.
fn sides_by_time(images: &mut [ImageEntry], problems: &mut Vec<Problem>) {
    let mut patients: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (i, image) in images.iter().enumerate() {
        patients.entry(&image.patient_id).or_default().push(i);
    }
    let pairs: Vec<[usize; 2]> = patients.into_values().filter_map(|v| v.try_into().ok()).collect();
    for [a, b] in pairs {
        let (Some(time_a), Some(time_b)) = (images[a].timestamp, images[b].timestamp) else { continue };
        if time_a == time_b {
            continue;
        }
        let (right, left) = if time_a < time_b { (a, b) } else { (b, a) };
        for (this, other, side) in [(right, left, Side::R), (left, right, Side::L)] {
            if images[this].side_in_name.is_some() {
                continue;
            }
            if images[other].side_in_name == Some(side) {
                let reason = format!(
                    "by the time stamps this is the {} hand, but {} claims that side",
                    side.name(),
                    images[other].image_id
                );
                problems.push(
                    Problem::new(Severity::Warning, images[this].image.clone(), reason, "side left empty")
                        .of_image(images[this].image_id.clone())
                        .of_patient(images[this].patient_id.clone()),
                );
            } else {
                images[this].side = Some(side);
            }
        }
    }
}

/// Train images without annotation.
fn report_images(images: &[ImageEntry], problems: &mut Vec<Problem>) {
    for image in images.iter().filter(|i| i.subset == Subset::Train && i.annotation.is_none()) {
        let reason = "no annotation of the same name; a train image should have one";
        problems.push(
            Problem::new(Severity::Warning, image.image.clone(), reason, "kept without masks")
                .of_image(image.image_id.clone())
                .of_patient(image.patient_id.clone()),
        );
    }
}

#[cfg(test)]
mod tests;
