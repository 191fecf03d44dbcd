//! LabelMe: a JSON file next to each image.

use std::fs;
use std::io;
use std::path::Path;

use serde_json::{Value, json};

use super::coco::findings;
use super::format::{Format, HandCopy, WrittenImage, WrittenImages, with_ending};
use super::loss::FormatLoss;
use crate::dataset::ImageEntry;

/// The version of LabelMe whose files these are.
const VERSION: &str = "5.5.0";

/// The format.
pub struct LabelMe;

impl Format for LabelMe {
    fn name(&self) -> &'static str {
        "labelme"
    }

    fn about(&self) -> &'static str {
        "LabelMe 4 and later: a JSON file next to each image"
    }

    fn image_file(&self, entry: &ImageEntry, ending: &str) -> String {
        with_ending("", &entry.image, ending)
    }

    fn image(&self, image: &HandCopy, folder: &Path) -> io::Result<WrittenImage> {
        let mut part = WrittenImage::default();
        let Some(annotation) = &image.annotation else {
            // Findings are kept in the annotation's file.
            part.losses.add(FormatLoss::Findings, image.findings.len());
            return Ok(part);
        };
        let shape = |label: &str, points: &[[i32; 2]]| {
            json!({
                "label": label,
                "points": points,
                "group_id": null,
                "description": "",
                "shape_type": "polygon",
                "flags": {},
                "mask": null,
            })
        };
        let shapes: Vec<Value> = annotation.shapes.iter().map(|s| shape(&s.label, &s.points)).collect();
        part.objects = shapes.len();
        let mut document = json!({
            "version": VERSION,
            "flags": {},
            "shapes": shapes,
            "imagePath": image.file.rsplit('/').next(),
            "imageData": null,
            "imageHeight": image.height,
            "imageWidth": image.width,
        });
        if !image.findings.is_empty() {
            document["findings"] = findings(image);
        }
        let path = folder.join(with_ending("", &image.file, "json"));
        fs::write(path, serde_json::to_vec(&document)?)?;
        Ok(part)
    }

    fn finish(&self, _parts: &WrittenImages, _folder: &Path) -> io::Result<()> {
        Ok(())
    }
}
