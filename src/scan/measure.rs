use std::path::Path;

use super::{ScanSettings, blank_row, side_name};
use crate::bones::{self, Bone};
use crate::dataset::annotation::{self, Annotation, Shape};
use crate::dataset::layout::ImageEntry;
use crate::dataset::{Problem, Severity, image};
use crate::features;
use crate::geometry::{PixelBox, Point};
use crate::mask::{self, RunMask};
use crate::tables::{BoneRow, ImageRow};

/// Rows of one image.
#[derive(Clone, Debug)]
pub struct Measured {
    pub image: ImageRow,
    pub bones: Vec<BoneRow>,
    pub problems: Vec<Problem>,
}

/// Reads an image and its annotation, or takes `predicted` masks where it has none, and measures both.
pub fn measure(
    root: &Path,
    entry: &ImageEntry,
    predicted: Option<&[RunMask; bones::COUNT]>,
    settings: &ScanSettings,
    reader: &mut image::Reader,
) -> Measured {
    let mut out = Measured { image: blank_row(entry), bones: Vec::new(), problems: Vec::new() };
    if let Err(reason) = measure_pixels(root, entry, settings, reader, &mut out.image) {
        out.problem(entry, &entry.image, reason, "left without masks and measures");
        return out;
    }
    let (width, height) = (out.image.width, out.image.height);
    match (&entry.annotation, predicted) {
        (Some(file), _) => match read_annotation(root, file, &mut out) {
            Ok(annotation) => {
                out.image.mask_source = "annotation".into();
                let masks = annotation.masks(width, height);
                out.measure_masks(&masks, &annotation.shapes, settings);
            }
            Err(reason) => out.problem(entry, file, reason, "image left without masks"),
        },
        (None, Some(masks)) => {
            out.image.mask_source = "prediction".into();
            out.measure_masks(masks, &[], settings);
        }
        (None, None) => {}
    }
    // Readers name the file; the tables are joined by image and patient too.
    for p in &mut out.problems {
        p.image_id.get_or_insert_with(|| entry.image_id.clone());
        p.patient_id.get_or_insert_with(|| entry.patient_id.clone());
    }
    out
}

fn measure_pixels(
    root: &Path,
    entry: &ImageEntry,
    settings: &ScanSettings,
    reader: &mut image::Reader,
    row: &mut ImageRow,
) -> Result<(), String> {
    let mut radiograph = reader.read(&root.join(&entry.image)).map_err(|e| e.reason)?;
    let (width, height) = radiograph.pixels.dimensions();
    let pixels = radiograph.pixels.as_raw();
    let levels = features::levels(pixels, width as usize, height as usize, settings.bright);
    row.width = width;
    row.height = height;
    row.bits = u32::from(radiograph.bits);
    row.bright_px = Some(levels.bright_px);
    row.mean_grey = Some(levels.mean_grey);
    row.strip_top_px = Some(levels.strips.top_px);
    row.strip_left_px = Some(levels.strips.left_px);
    row.image_hash = Some(format!("{:016x}", levels.difference_hash));
    row.sha256 = Some(std::mem::take(&mut radiograph.sha256));
    reader.take_back(radiograph);
    Ok(())
}

fn read_annotation(root: &Path, file: &str, out: &mut Measured) -> Result<Annotation, String> {
    let path = root.join(file);
    let bytes = std::fs::read(&path).map_err(|e| e.to_string())?;
    out.image.annotation_sha256 = Some(image::sha256(&bytes));
    let (annotation, problems) = annotation::parse(&bytes, &path, file).map_err(|e| e.to_string())?;
    out.problems.extend(problems);
    Ok(annotation)
}

impl Measured {
    fn problem(&mut self, entry: &ImageEntry, file: &str, reason: String, action: &str) {
        self.problems.push(Problem {
            file: file.to_owned(),
            place: String::new(),
            image_id: Some(entry.image_id.clone()),
            patient_id: Some(entry.patient_id.clone()),
            raw: String::new(),
            reason,
            action: action.to_owned(),
            severity: Severity::Error,
        });
    }

    fn measure_masks(&mut self, masks: &[RunMask; bones::COUNT], shapes: &[Shape], settings: &ScanSettings) {
        let coverage = mask::coverage(masks).expect("masks of one image have one size");
        let mut centroids = [None; bones::COUNT];
        let mut hand: Option<PixelBox> = None;
        for bone in Bone::all() {
            let own: Vec<&Shape> = shapes.iter().filter(|s| s.bone == Some(bone)).collect();
            let mask = &masks[bone.index()];
            if mask.is_empty() && own.is_empty() {
                continue;
            }
            let row = bone_row(&self.image, bone, mask, &own, &coverage.overlap);
            centroids[bone.index()] = row.centroid_x.zip(row.centroid_y).map(|(x, y)| Point::new(x, y));
            if let Some(b) = mask.bounding_box() {
                hand = Some(hand.map_or(b, |h| h.union(&b)));
            }
            self.bones.push(row);
        }
        let row = &mut self.image;
        row.n_bones = masks.iter().filter(|m| !m.is_empty()).count() as u32;
        row.mask_px = Some(masks.iter().map(RunMask::area).sum());
        row.overlap_px = Some(coverage.overlap.area());
        row.union_px = Some(coverage.union_px);
        row.hand_x_min = hand.map(|b| b.x_min);
        row.hand_y_min = hand.map(|b| b.y_min);
        row.hand_x_max = hand.map(|b| b.x_max);
        row.hand_y_max = hand.map(|b| b.y_max);
        row.side_by_anatomy = side_name(features::side_by_anatomy(&centroids));
        row.angle_deg = centroids[Bone::ULNA.index()]
            .zip(centroids[Bone::FINGER_16.index()])
            .map(|(ulna, finger_16)| features::angle_deg(ulna, finger_16));
        row.rotated = row.angle_deg.map(|a| features::is_rotated(a, settings.rotated_deg));
    }
}

fn bone_row(image: &ImageRow, bone: Bone, mask: &RunMask, shapes: &[&Shape], shared: &RunMask) -> BoneRow {
    let moments = mask.moments();
    let centroid = moments.centroid();
    let bounds = mask.bounding_box();
    let parts = mask.components();
    let axes = moments.axes();
    let outside = |p: &&[i32; 2]| p[0] < 0 || p[1] < 0 || p[0] >= image.width as i32 || p[1] >= image.height as i32;
    BoneRow {
        image_id: image.image_id.clone(),
        label: bone.name().to_owned(),
        class: bone.index() as u32,
        area_px: moments.area,
        centroid_x: centroid.map(|p| p.x),
        centroid_y: centroid.map(|p| p.y),
        x_min: bounds.map(|b| b.x_min),
        y_min: bounds.map(|b| b.y_min),
        x_max: bounds.map(|b| b.x_max),
        y_max: bounds.map(|b| b.y_max),
        perimeter_px: mask.perimeter(),
        orientation_deg: moments.orientation_deg(),
        eccentricity: moments.eccentricity(),
        sd_major_px: axes.map(|a| a.0),
        sd_minor_px: axes.map(|a| a.1),
        n_parts: parts.len() as u32,
        minor_parts_px: parts.iter().skip(1).map(RunMask::area).sum(),
        n_shapes: shapes.len() as u32,
        n_vertices: shapes.iter().map(|s| s.points.len() as u32).sum(),
        n_outside: shapes.iter().flat_map(|s| s.points.iter()).filter(outside).count() as u32,
        n_crossings: shapes.iter().map(|s| features::crossings(&s.points)).sum(),
        shared_px: mask.overlap(shared).expect("masks of one image have one size"),
    }
}
