//! COCO: one file per subset and the images next to it, or FiftyOne's layout of it, `labels.json` and `data/`.

use std::fs;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use serde::Serialize;
use serde_json::{Value, json};

use super::format::{AreaChange, Format, HandCopy, SegmentationForm, WrittenImage, WrittenImages};
use super::loss::FormatLoss;
use crate::bones::Bone;
use crate::dataset::annotation::Shape;
use crate::dataset::coco::{Counts, OwnImage, OwnShape, OwnShapes, Segmentation};
use crate::dataset::{ImageEntry, Subset};
use crate::mask::{RunMask, coco};

/// The format, in one of its layouts.
pub struct Coco {
    layout: Layout,
}

enum Layout {
    /// `train.json` and `test.json` with the images next to them.
    PerSubset,
    /// `labels.json` for all images, and the images in `data/`.
    FiftyOne,
}

impl Coco {
    /// One file per subset.
    pub const PER_SUBSET: Coco = Coco { layout: Layout::PerSubset };
    /// The layout that FiftyOne reads as `COCODetectionDataset`.
    pub const FIFTYONE: Coco = Coco { layout: Layout::FiftyOne };

    fn first_number(&self, subset: Subset) -> usize {
        // In one file for both subsets, the numbers of test images follow an offset that no data set reaches.
        match (&self.layout, subset) {
            (Layout::FiftyOne, Subset::Test) => 1 << 24,
            _ => 0,
        }
    }
}

/// An entry of `annotations`.
#[derive(Serialize)]
struct Object {
    id: usize,
    image_id: usize,
    category_id: usize,
    segmentation: Segmentation,
    area: u64,
    bbox: [u32; 4],
    iscrowd: u8,
    carpus: OwnShapes,
}

impl Format for Coco {
    fn name(&self) -> &'static str {
        match self.layout {
            Layout::PerSubset => "coco",
            Layout::FiftyOne => "fiftyone",
        }
    }

    fn about(&self) -> &'static str {
        match self.layout {
            Layout::PerSubset => "COCO instances: one JSON file per subset, with the images next to it",
            Layout::FiftyOne => "FiftyOne's COCODetectionDataset: labels.json and data/",
        }
    }

    fn image_file(&self, entry: &ImageEntry, ending: &str) -> String {
        let name = format!("{}.{ending}", entry.image_id);
        match self.layout {
            Layout::PerSubset => name,
            Layout::FiftyOne => format!("data/{name}"),
        }
    }

    fn image(&self, image: &HandCopy, _folder: &Path) -> io::Result<WrittenImage> {
        let mut part = WrittenImage::default();
        let (Some(annotation), Some(masks)) = (&image.annotation, image.masks()) else { return Ok(part) };
        let number = self.first_number(image.entry.subset) + image.number;
        for (bone, mask) in masks.iter() {
            let own: Vec<&Shape> = annotation.shapes.iter().filter(|shape| shape.bone == Some(bone)).collect();
            if own.is_empty() {
                continue;
            }
            let segmentation = match image.segmentation {
                SegmentationForm::Rle => runs(mask)?,
                SegmentationForm::Polygon => {
                    part.areas.push(area_change(mask, &own)?);
                    Segmentation::Polygons(own.iter().map(|shape| flat(&shape.points)).collect())
                }
            };
            let area = match (image.segmentation, part.areas.last()) {
                (SegmentationForm::Polygon, Some(change)) => change.format_px,
                _ => mask.area(),
            };
            let bounds = mask.bounding_box();
            let object = Object {
                id: (number - 1) * crate::bones::COUNT + bone.index() + 1,
                image_id: number,
                category_id: bone.index() + 1,
                segmentation,
                area,
                bbox: bounds.map_or([0; 4], |b| [b.x_min, b.y_min, b.x_max - b.x_min + 1, b.y_max - b.y_min + 1]),
                iscrowd: 0,
                carpus: OwnShapes { shapes: own.iter().map(|shape| own_shape(shape)).collect() },
            };
            if part.objects > 0 {
                part.text.extend(b",\n");
            }
            serde_json::to_writer(&mut part.text, &object)?;
            part.objects += 1;
        }
        if image.segmentation == SegmentationForm::Polygon {
            part.losses
                .add(FormatLoss::Pixels, part.areas.iter().filter(|change| change.own_px != change.format_px).count());
        }
        part.losses.add(FormatLoss::UnknownLabels, image.unknown_labels());
        Ok(part)
    }

    fn finish(&self, parts: &WrittenImages, folder: &Path) -> io::Result<()> {
        match self.layout {
            Layout::FiftyOne => self.write(&parts.images.iter().collect::<Vec<_>>(), &folder.join("labels.json")),
            Layout::PerSubset => Subset::ALL.iter().try_for_each(|subset| {
                let own: Vec<_> = parts.images.iter().filter(|(image, _)| image.entry.subset == *subset).collect();
                if own.is_empty() { Ok(()) } else { self.write(&own, &folder.join(format!("{subset}.json"))) }
            }),
        }
    }
}

