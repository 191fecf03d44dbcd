//! Cleaning one image.

use std::path::{Component, Path, PathBuf};

use super::transform::VERSION;
use super::{
    Background, BackgroundSource, BoxSource, CleanError, CleanSettings, CropBox, CropShape, HandRegion, StripRule,
    Transform, find_hand, image,
};
use crate::artefact::{Outputs, write_atomically};
use crate::dataset::annotation::Annotation;
use crate::dataset::corrections::Decision;
use crate::dataset::image::ImageError;
use crate::dataset::{Dataset, GreyImage, Problem, ProblemSeverity};
use crate::digest::sha256;
use crate::geometry::PixelBox;
use crate::mask::{HandMasks, RunMask};
use crate::tables::ImageRow;

/// Increase it when the same inputs give other crops than before; then all crops are made again.
const RECIPE: u32 = 2;
/// Pixels of background kept around the hand, because a threshold cuts off the skin line.
const RIM: u32 = 16;
/// Pixels around the bones that count as hand if brightness does not find it.
const FLESH: u32 = 96;
/// A hand found by brightness must contain at least this share of the masks' pixels.
const MIN_SHARE: f64 = 0.98;

/// The inputs common to all images.
pub struct CleanContext<'a> {
    pub dataset: &'a Dataset,
    pub out: &'a Path,
    pub outputs: &'a Outputs,
    pub settings: &'a CleanSettings,
}

/// Why an image has no crop.
pub enum Failure {
    /// The image cannot be used; the other ones are cleaned.
    Input(Box<Problem>),
    /// The output cannot be written; the run stops.
    Output(CleanError),
}

impl From<Box<Problem>> for Failure {
    fn from(problem: Box<Problem>) -> Failure {
        Failure::Input(problem)
    }
}

/// A finished image.
pub struct Done {
    pub transform: Transform,
    /// Whether its crop is that of an earlier run.
    pub unchanged: bool,
    pub problems: Vec<Problem>,
}

/// The part to cut out, and how it and the background were found.
struct Framed {
    area: CropBox,
    box_source: BoxSource,
    background: BackgroundSource,
}

