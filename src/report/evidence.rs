//! Evidence pictures of findings, scaled down to be embedded in the page.

use std::collections::{BTreeMap, HashMap};
use std::path::{Component, Path};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use image::codecs::jpeg::JpegEncoder;
use image::imageops::FilterType;
use image::{DynamicImage, RgbImage};
use rayon::prelude::*;

use crate::audit::{FindingRow, check_scanned};
use crate::dataset::{Dataset, ImageEntry};
use crate::tables::ImageRow;

/// Largest width and height of a picture in the page, px.
pub const EVIDENCE_WIDTH: u32 = 400;

/// Largest width and height of a picture next to the page, px.
pub const FULL_WIDTH: u32 = 1600;

/// Pictures, and the errors of those that could not be read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EvidencePictures {
    /// JPEG in base64 by requested name: a finding's `evidence`, an image's `path`.
    pub pictures: BTreeMap<String, String>,
    /// JPEG files in full size (up to [`FULL_WIDTH`]) by requested name, of findings only.
    pub full: BTreeMap<String, Vec<u8>>,
    /// One sentence per picture that could not be read.
    pub failures: Vec<String>,
}

/// Reads the pictures of the first `most` images with findings from `folder`, one per image: that of its first finding
/// that has one. They are scaled down to [`EVIDENCE_WIDTH`] for the page, and to [`FULL_WIDTH`] for the files next to it.
/// A picture that cannot be read is listed in `failures`; the others are still read. Paths that lead out of
/// `folder` are refused.
pub fn read_evidence(folder: &Path, findings: &[FindingRow], most: usize) -> EvidencePictures {
    let images = by_image(findings);
    let first = |of_image: &Vec<&'_ FindingRow>| of_image.iter().map(|f| f.evidence.clone()).find(|e| !e.is_empty());
    let mut names: Vec<String> = images.iter().take(most).filter_map(first).collect();
    names.sort_unstable();
    names.dedup();
    read_pictures(folder, &names)
}

/// Findings by image, in the order of each image's first finding.
pub(super) fn by_image(findings: &[FindingRow]) -> Vec<Vec<&FindingRow>> {
    let mut places: HashMap<(&str, &str), usize> = HashMap::new();
    let mut images: Vec<Vec<&FindingRow>> = Vec::new();
    for finding in findings {
        let place = *places.entry((&finding.image_id, &finding.patient_id)).or_insert(images.len());
        if place == images.len() {
            images.push(Vec::new());
        }
        images[place].push(finding);
    }
    images
}

/// Pictures of images of a dataset, by their paths in it, scaled down to [`EVIDENCE_WIDTH`]. An image that is not the one from
/// which the row was made is a failure.
pub fn read_examples<'a>(dataset: &Dataset, images: impl Iterator<Item = &'a ImageRow>) -> EvidencePictures {
    let mut entries: Vec<(&ImageEntry, &ImageRow)> = Vec::new();
    let mut evidence = EvidencePictures::default();
    for row in images {
        match dataset.find(&row.image_id) {
            Some(entry) => entries.push((entry, row)),
            None => evidence.failures.push(format!("{}: not in the data folder", row.image_id)),
        }
    }
    let read: Vec<(&str, Result<String, String>)> = entries
        .into_par_iter()
        .map(|(entry, row)| {
            let picture = || {
                let image = dataset.image(entry).map_err(|e| e.to_string())?;
                check_scanned(row, &image, dataset).map_err(|reason| format!("{}: {reason}", row.image_id))?;
                small_jpeg(image.pixels.into_eight_bit().into())
            };
            (&*entry.image, picture())
        })
        .collect();
    evidence.add(read);
    evidence
}

/// Pictures by their names relative to `folder`.
fn read_pictures(folder: &Path, names: &[String]) -> EvidencePictures {
    let read = |name: &String| -> Result<(String, Vec<u8>), String> {
        let image =
            read_picture(folder, name).map_err(|reason| format!("{}: {reason}", folder.join(name).display()))?;
        let full = encoded(&at_most(&image, FULL_WIDTH).to_rgb8())?;
        Ok((small_jpeg(image)?, full))
    };
    let mut evidence = EvidencePictures::default();
    let pictures: Vec<_> = names.par_iter().map(|name| (name, read(name))).collect();
    for (name, result) in pictures {
        match result {
            Ok((small, full)) => {
                evidence.pictures.insert(name.clone(), small);
                evidence.full.insert(name.clone(), full);
            }
            Err(reason) => evidence.failures.push(reason),
        }
    }
    evidence
}

impl EvidencePictures {
    fn add(&mut self, read: Vec<(&str, Result<String, String>)>) {
        for (name, result) in read {
            match result {
                Ok(jpeg) => drop(self.pictures.insert(name.to_owned(), jpeg)),
                Err(reason) => self.failures.push(reason),
            }
        }
    }
}

fn read_picture(folder: &Path, name: &str) -> Result<DynamicImage, String> {
    let relative = Path::new(name);
    if !relative.components().all(|c| matches!(c, Component::Normal(_) | Component::CurDir)) {
        return Err("the path leads out of the findings' folder, so it is not read".to_owned());
    }
    image::ImageReader::open(folder.join(relative))
        .and_then(image::ImageReader::with_guessed_format)
        .map_err(|e| e.to_string())?
        .decode()
        .map_err(|e| e.to_string())
}

pub(super) fn small_jpeg(image: DynamicImage) -> Result<String, String> {
    jpeg(&at_most(&image, EVIDENCE_WIDTH).to_rgb8())
}

/// The image, scaled down if a side is longer than `side`.
fn at_most(image: &DynamicImage, side: u32) -> DynamicImage {
    if image.width().max(image.height()) > side {
        image.resize(side, side, FilterType::Triangle)
    } else {
        image.clone()
    }
}

/// Encodes a picture as JPEG in base64.
pub(super) fn jpeg(picture: &RgbImage) -> Result<String, String> {
    Ok(STANDARD.encode(encoded(picture)?))
}

fn encoded(picture: &RgbImage) -> Result<Vec<u8>, String> {
    let mut jpeg = Vec::new();
    JpegEncoder::new_with_quality(&mut jpeg, 84).encode_image(picture).map_err(|e| e.to_string())?;
    Ok(jpeg)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unreadable_pictures_are_reported_and_the_others_are_read() {
        let folder = tempfile::tempdir().unwrap();
        image::RgbImage::from_pixel(900, 300, image::Rgb([200, 10, 10])).save(folder.path().join("good.png")).unwrap();
        std::fs::write(folder.path().join("torn.png"), b"\x89PNG\r\n\x1a\nno").unwrap();
        let names = ["good.png", "torn.png", "../secret.png", "", "gone.png", "late.png"];
        let row = |image: usize, evidence: &str| FindingRow {
            image_id: image.to_string(),
            evidence: evidence.into(),
            ..FindingRow::default()
        };
        let mut rows: Vec<FindingRow> = names.iter().enumerate().map(|(i, name)| row(i, name)).collect();
        // The second picture of an image is not needed.
        rows.push(row(0, "also-gone.png"));
        let evidence = read_evidence(folder.path(), &rows, 5);
        assert_eq!((evidence.pictures.len(), evidence.full.len()), (1, 1));
        assert_eq!(evidence.failures.len(), 3, "{:?}", evidence.failures);
        let jpeg = STANDARD.decode(&evidence.pictures["good.png"]).unwrap();
        let small = image::load_from_memory(&jpeg).unwrap();
        assert_eq!((small.width(), small.height()), (400, 133));
    }
}
