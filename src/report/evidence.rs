//! Evidence pictures of findings, scaled down to be embedded in the page.

use std::collections::BTreeMap;
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

/// Pictures, and the errors of those that could not be read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EvidencePictures {
    /// JPEG in base64 by requested name: a finding's `evidence`, an image's `path`.
    pub pictures: BTreeMap<String, String>,
    /// One sentence per picture that could not be read.
    pub failures: Vec<String>,
}

/// Reads the pictures of the first `most` findings from `folder` and scales them down to [`EVIDENCE_WIDTH`].
/// A picture that cannot be read is listed in `failures`; the others are still read. Paths that lead out of
/// `folder` are refused.
pub fn read_evidence(folder: &Path, findings: &[FindingRow], most: usize) -> EvidencePictures {
    read_pictures(folder, findings.iter().take(most).map(|f| f.evidence.as_str()).filter(|e| !e.is_empty()))
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
fn read_pictures<'a>(folder: &Path, names: impl Iterator<Item = &'a str>) -> EvidencePictures {
    let mut names: Vec<&str> = names.collect();
    names.sort_unstable();
    names.dedup();
    let read = |name| read_picture(folder, name).map_err(|reason| format!("{}: {reason}", folder.join(name).display()));
    let mut evidence = EvidencePictures::default();
    evidence.add(names.into_par_iter().map(|name| (name, read(name))).collect());
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

fn read_picture(folder: &Path, name: &str) -> Result<String, String> {
    let relative = Path::new(name);
    if !relative.components().all(|c| matches!(c, Component::Normal(_) | Component::CurDir)) {
        return Err("the path leads out of the findings' folder, so it is not read".to_owned());
    }
    let image = image::ImageReader::open(folder.join(relative))
        .and_then(image::ImageReader::with_guessed_format)
        .map_err(|e| e.to_string())?
        .decode()
        .map_err(|e| e.to_string())?;
    small_jpeg(image)
}

fn small_jpeg(image: DynamicImage) -> Result<String, String> {
    let image = if image.width().max(image.height()) > EVIDENCE_WIDTH {
        image.resize(EVIDENCE_WIDTH, EVIDENCE_WIDTH, FilterType::Triangle)
    } else {
        image
    };
    jpeg(&image.to_rgb8())
}

/// Encodes a picture as JPEG in base64.
pub(super) fn jpeg(picture: &RgbImage) -> Result<String, String> {
    let mut jpeg = Vec::new();
    JpegEncoder::new_with_quality(&mut jpeg, 84).encode_image(picture).map_err(|e| e.to_string())?;
    Ok(STANDARD.encode(jpeg))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unreadable_pictures_are_reported_and_the_others_are_read() {
        let folder = tempfile::tempdir().unwrap();
        image::RgbImage::from_pixel(900, 300, image::Rgb([200, 10, 10])).save(folder.path().join("good.png")).unwrap();
        std::fs::write(folder.path().join("torn.png"), b"\x89PNG\r\n\x1a\nno").unwrap();
        let row = |evidence: &str| FindingRow { evidence: evidence.into(), ..FindingRow::default() };
        let rows = [row("good.png"), row("torn.png"), row("../secret.png"), row(""), row("gone.png"), row("late.png")];
        let evidence = read_evidence(folder.path(), &rows, 5);
        assert_eq!(evidence.pictures.len(), 1);
        assert_eq!(evidence.failures.len(), 3, "{:?}", evidence.failures);
        let jpeg = STANDARD.decode(&evidence.pictures["good.png"]).unwrap();
        let small = image::load_from_memory(&jpeg).unwrap();
        assert_eq!((small.width(), small.height()), (400, 133));
    }
}
