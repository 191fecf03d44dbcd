//! Checks of a submission before it is uploaded. Unlike a reader, which stops at the first fault, they list all of them.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use rayon::prelude::*;
use serde::Serialize;

use super::ScoreError;
use crate::bones::{self, Bone};
use crate::bounded::Csv;
use crate::dataset::image::ImageError;
use crate::dataset::{Dataset, ImageEntry, Problem, ProblemSeverity, image_id};
use crate::mask::submission::{COLUMNS, ImageMasks, SubmissionError};
use crate::mask::{HandMasks, MaskError, RunMask, rle};

/// Rows that are decoded together.
const BATCH: usize = 512;

/// Areas of a class in annotations, as shares of the image.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct AreaRange {
    /// Smallest area.
    pub least: f64,
    /// Largest area.
    pub most: f64,
}

/// The range of each class's areas, by class index; `None` for a class that is not annotated anywhere.
#[derive(Clone, Debug, PartialEq)]
pub struct AreaRanges(pub [Option<AreaRange>; bones::COUNT]);

impl AreaRanges {
    /// The ranges of these areas: bone and share of the image. Areas of 0 do not count.
    pub fn new(areas: impl IntoIterator<Item = (Bone, f64)>) -> AreaRanges {
        let mut ranges = [None; bones::COUNT];
        for (bone, area) in areas.into_iter().filter(|(_, area)| *area > 0.0) {
            let range: &mut AreaRange = ranges[bone.index()].get_or_insert(AreaRange { least: area, most: area });
            *range = AreaRange { least: range.least.min(area), most: range.most.max(area) };
        }
        AreaRanges(ranges)
    }
}

/// What the checks found.
#[derive(Clone, Debug)]
pub struct CheckedSubmission {
    /// The masks that could be read, of the images in the data folder, at the images' sizes; others are empty.
    pub images: Vec<ImageMasks>,
    /// Faults and doubts, in the order of the file; images without rows come last.
    pub problems: Vec<Problem>,
}

/// A row of the file.
struct CheckedRow {
    /// Position among the rows.
    index: usize,
    line: u64,
    image: String,
    /// As in the file, if it is no class.
    class: Result<Bone, String>,
    /// The mask at the image's size, or why it is invalid; `None` for an image that is not in the data.
    mask: Option<Result<RunMask, String>>,
}

/// Checks the submission at `path`: `expected` are the images that it should have, in order. Reported are rows with an
/// invalid image, class or mask, classes that are missing or repeated, masks that are empty or whose area is outside
/// `areas`, images that are missing, unexpected or in another order, and masks made at a smaller image size.
///
/// # Errors
/// The file cannot be opened, is no CSV, or has other columns than a submission. An image whose size cannot be read is a
/// problem.
pub fn check_submission(
    dataset: &Dataset,
    expected: &[&ImageEntry],
    path: &Path,
    areas: Option<&AreaRanges>,
) -> Result<CheckedSubmission, ScoreError> {
    let rows = rows(dataset, path)?;
    let mut order: Vec<&str> = Vec::new();
    let mut by_image: HashMap<&str, Vec<&CheckedRow>> = HashMap::new();
    for row in &rows {
        by_image.entry(&row.image).or_insert_with(|| {
            order.push(&row.image);
            Vec::new()
        });
        by_image.get_mut(&*row.image).expect("inserted above").push(row);
    }
    let report = Report { file: path.display().to_string() };
    let wanted: HashSet<&str> = expected.iter().map(|entry| &*entry.image_id).collect();
    let (mut problems, mut images) = (Vec::new(), Vec::new());
    for name in &order {
        let of_image = &by_image[name];
        problems.extend(report.image(dataset, &wanted, of_image));
        let Some(entry) = dataset.find(name) else { continue };
        problems.extend(report.classes(of_image));
        let (width, height) = match dataset.dimensions(entry) {
            Ok(size) => size,
            Err(error) => {
                problems.push(report.of_unreadable(entry, &error));
                continue;
            }
        };
        problems.extend(report.masks(of_image, f64::from(width) * f64::from(height), areas));
        let mut masks = HandMasks::empty(width, height);
        for row in of_image {
            if let (Ok(bone), Some(Ok(mask))) = (&row.class, &row.mask) {
                masks.set(*bone, mask.clone()).map_err(|source| SubmissionError::Masks {
                    path: report.file.clone(),
                    image: row.image.clone(),
                    source,
                })?;
            }
        }
        images.push(ImageMasks { image_name: (*name).to_owned(), masks });
    }
    problems.extend(report.file(expected, &order, &images));
    Ok(CheckedSubmission { images, problems })
}