impl CleanContext<'_> {
    /// Cleans an image, unless `before` shows that its crop was made from the same inputs and its files exist.
    ///
    /// # Errors
    /// The image or its annotation cannot be used, or the crop cannot be written.
    pub fn clean(&self, row: &ImageRow, before: Option<&Transform>) -> Result<Done, Failure> {
        let moved = || failure(row, &row.path, "the data folder has no such image; was it moved after `carpus scan`?");
        let entry = self.dataset.find(&row.image_id).filter(|e| e.image == row.path).ok_or_else(moved)?;
        let unreadable = |e: ImageError| failure(row, &row.path, e.reason);
        // Hash the file without decoding it only if its crop may exist already.
        let (image_sha, decoded) = match before {
            Some(_) => (self.dataset.image_sha256(entry).map_err(unreadable)?, None),
            None => {
                let read = self.dataset.image(entry).map_err(unreadable)?;
                (read.sha256, Some(read.pixels))
            }
        };
        if row.sha256.as_ref().is_some_and(|known| *known != image_sha) {
            let reason = "the image has changed since it was scanned; run `carpus scan` again";
            return Err(failure(row, &row.path, reason).into());
        }
        let place = entry.annotation.as_deref().unwrap_or(&entry.image);
        let read = self.dataset.annotation(entry).map_err(|e| failure(row, place, e.to_string()))?;
        let decisions = self.dataset.corrections().about_shapes(&row.image_id);
        let inputs = self.inputs(row, &image_sha, read.as_ref().map(|r| &*r.sha256), &decisions);
        if let Some(before) = before
            && before.inputs == inputs
            && self.has_files(before)
        {
            return Ok(Done { transform: before.clone(), unchanged: true, problems: vec![] });
        }

        let pixels = match decoded {
            Some(pixels) => pixels,
            None => self.dataset.image(entry).map_err(unreadable)?.pixels,
        };
        let top_level = pixels.sixteen_bit_top();
        let mut pixels = pixels.black_is_zero();
        let (width, height) = pixels.dimensions();
        let mut problems = Vec::new();
        if read.is_none() {
            let reason = "the image has no annotation";
            problems.extend(decisions.iter().map(|d| self.dataset.corrections().problem(d, reason)));
        }
        let annotation = read.map(|read| {
            // The scan has reported the repairs; report again only the shapes that are lost.
            problems.extend(read.problems.into_iter().filter(|p| p.severity == ProblemSeverity::Error));
            read.annotation
        });
        let masks = annotation.as_ref().map_or_else(|| HandMasks::empty(width, height), |a| a.masks(width, height));
        let (top, left) = self.strips(row);
        image::blacken_strips(&mut pixels, top, left);
        let Framed { area, box_source, background } = self.frame(row, &mut pixels, masks.as_slice(), &mut problems);
        let transform = Transform {
            version: VERSION,
            image_id: row.image_id.clone(),
            patient_id: row.patient_id.clone(),
            subset: row.subset,
            side: row.side,
            image: with_png(&row.path),
            annotation: self.dataset.annotation_file(entry),
            original_image: row.path.clone(),
            original_width: width,
            original_height: height,
            area,
            crop_from_image: area.crop_from_image(),
            box_source,
            strip_top_px: top.min(height),
            strip_left_px: left.min(width),
            background,
            top_level,
            corrections: decisions.iter().map(|decision| decision.id()).collect(),
            inputs,
        };
        // Write the annotation first: a crop without its annotation would look unannotated.
        if let (Some(path), Some(annotation)) = (&transform.annotation, &annotation) {
            let document = self.dataset.document(entry).map_err(|e| failure(row, place, e.to_string()))?;
            let document = document.with(&in_crop(annotation, area), (area.width, area.height));
            self.write(row, path, |out| Ok(serde_json::to_writer(out, &document)?))?;
        }
        let crop = image::cut(&pixels, area);
        self.write(row, &transform.image, |out| image::write_png(out, &crop))?;
        Ok(Done { transform, unchanged: false, problems })
    }

    /// Finds the hand in an image whose strips are blackened, and blackens the background if the settings say so.
    fn frame(&self, row: &ImageRow, pixels: &mut GreyImage, masks: &[RunMask], problems: &mut Vec<Problem>) -> Framed {
        let (width, height) = pixels.dimensions();
        let (top, left) = self.strips(row);
        let by_masks = masks.iter().filter_map(RunMask::bounding_box).reduce(|a, b| a.union(&b));
        let by_table = table_box(row, width, height);
        let blacken = self.settings.background == Background::Black;
        let is_needed = blacken || by_masks.is_none() && by_table.is_none();
        let hand = if is_needed { find_hand(&pixels.clone().into_eight_bit(), top, left) } else { None };
        let (bounds, box_source) = match (by_masks, by_table, hand.as_ref().and_then(HandRegion::bounding_box)) {
            (Some(bounds), _, _) => (Some(bounds), BoxSource::Masks),
            (None, Some(bounds), _) => (Some(bounds), BoxSource::Table),
            (None, None, Some(bounds)) => (Some(bounds), BoxSource::Image),
            (None, None, None) => (None, BoxSource::Whole),
        };
        if bounds.is_none() {
            let reason = "the image has no masks, and no hand was found in it";
            problems.push(problem(row, ProblemSeverity::Warning, reason, "whole image kept"));
        }
        let background =
            if blacken { self.blacken(row, pixels, hand, masks, problems) } else { BackgroundSource::Kept };
        let shape = if self.settings.square { CropShape::Square } else { CropShape::Tight };
        let area = match bounds {
            Some(bounds) => CropBox::around(bounds, self.settings.margin, shape, width, height),
            None => CropBox::whole(width, height, shape),
        };
        Framed { area, box_source, background }
    }

    fn strips(&self, row: &ImageRow) -> (u32, u32) {
        match self.settings.strips {
            StripRule::Fixed(px) => (px, px),
            StripRule::Detect => (row.strip_top_px.unwrap_or(0), row.strip_left_px.unwrap_or(0)),
            StripRule::None => (0, 0),
        }
    }

    fn blacken(
        &self,
        row: &ImageRow,
        pixels: &mut GreyImage,
        hand: Option<HandRegion>,
        masks: &[RunMask],
        problems: &mut Vec<Problem>,
    ) -> BackgroundSource {
        let (width, height) = pixels.dimensions();
        let has_masks = masks.iter().any(|m| !m.is_empty());
        let (hand, source) = match hand.map(|h| h.grown(RIM)) {
            Some(hand) if hand.share_of(masks) >= MIN_SHARE => (hand, BackgroundSource::Image),
            _ if has_masks => (HandRegion::around_masks(masks, FLESH, width, height), BackgroundSource::Masks),
            _ => {
                let reason = "the image has no masks, and no hand was found in it";
                problems.push(problem(row, ProblemSeverity::Warning, reason, "background kept"));
                return BackgroundSource::Kept;
            }
        };
        image::blacken_background(pixels, &hand);
        source
    }

    /// Hash of all inputs of the crop.
    fn inputs(&self, row: &ImageRow, image_sha: &str, annotation_sha: Option<&str>, decisions: &[&Decision]) -> String {
        let hand = [row.hand_x_min, row.hand_y_min, row.hand_x_max, row.hand_y_max];
        let all = serde_json::json!([
            VERSION,
            RECIPE,
            image_sha,
            annotation_sha,
            decisions,
            self.settings,
            self.strips(row),
            hand,
            row.path,
            row.annotation_path,
            row.patient_id,
            row.subset,
            row.side,
            row.level_bits.and(self.dataset.top_level()),
        ]);
        sha256(all.to_string().as_bytes())
    }

    /// Whether the files of a transform exist.
    fn has_files(&self, transform: &Transform) -> bool {
        std::iter::once(&transform.image).chain(&transform.annotation).all(|path| self.out.join(path).is_file())
    }

    fn write(
        &self,
        row: &ImageRow,
        path: &str,
        write: impl FnOnce(&mut std::io::BufWriter<&std::fs::File>) -> std::io::Result<()>,
    ) -> Result<(), Failure> {
        let full =
            self.out.join(relative(path).ok_or_else(|| failure(row, path, "the path leads out of the output folder"))?);
        self.outputs.path(&full).map_err(|e| Failure::Output(e.into()))?;
        write_atomically(&full, write).map_err(|source| Failure::Output(CleanError::Io { path: full, source }))
    }
}

