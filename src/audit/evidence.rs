//! A picture of each finding: the bones concerned with thick outlines and names, the others faint.

use std::collections::BTreeMap;
use std::path::Path;

use image::{GrayImage, RgbImage};
use rayon::prelude::*;

use super::{EvidenceKind, Finding};
use crate::bones::Bone;
use crate::dataset::Dataset;
use crate::draw::{self, Options, SheetStyle};
use crate::mask::HandMasks;
use crate::progress::Progress;
use crate::tables::{ImageRow, Tables};

/// Longest side of a picture in px.
const SIZE: u32 = 640;
/// Most that a small bone is enlarged.
const ZOOM: f64 = 3.0;
/// Margin round the bones concerned, as a share of their extent: enough for their neighbours to be seen.
const MARGIN: f64 = 0.7;

/// A finding without its picture: which, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingPicture {
    /// Image.
    pub image_id: String,
    /// Why the picture could not be made.
    pub reason: String,
}

/// Writes `NNNN-CHECK-IMAGE.png` into `folder` for the findings of the list that are `wanted`; returns each one's file name
/// (`None` where it is not, has no image, or reading failed) and what failed. An image is read once for all its findings.
pub fn write(
    findings: &[Finding],
    wanted: &[bool],
    tables: &Tables,
    data: &Dataset,
    folder: &Path,
    progress: &dyn Progress,
) -> std::io::Result<(Vec<Option<String>>, Vec<MissingPicture>)> {
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
                        let name = format!("{:04}-{}-{}.png", n + 1, findings[n].check.name, plain(&row.image_id));
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
    let mut files = vec![None; findings.len()];
    let mut failed = Vec::new();
    for result in drawn {
        match result {
            Ok(names) => names.into_iter().for_each(|(n, name)| files[n] = Some(name)),
            Err(Failure::Input(image_id, reason)) => failed.push(MissingPicture { image_id, reason }),
            Err(Failure::Output(error)) => return Err(error),
        }
    }
    Ok((files, failed))
}

enum Failure {
    /// An image that cannot be read costs its own pictures only.
    Input(String, String),
    /// A folder that cannot be written to costs all.
    Output(std::io::Error),
}

/// An image ID as part of a file name.
fn plain(image_id: &str) -> String {
    // A name may have 255 bytes; the number in front tells long ones apart.
    image_id.chars().take(40).map(|c| if c.is_alphanumeric() || "_-.".contains(c) { c } else { '_' }).collect()
}

struct Loaded {
    pixels: GrayImage,
    masks: Option<HandMasks>,
}

impl Loaded {
    fn read(row: &ImageRow, data: &Dataset) -> Result<Loaded, String> {
        let entry = data.find(&row.image_id).ok_or_else(|| format!("{}: not in the data folder", row.path))?;
        let pixels = data.image(entry).map_err(|e| e.to_string())?.pixels.into_eight_bit();
        // What is wrong with an annotation's labels is a finding itself; the rest is drawn.
        let read = data.annotation(entry).ok().flatten();
        let masks = read.map(|read| read.annotation.masks(pixels.width(), pixels.height()));
        Ok(Loaded { pixels, masks })
    }

    fn picture(&self, finding: &Finding, tables: &Tables, data: &Dataset) -> RgbImage {
        let (concerned, crop): (Vec<Bone>, bool) = match finding.check.evidence {
            EvidenceKind::Bones => (finding.bones.clone(), true),
            EvidenceKind::Neighbours => {
                (finding.bones.iter().flat_map(|b| b.neighbours().iter().copied()).collect(), true)
            }
            EvidenceKind::Image => (finding.bones.clone(), false),
            EvidenceKind::Tips => (vec![Bone::FINGER_1, Bone::FINGER_16], false),
            EvidenceKind::Hand => (Bone::all().collect(), false),
        };
        let own = self.drawn(&concerned, crop);
        let beside = finding.beside.and_then(|other| {
            let row = &tables.images[other];
            Some((row.image_id.clone(), Loaded::read(row, data).ok()?.drawn(&concerned, crop)))
        });
        match (beside, finding.image) {
            (Some((name, other)), Some(image)) => {
                let style = SheetStyle { columns: 2, ..SheetStyle::default() };
                draw::contact_sheet(&[(tables.images[image].image_id.clone(), own), (name, other)], &style)
            }
            _ => own,
        }
    }

    fn drawn(&self, concerned: &[Bone], crop: bool) -> RgbImage {
        let Some(masks) = &self.masks else {
            return draw::outlines(&self.pixels, &[], &Options { max_size: SIZE, ..Options::default() });
        };
        let all = masks.iter().filter(|(_, m)| !m.is_empty());
        let (strong, faint): (Vec<_>, Vec<_>) = all.partition(|(b, _)| concerned.contains(b));
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