/// Reads all rows; masks are decoded in parallel.
fn rows(dataset: &Dataset, path: &Path) -> Result<Vec<CheckedRow>, ScoreError> {
    let csv_error = |source| SubmissionError::Csv { path: path.display().to_string(), source };
    let mut reader = Csv::open_masks(path).map_err(csv_error)?;
    let header: Vec<String> =
        reader.byte_headers().map_err(csv_error)?.iter().map(|h| String::from_utf8_lossy(h).into_owned()).collect();
    let columns = COLUMNS.map(|column| header.iter().position(|h| h == column));
    let (3, [Some(image_at), Some(class_at), Some(rle_at)]) = (header.len(), columns) else {
        return Err(SubmissionError::Header { path: path.display().to_string(), found: header }.into());
    };
    let mut sizes: HashMap<String, Option<(u32, u32)>> = HashMap::new();
    let mut rows = Vec::new();
    loop {
        let (mut batch, mut more) = (Vec::new(), true);
        while more && batch.len() < BATCH {
            let mut record = csv::ByteRecord::new();
            more = reader.read_byte_record(&mut record).map_err(csv_error)?;
            if more {
                let image = String::from_utf8_lossy(&record[image_at]).into_owned();
                if !sizes.contains_key(&image) {
                    // An image whose size cannot be read is reported with its rows.
                    let size = dataset.find(&image).and_then(|entry| dataset.dimensions(entry).ok());
                    sizes.insert(image.clone(), size);
                }
                batch.push((image, record));
            }
        }
        rows.par_extend(batch.into_par_iter().map(|(image, record)| {
            let class = String::from_utf8_lossy(&record[class_at]).into_owned();
            let mask = sizes[&image].map(|(width, height)| {
                rle::decode_bytes(&record[rle_at], width, height).map_err(|error| error.to_string())
            });
            let line = record.position().map_or(0, csv::Position::line);
            CheckedRow { index: 0, line, image, class: Bone::from_name(&class).ok_or(class), mask }
        }));
        if !more {
            rows.iter_mut().enumerate().for_each(|(index, row): (usize, &mut CheckedRow)| row.index = index);
            return Ok(rows);
        }
    }
}

/// Makes the problems of one file.
struct Report {
    file: String,
}

impl Report {
    fn problem(&self, reason: impl Into<String>, fix: &str) -> Problem {
        Problem::new(ProblemSeverity::Warning, &*self.file, reason, fix)
    }

    /// A problem of a row. The class is named in its place, so that problems of one kind are counted together.
    fn of_row(&self, row: &CheckedRow, reason: impl Into<String>, fix: &str) -> Problem {
        let class = match &row.class {
            Ok(bone) => bone.name(),
            Err(text) => text,
        };
        self.problem(reason, fix)
            .at(format!("line {} image {} class {class}", row.line, row.image))
            .of_image(&*row.image)
    }

    /// The masks of an image that cannot be read are not checked.
    fn of_unreadable(&self, entry: &ImageEntry, error: &ImageError) -> Problem {
        let reason = format!("the masks are not checked, because the image's size cannot be read: {error}");
        self.problem(reason, "replace the image file, and check again")
            .at(format!("image {}", entry.image_id))
            .of_image(&*entry.image_id)
    }

