//! Finds images, their annotations and the metadata file under a data folder.
//!
//! Two layouts are known:
//!
//! - **subset folders**: `train/…` and `test/…` at the top level (one may be missing). Only these two are searched. The
//!   patient's folder is the innermost one that is not named after a kind of file (`DCM`, `outputs_json`, `images`, …).
//! - **flat**: anything else. The whole folder is searched. A folder is a patient's if its name is a number or `ID`
//!   and a number; without such a folder, the patient is the `ID` and number in the file's name, else the file's stem
//!   without `_R` or `_L`. All images are `train` if any has an annotation, otherwise all are `test`; a folder `train`
//!   or `test` at a lower level sets the subset of its content.
//!
//! An annotation belongs to the image with the same stem in the same patient's folder of the same subset, whatever the
//! names of the folders for kinds of files (`DCM/ID001/a.png` and `outputs_json/ID001/a.json`; `scans/a.png` and
//! `outlines/a.json`). Hidden files, `__MACOSX` and Excel's lock files are skipped.

mod metadata_file;
mod pairing;
mod walk;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use super::annotation::{self, AnnotationError, Document};
use super::names::{self, patient_in_stem, patient_of_folder, side_in_name, timestamp};
use super::source::{DatasetError, Listing, Opened, Source, SourceAnnotation, SourceKind};
use super::{ImageEntry, Problem, ProblemSeverity, Side, Subset, WithProblems, conversion};
use crate::bounded;
use crate::digest::sha256;
use walk::FoundFile;
pub(super) use walk::subset_of_folder;

/// The source of this module, which opens any folder.
pub const KIND: SourceKind = SourceKind { name: "folder", open: |root| Some(open(root)) };

/// A folder of images with one JSON file per annotation.
struct Folder {
    root: PathBuf,
    applied: Option<HashMap<String, Vec<String>>>,
    top_level: Option<u16>,
}

/// File in a folder of crops that describes how each crop was made; `carpus clean` writes it.
pub const TRANSFORMS: &str = "transforms.jsonl";

fn open(root: &Path) -> Result<Opened, DatasetError> {
    let mut listing = discover(root)?;
    let path = root.join(TRANSFORMS);
    let mut top_level = None;
    let applied = match bounded::read_text(&path, bounded::MAX_TEXT) {
        Ok(text) => {
            let lines = crop_lines(&text);
            // One hand of a pair may have no crop, so the sides cannot be inferred from the time stamps here.
            for entry in &mut listing.images {
                entry.side = lines.get(&entry.image_id).map_or(entry.side, |line| line.side);
            }
            top_level = lines.values().filter_map(|line| line.top_level).max();
            Some(lines.into_iter().map(|(id, line)| (id, line.corrections)).collect())
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(source) => return Err(DatasetError::Io { path, source }),
    };
    Ok((Box::new(Folder { root: root.into(), applied, top_level }), listing))
}

/// Properties of a crop in a line of [`TRANSFORMS`] that its file does not contain.
#[derive(serde::Deserialize)]
struct CropLine {
    image_id: String,
    side: Option<Side>,
    corrections: Vec<String>,
    #[serde(default)]
    top_level: Option<u16>,
}

/// The lines of [`TRANSFORMS`] by image. Unreadable lines are ignored: their corrections are then reported as missing.
fn crop_lines(transforms: &str) -> HashMap<String, CropLine> {
    let lines = transforms.lines().filter_map(|line| serde_json::from_str::<CropLine>(line).ok());
    lines.map(|line| (line.image_id.clone(), line)).collect()
}

impl Source for Folder {
    fn root(&self) -> &Path {
        &self.root
    }

    fn annotation(&self, _entry: &ImageEntry, file: &str) -> Result<SourceAnnotation, AnnotationError> {
        let path = self.root.join(file);
        let bytes = annotation::read_bytes(&path)?;
        let WithProblems { content: annotation, problems } = annotation::parse(&bytes, &path, file)?;
        Ok(SourceAnnotation { annotation, sha256: sha256(&bytes), problems })
    }

    fn document(&self, _entry: &ImageEntry, file: &str) -> Result<Document, AnnotationError> {
        let path = self.root.join(file);
        Document::parse(&annotation::read_bytes(&path)?, &path)
    }

    fn applied(&self) -> Option<&HashMap<String, Vec<String>>> {
        self.applied.as_ref()
    }

    fn top_level(&self) -> Option<u16> {
        self.top_level
    }

    fn one_file_per_annotation(&self) -> bool {
        true
    }
}

/// An image that may become an [`ImageEntry`].
struct Candidate {
    file: FoundFile,
    subset: Subset,
    patient_id: String,
}

/// Lists `train/DCM/ID*/*.png`, `train/outputs_json/ID*/*.json`, `test/DCM/…` and a metadata workbook or CSV at the top
/// level; otherwise a flat folder (images with JSON of the same stem next to them or in a sibling folder). The same
/// folder gives the same listing on every machine.
///
/// # Errors
/// The root cannot be listed, or contains no image. Everything else is a problem in the listing.
pub(super) fn discover(root: &Path) -> Result<Listing, DatasetError> {
    let walked = walk::walk(root).map_err(|source| DatasetError::Io { path: root.into(), source })?;
    let mut problems = walked.problems;
    if walked.images.is_empty() {
        return Err(DatasetError::NoImages { path: root.into() });
    }
    // In a flat folder, one annotation that fits an image makes all images `train`.
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
        let key = |c: &Candidate| (c.subset, c.patient_id.clone(), c.file.id.clone(), c.file.rank(), c.file.path());
        key(a).cmp(&key(b))
    });
    let left_out = drop_repeated_stems(&mut candidates, &mut problems);
    let files: Vec<&FoundFile> = candidates.iter().map(|c| &c.file).collect();
    let annotations = pairing::pair(&files, &left_out, &walked.annotations, &mut problems);

    let images: Vec<ImageEntry> = candidates
        .into_iter()
        .zip(annotations)
        .map(|(c, annotation)| ImageEntry {
            timestamp: timestamp(&c.file.id),
            side: side_in_name(&c.file.id),
            side_in_name: side_in_name(&c.file.id),
            image: c.file.path(),
            image_id: c.file.id,
            patient_id: c.patient_id,
            subset: c.subset,
            annotation,
        })
        .collect();
    let metadata = metadata_file::choose(root, &walked.sheets, &mut problems);
    Ok(finished(Listing { images, metadata, problems }))
}

