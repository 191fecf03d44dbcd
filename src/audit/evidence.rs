//! Pictures of findings: the bones of the finding have thick outlines and names, the other outlines are faint.

use std::collections::BTreeMap;
use std::path::Path;

use image::{GrayImage, RgbImage};
use rayon::prelude::*;

use super::{EvidenceKind, Finding};
use crate::bones::Bone;
use crate::dataset::Dataset;
use crate::dataset::image::Radiograph;
use crate::draw::{self, Options, SheetStyle};
use crate::mask::HandMasks;
use crate::progress::Progress;
use crate::tables::{ImageRow, Tables};

/// Longest side of a picture, px.
const SIZE: u32 = 640;
/// Largest enlargement of a small bone.
const ZOOM: f64 = 3.0;
/// Margin around the bones of the finding, as a share of their extent: enough to show their neighbours.
const MARGIN: f64 = 0.7;

/// An image whose pictures could not be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingPicture {
    /// ID of the image.
    pub image_id: String,
    /// Why the pictures could not be made.
    pub reason: String,
}

/// Result of [`write`].
pub struct WrittenPictures {
    /// File name per finding; `None` where the finding is not `wanted`, has no image, or its image cannot be used.
    pub names: Vec<Option<String>>,
    /// Images that cannot be read, or are not those that were scanned.
    pub failed: Vec<MissingPicture>,
}

/// Writes `NNNN-CHECK-IMAGE.png` into `folder` for every finding that is `wanted`. Each image is read once for all its
/// findings.
///
/// # Errors
/// The folder or a picture cannot be written.
pub fn write(
    findings: &[Finding],
    wanted: &[bool],
    tables: &Tables,
    data: &Dataset,
    folder: &Path,
    progress: &dyn Progress,
) -> std::io::Result<WrittenPictures> {
    std::fs::create_dir_all(folder)?;
    let mut by_image: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (n, finding) in findings.iter().enumerate() {
        if let Some(image) = finding.image.filter(|_| wanted[n]) {
            by_image.entry(image).or_default().push(n);
        }
    }
    progress.start("images", by_image.len() as u64);
    let drawn: Vec<Result<Vec<(usize, String)>, Failure>> = by_image
        .into_par_iter()
        .map(|(image, numbers)| {
            let row = &tables.images[image];
            let result = Loaded::read(row, data).map_err(|reason| Failure::Input(row.image_id.clone(), reason));
            let names = result.and_then(|loaded| {
                numbers
                    .into_iter()
                    .map(|n| {
                        let picture = loaded.picture(&findings[n], tables, data);
                        let name =
                            format!("{:04}-{}-{}.png", n + 1, findings[n].check.name, file_name_part(&row.image_id));
                        draw::write_png(&folder.join(&name), &picture).map_err(Failure::Output)?;
                        Ok((n, name))
                    })
                    .collect()
            });
            progress.advance(1);
            names
        })
        .collect();
    progress.finish();
    let mut written = WrittenPictures { names: vec![None; findings.len()], failed: Vec::new() };
    for result in drawn {
        match result {
            Ok(names) => names.into_iter().for_each(|(n, name)| written.names[n] = Some(name)),
            Err(Failure::Input(image_id, reason)) => written.failed.push(MissingPicture { image_id, reason }),
            Err(Failure::Output(error)) => return Err(error),
        }
    }
    Ok(written)
}

enum Failure {
    /// An image cannot be used: only its own pictures are missing.
    Input(String, String),
    /// A picture cannot be written: the command fails.
    Output(std::io::Error),
}

/// An image ID as part of a file name: at most 40 characters, others than letters, digits and `_-.` replaced.
fn file_name_part(image_id: &str) -> String {
    // File names are limited to 255 bytes. Shortened IDs stay distinct by the number in front of them.
    image_id.chars().take(40).map(|c| if c.is_alphanumeric() || "_-.".contains(c) { c } else { '_' }).collect()
}

/// Checks that the image is the one from which the row was made: size and content.
///
/// # Errors
/// What differs, and which folder to give.
pub(crate) fn check_scanned(row: &ImageRow, found: &Radiograph, data: &Dataset) -> Result<(), String> {
    let (width, height) = found.pixels.dimensions();
    // A row without a size is of an image that could not be read.
    if row.width > 0 && (width, height) != (row.width, row.height) {
        return Err(format!(
            "the image in {} is {width} x {height} px; the tables were made from one of {} x {} px: give the data folder \
             that was scanned",
            data.root().display(),
            row.width,
            row.height
        ));
    }
    if row.sha256.as_ref().is_some_and(|known| *known != found.sha256) {
        return Err(format!(
            "the image in {} is not the one that was scanned: give the data folder that was scanned, or run `carpus scan` \
             again",
            data.root().display()
        ));
    }
    Ok(())
}

struct Loaded {
    pixels: GrayImage,
    masks: Option<HandMasks>,
}

impl Loaded {
    fn read(row: &ImageRow, data: &Dataset) -> Result<Loaded, String> {
        let entry =
            data.find(&row.image_id).ok_or_else(|| format!("{}: the image is not in the data folder", row.path))?;
        let radiograph = data.image(entry).map_err(|e| e.to_string())?;
        check_scanned(row, &radiograph, data)?;
        let pixels = radiograph.pixels.into_eight_bit();
        // Faults of the annotation are findings of their own; here the readable shapes are drawn.
        let read = data.annotation(entry).ok().flatten();
        let masks = read.map(|read| read.annotation.masks(pixels.width(), pixels.height()));
        Ok(Loaded { pixels, masks })
    }

    fn picture(&self, finding: &Finding, tables: &Tables, data: &Dataset) -> RgbImage {
        let (emphasised, crop): (Vec<Bone>, bool) = match finding.check.evidence {
            EvidenceKind::Bones => (finding.bones.clone(), true),
            EvidenceKind::Neighbours => {
                (finding.bones.iter().flat_map(|b| b.neighbours().iter().copied()).collect(), true)
            }
            EvidenceKind::Image => (finding.bones.clone(), false),
            EvidenceKind::Tips => (vec![Bone::FINGER_1, Bone::FINGER_16], false),
            EvidenceKind::Hand => (Bone::all().collect(), false),
        };
        let own = self.drawn(&emphasised, crop);
        let comparison = finding.comparison.and_then(|other| {
            let row = &tables.images[other];
            Some((row.image_id.clone(), Loaded::read(row, data).ok()?.drawn(&emphasised, crop)))
        });
        match (comparison, finding.image) {
            (Some((name, other)), Some(image)) => {
                let style = SheetStyle { columns: 2, ..SheetStyle::default() };
                draw::contact_sheet(&[(tables.images[image].image_id.clone(), own), (name, other)], &style)
            }
            _ => own,
        }
    }

    fn drawn(&self, emphasised: &[Bone], crop: bool) -> RgbImage {
        let Some(masks) = &self.masks else {
            return draw::outlines(&self.pixels, &[], &Options { max_size: SIZE, ..Options::default() });
        };
        let all = masks.iter().filter(|(_, m)| !m.is_empty());
        let (strong, faint): (Vec<_>, Vec<_>) = all.partition(|(b, _)| emphasised.contains(b));
        let crop =
            crop.then(|| draw::crop_around(strong.iter().map(|s| s.1), MARGIN, self.pixels.dimensions())).flatten();
        let options = Options {
            crop,
            max_size: SIZE,
            max_zoom: if crop.is_some() { ZOOM } else { 1.0 },
            labels: true,
            ..Options::default()
        };
        draw::emphasised(&self.pixels, &strong, &faint, &options)
    }
}