impl Coco {
    fn write(&self, images: &[&(HandCopy, WrittenImage)], path: &Path) -> io::Result<()> {
        let mut out = BufWriter::new(fs::File::create(path)?);
        let info = json!({
            "description": "Converted by carpus. `segmentation` has its masks; `carpus` has the vertices as drawn.",
            "version": env!("CARGO_PKG_VERSION"),
        });
        write!(out, "{{\"info\": {info},\n\"licenses\": [],\n\"categories\": [")?;
        for bone in Bone::all() {
            let category =
                json!({"id": bone.index() + 1, "name": bone.name(), "supercategory": bone.group().to_string()});
            write!(out, "{}{category}", separator(bone.index()))?;
        }
        write!(out, "],\n\"images\": [")?;
        for (n, (image, _)) in images.iter().enumerate() {
            write!(out, "{}{}", separator(n), self.image_record(image))?;
        }
        write!(out, "],\n\"annotations\": [")?;
        for (n, (_, part)) in images.iter().filter(|(_, part)| part.objects > 0).enumerate() {
            out.write_all(separator(n).as_bytes())?;
            out.write_all(&part.text)?;
        }
        out.write_all(b"]}\n")?;
        out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()
    }

    fn image_record(&self, image: &HandCopy) -> Value {
        let shapes = image.annotation.iter().flat_map(|annotation| &annotation.shapes);
        let own = OwnImage {
            patient_id: image.entry.patient_id.clone(),
            side: image.entry.side.map(|side| side.name().to_owned()),
            is_annotated: image.annotation.is_some(),
            spacing_mm: image.spacing_mm,
            shapes: shapes.filter(|shape| shape.bone.is_none()).map(own_shape).collect(),
        };
        let mut record = json!({
            "id": self.first_number(image.entry.subset) + image.number,
            "file_name": image.file.rsplit('/').next(),
            "width": image.width,
            "height": image.height,
            "carpus": own,
        });
        if !image.findings.is_empty() {
            record["findings"] = findings(image);
        }
        record
    }
}

/// The findings about an image.
pub(super) fn findings(image: &HandCopy) -> Value {
    let finding = |row: &&crate::audit::FindingRow| {
        json!({
            "check": row.check.name,
            "severity": row.severity.name(),
            "score": row.score,
            "label": row.label,
            "message": row.message,
            "suggestion": row.suggestion,
        })
    };
    image.findings.iter().map(finding).collect()
}

fn separator(n: usize) -> &'static str {
    if n == 0 { "" } else { ",\n" }
}

fn own_shape(shape: &Shape) -> OwnShape {
    OwnShape { index: shape.index, label: shape.label.clone(), points: shape.points.clone() }
}

fn runs(mask: &RunMask) -> io::Result<Segmentation> {
    let counts = coco::counts(mask).map_err(io::Error::other)?;
    let size = [mask.height(), mask.width()];
    Ok(Segmentation::Runs { size, counts: Counts::Text(coco::counts_text(&counts)) })
}

/// The vertices as COCO has them. A polygon with fewer than three points gets the last one again: COCO reads two points
/// as a box.
fn flat(points: &[[i32; 2]]) -> Vec<f64> {
    let missing = 3usize.saturating_sub(points.len());
    let padded = points.iter().chain(points.last().into_iter().cycle().take(missing));
    padded.flatten().map(|v| f64::from(*v)).collect()
}

fn area_change(mask: &RunMask, shapes: &[&Shape]) -> io::Result<AreaChange> {
    let (width, height) = (mask.width(), mask.height());
    let filled = shapes.iter().map(|shape| coco::mask_of_polygon(&shape.points, width, height));
    let filled: Vec<RunMask> = filled.collect::<Result<_, _>>().map_err(io::Error::other)?;
    let united = RunMask::vote(&filled.iter().collect::<Vec<_>>(), 1).map_err(io::Error::other)?;
    Ok(AreaChange { own_px: mask.area(), format_px: united.area() })
}