/// Sorts the images and problems of a listing, sets the sides that follow from time stamps, and reports train images
/// without annotation.
pub(super) fn finished(mut listing: Listing) -> Listing {
    conversion::sort(&mut listing.images);
    sides_by_time(&mut listing.images, &mut listing.problems);
    report_images(&listing.images, &mut listing.problems);
    listing.problems.sort_by(|a, b| (&a.file, &a.place, &a.reason).cmp(&(&b.file, &b.place, &b.reason)));
    listing
}

/// The patients' spreadsheet at the top level of a data folder.
pub(super) fn spreadsheet(root: &Path, problems: &mut Vec<Problem>) -> Option<String> {
    metadata_file::choose(root, &walk::sheets(root), problems)
}

/// Patient ID from the folder, else from the file's name.
fn patient(file: &FoundFile, by_subset: bool) -> String {
    match file.own_folders().last() {
        Some(folder) if by_subset || names::is_patient_folder(folder) => patient_of_folder(folder),
        _ => patient_in_stem(&file.id),
    }
}

/// Keeps the first of several images with the same stem (train before test, PNG before TIFF before JPEG), and returns
/// the others.
fn drop_repeated_stems(candidates: &mut Vec<Candidate>, problems: &mut Vec<Problem>) -> Vec<FoundFile> {
    let mut first: HashMap<String, String> = HashMap::new();
    let mut left_out = Vec::new();
    let mut kept = Vec::with_capacity(candidates.len());
    for candidate in candidates.drain(..) {
        let path = candidate.file.path();
        match first.get(&candidate.file.id) {
            None => {
                first.insert(candidate.file.id.clone(), path);
                kept.push(candidate);
            }
            Some(other) => {
                let reason = format!("the same name, without ending, as {other}; image names must be unique");
                problems.push(
                    Problem::new(ProblemSeverity::Error, path, reason, "image left out; rename one of the two")
                        .raw(&candidate.file.id)
                        .of_patient(candidate.patient_id),
                );
                left_out.push(candidate.file);
            }
        }
    }
    *candidates = kept;
    left_out
}

/// Sets the sides of patients with exactly two images and different time stamps: the earlier is right, the later left.
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
                    "the time stamps give side {}, but that is the side in the name of {}",
                    side.name(),
                    images[other].image_id
                );
                problems.push(
                    Problem::new(ProblemSeverity::Warning, images[this].image.clone(), reason, "side left empty")
                        .of_image(images[this].image_id.clone())
                        .of_patient(images[this].patient_id.clone()),
                );
            } else {
                images[this].side = Some(side);
            }
        }
    }
}

/// Reports train images without annotation.
fn report_images(images: &[ImageEntry], problems: &mut Vec<Problem>) {
    for image in images.iter().filter(|i| i.subset == Subset::Train && i.annotation.is_none()) {
        let reason = "no annotation with the same name; expected one for a train image";
        problems.push(
            Problem::new(ProblemSeverity::Warning, image.image.clone(), reason, "kept without masks")
                .of_image(image.image_id.clone())
                .of_patient(image.patient_id.clone()),
        );
    }
}

#[cfg(test)]
mod tests;