    /// Problems of the image's name, and of the place of its rows.
    fn image(&self, dataset: &Dataset, wanted: &HashSet<&str>, rows: &[&CheckedRow]) -> Vec<Problem> {
        let first = rows[0];
        let at =
            |problem: Problem| problem.at(format!("line {} image {}", first.line, first.image)).of_image(&*first.image);
        let mut found = Vec::new();
        match dataset.find(&first.image) {
            None => found.push(at(self.problem("the image is not in the data folder", "remove its rows"))),
            Some(entry) => {
                if !wanted.contains(&*entry.image_id) {
                    let reason = "the image is in the data folder but is not one of the images to submit";
                    found.push(at(self.problem(reason, "remove its rows")));
                }
                if entry.file_name() != first.image {
                    let reason = format!("the image's file is named {:?}", entry.file_name());
                    found.push(at(self.problem(reason, "write the name of the file")));
                }
            }
        }
        found
    }

    /// Classes that are unknown, repeated, missing or in another order.
    fn classes(&self, rows: &[&CheckedRow]) -> Vec<Problem> {
        let mut found = Vec::new();
        let mut seen: Vec<Bone> = Vec::new();
        for row in rows {
            match &row.class {
                Err(_) => found.push(self.of_row(row, "unknown class", "write a name of `carpus list bones`")),
                Ok(bone) if seen.contains(bone) => {
                    found.push(self.of_row(row, "the class has an earlier row for this image", "keep one of the rows"));
                }
                Ok(bone) => seen.push(*bone),
            }
        }
        let first = rows[0];
        let at =
            |problem: Problem| problem.at(format!("line {} image {}", first.line, first.image)).of_image(&*first.image);
        let missing: Vec<&str> = Bone::all().filter(|bone| !seen.contains(bone)).map(Bone::name).collect();
        if !missing.is_empty() {
            let reason = format!("the image has no row for \"{}\"", missing.join(", "));
            found.push(at(self.problem(reason, "add a row per class; the rle of an empty mask is empty")));
        } else if !seen.is_sorted() {
            let reason = "the classes are not in the order of `carpus list bones`";
            found.push(at(self.problem(reason, "sort the rows if the receiver expects that order")));
        }
        if rows.windows(2).any(|pair| pair[1].index != pair[0].index + 1) {
            found.push(at(self.problem("the image's rows are not together", "sort the rows by image")));
        }
        found
    }

    /// Masks that are invalid, empty, or of an unusual area.
    fn masks(&self, rows: &[&CheckedRow], pixels: f64, areas: Option<&AreaRanges>) -> Vec<Problem> {
        let mut found = Vec::new();
        for row in rows {
            match &row.mask {
                Some(Err(error)) => {
                    found.push(self.of_row(row, format!("invalid rle: {error}"), "correct it for the image's size"));
                }
                Some(Ok(mask)) if mask.is_empty() => {
                    found.push(self.of_row(row, "the mask is empty", "look at the image"));
                }
                Some(Ok(mask)) => {
                    let range = row.class.as_ref().ok().zip(areas).and_then(|(bone, areas)| areas.0[bone.index()]);
                    let share = mask.area() as f64 / pixels;
                    if range.is_some_and(|range| share < range.least || share > range.most) {
                        let range = range.expect("there is a range");
                        let reason = format!(
                            "the area is {:.3} % of the image, outside the range of the annotations, {:.3} to {:.3} %",
                            100.0 * share,
                            100.0 * range.least,
                            100.0 * range.most
                        );
                        found.push(self.of_row(row, reason, "look at the image"));
                    }
                }
                None => {}
            }
        }
        found
    }