/// The annotation in coordinates of the crop.
fn in_crop(annotation: &Annotation, area: CropBox) -> Annotation {
    let moved = |v: i32, by: i64| i64::from(v).saturating_sub(by).clamp(i32::MIN.into(), i32::MAX.into()) as i32;
    let mut shifted = annotation.clone();
    for [x, y] in shifted.shapes.iter_mut().flat_map(|shape| &mut shape.points) {
        (*x, *y) = (moved(*x, area.x), moved(*y, area.y));
    }
    shifted
}

/// The path, if it is relative and does not leave its folder.
pub fn relative(path: &str) -> Option<PathBuf> {
    let parts: Option<PathBuf> = Path::new(path)
        .components()
        .map(|part| match part {
            Component::Normal(name) => Some(name),
            _ => None,
        })
        .collect();
    parts.filter(|p| !p.as_os_str().is_empty())
}

/// The path with the ending `.png`: crops are PNG files whatever the format of the original.
fn with_png(path: &str) -> String {
    let (folder, name) = path.rsplit_once('/').map_or((None, path), |(folder, name)| (Some(folder), name));
    let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
    folder.map_or_else(|| format!("{stem}.png"), |folder| format!("{folder}/{stem}.png"))
}

/// The hand's box in the images table, if it lies in the image.
fn table_box(row: &ImageRow, width: u32, height: u32) -> Option<PixelBox> {
    let (x_min, y_min) = (row.hand_x_min?, row.hand_y_min?);
    let (x_max, y_max) = (row.hand_x_max?, row.hand_y_max?);
    (x_min <= x_max && y_min <= y_max && x_max < width && y_max < height).then_some(PixelBox {
        x_min,
        y_min,
        x_max,
        y_max,
    })
}

fn failure(row: &ImageRow, file: &str, reason: impl Into<String>) -> Box<Problem> {
    let problem = Problem::new(ProblemSeverity::Error, file, reason, "image left out");
    Box::new(problem.of_image(&row.image_id).of_patient(&row.patient_id))
}

fn problem(row: &ImageRow, severity: ProblemSeverity, reason: &str, action: &str) -> Problem {
    Problem::new(severity, &row.path, reason, action).of_image(&row.image_id).of_patient(&row.patient_id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_in_their_folder() {
        assert_eq!(relative("a/b.png"), Some(PathBuf::from("a/b.png")));
        for wrong in ["", "../a", "/etc/passwd", "a/../../b"] {
            assert_eq!(relative(wrong), None, "{wrong}");
        }
        assert_eq!(with_png("train/DCM/a.b.jpg"), "train/DCM/a.b.png");
        assert_eq!(with_png("a"), "a.png");
    }
}