    /// Problems of the whole file: missing images, their order, the size at which the masks were made.
    fn file(&self, expected: &[&ImageEntry], order: &[&str], images: &[ImageMasks]) -> Vec<Problem> {
        let mut found = Vec::new();
        let ids: Vec<String> = order.iter().map(|name| image_id(name)).collect();
        let places: HashMap<&str, usize> = ids.iter().map(String::as_str).zip(0..).collect();
        let present: Vec<usize> = expected.iter().filter_map(|e| places.get(&*e.image_id).copied()).collect();
        if !present.is_sorted() {
            let reason = "the images are in another order than in the data folder";
            found.push(self.problem(reason, "sort the rows if the receiver expects that order"));
        }
        for (i, id) in ids.iter().enumerate() {
            if places[&**id] != i {
                let reason = format!("{:?} and {:?} are the same image", order[i], order[places[&**id]]);
                found.push(self.problem(reason, "keep the rows of one of them"));
            }
        }
        let reach = images.iter().flat_map(|image| {
            let pixels = f64::from(image.masks.width()) * f64::from(image.masks.height());
            image.masks.iter().filter_map(move |(_, mask)| Some(f64::from(mask.runs().last()?.end()) / pixels))
        });
        let reach = reach.fold(0.0, f64::max);
        if reach > 0.0 && reach <= 0.25 {
            let reason = "all masks lie in the first quarter of their image";
            found.push(self.problem(reason, "check whether they were made at a smaller image size"));
        }
        for entry in expected.iter().filter(|entry| !places.contains_key(&*entry.image_id)) {
            let problem = self.problem("an image to submit has no rows", "predict it");
            found.push(problem.at(format!("image {}", entry.file_name())).of_image(&*entry.image_id));
        }
        found
    }
}

/// How well two submissions agree.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SubmissionOverlap {
    /// Number of images that both have.
    pub images: usize,
    /// Number of images that only one of them has.
    pub other_images: usize,
    /// Mean Dice over the images that both have, by class index.
    pub dice: Vec<f64>,
}

/// Compares the masks of two submissions image by image. `None` if they have no image in common.
///
/// # Errors
/// The masks of an image differ in size.
pub fn submission_overlap(a: &[ImageMasks], b: &[ImageMasks]) -> Result<Option<SubmissionOverlap>, MaskError> {
    let others: HashMap<String, &ImageMasks> = b.iter().map(|image| (image_id(&image.image_name), image)).collect();
    let pairs: Vec<(&ImageMasks, &ImageMasks)> =
        a.iter().filter_map(|image| Some((image, *others.get(&image_id(&image.image_name))?))).collect();
    if pairs.is_empty() {
        return Ok(None);
    }
    let dice = Bone::all().map(|bone| {
        let sum = pairs.par_iter().map(|(a, b)| a.masks[bone].dice(&b.masks[bone])).collect::<Result<Vec<f64>, _>>()?;
        Ok(sum.iter().sum::<f64>() / pairs.len() as f64)
    });
    let dice = dice.collect::<Result<_, MaskError>>()?;
    Ok(Some(SubmissionOverlap { images: pairs.len(), other_images: a.len() + b.len() - 2 * pairs.len(), dice }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_span_the_areas_of_a_class() {
        let bone = Bone::RADIUS;
        let ranges = AreaRanges::new([(bone, 0.2), (bone, 0.1), (bone, 0.0), (Bone::ULNA, 0.0)]);
        assert_eq!(ranges.0[bone.index()], Some(AreaRange { least: 0.1, most: 0.2 }));
        assert_eq!(ranges.0[Bone::ULNA.index()], None);
    }

    #[test]
    fn overlap_is_over_the_common_images() {
        let image = |name: &str, bits: [u8; 4]| {
            let mut masks = HandMasks::empty(2, 2);
            masks.set(Bone::ULNA, RunMask::from_dense(&bits, 2, 2)).unwrap();
            ImageMasks { image_name: name.into(), masks }
        };
        let a = [image("a.png", [1, 1, 0, 0]), image("b.png", [1, 1, 1, 1])];
        let b = [image("c.png", [1, 0, 0, 0]), image("a", [1, 0, 0, 0])];
        let found = submission_overlap(&a, &b).unwrap().unwrap();
        assert_eq!((found.images, found.other_images), (1, 2));
        assert_eq!((found.dice[Bone::ULNA.index()], found.dice[0]), (2.0 / 3.0, 1.0));
        assert_eq!(submission_overlap(&a[1..], &b).unwrap(), None);
    }
}
