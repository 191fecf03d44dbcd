//! Copies of a data set in the formats of other programs. Each format is one file, which a source of [`crate::dataset`]
//! reads back. Images are copied byte by byte, DICOM images become PNG; the spreadsheet is copied; patient, subset and
//! side are in [`conversion::FILE`]. The copy is written completely or not at all.

mod coco;
mod cvat;
mod format;
mod labelme;
mod loss;
mod masks;
mod picture;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde::Serialize;

pub use format::{AreaChange, FORMATS, Format, HandCopy, SegmentationForm, WrittenImage, WrittenImages, format_named};
pub use loss::{FormatLoss, Losses};

use crate::artefact::{FolderError, kind, replace_folder};
use crate::audit::FindingRow;
use crate::bounded;
use crate::dataset::conversion::{self, ConvertedImage};
use crate::dataset::corrections::Action;
use crate::dataset::{Dataset, ImageEntry, Problem, ProblemSeverity, Subset};
use crate::progress::Progress;

/// Why a copy cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum ConvertError {
    /// A file cannot be written.
    #[error("{path}: {source}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// The folder cannot be written or replaced.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// No image can be read.
    #[error("no image of the data can be copied; the first: {reason}")]
    NoImages {
        /// The first problem.
        reason: String,
    },
}

/// How to convert.
pub struct ConvertSettings<'a> {
    /// The format.
    pub format: &'static dyn Format,
    /// How COCO files hold masks.
    pub segmentation: SegmentationForm,
    /// Findings of an audit to write into the copy.
    pub findings: &'a [FindingRow],
}

/// What was written.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ConvertedCopy {
    /// Number of images.
    pub images: usize,
    /// Number of images with an annotation.
    pub annotated: usize,
    /// Number of shapes or masks.
    pub objects: usize,
    /// What the format cannot hold.
    pub losses: Losses,
    /// Masks whose areas differ for readers of the format; empty if it holds pixels.
    #[serde(skip)]
    pub areas: Vec<AreaChange>,
    /// Images and annotations that could not be read, and shapes that were left out.
    #[serde(skip)]
    pub problems: Vec<Problem>,
}

/// Writes a copy of the data into `out`, which must be free: check it with [`crate::artefact::Outputs::folder`] and
/// [`kind::CONVERSION`] first.
///
/// # Errors
/// A file cannot be written, or no image can be read. The old content of `out` is then unchanged.
pub fn convert(
    dataset: &Dataset,
    settings: &ConvertSettings,
    out: &Path,
    progress: &dyn Progress,
) -> Result<ConvertedCopy, ConvertError> {
    let earlier = files_of(out);
    let (converted, written) =
        replace_folder(out, &kind::CONVERSION, |new| Copying { dataset, settings, folder: new, progress }.copy())?;
    // A picture of an earlier conversion that is not in this one would be read as one more image.
    for file in earlier.iter().filter(|file| !written.contains(*file)) {
        let path = out.join(file);
        if path.is_file() {
            fs::remove_file(&path).map_err(|source| ConvertError::Io { path, source })?;
        }
    }
    Ok(converted)
}

/// The files of images and masks that an earlier conversion wrote into a folder.
fn files_of(folder: &Path) -> HashSet<String> {
    let text = bounded::read_text(&folder.join(conversion::FILE), bounded::MAX_TEXT).unwrap_or_default();
    let lines = text.lines().filter_map(|line| serde_json::from_str::<ConvertedImage>(line).ok());
    let files = lines.flat_map(|image| {
        let masks = crate::bones::NAMES.iter().map(|bone| masks::mask_file(&image.image_id, bone)).collect();
        let own: Vec<String> = if image.format == masks::NAME { masks } else { Vec::new() };
        own.into_iter().chain([image.image])
    });
    files.filter(|file| crate::dataset::coco::relative(file).is_some()).collect()
}

struct Copying<'a> {
    dataset: &'a Dataset,
    settings: &'a ConvertSettings<'a>,
    folder: &'a Path,
    progress: &'a dyn Progress,
}

/// An image that was copied, or why it was not.
type Copied<'a> = Result<(HandCopy<'a>, WrittenImage, Vec<Problem>), Failure>;

enum Failure {
    /// The image is left out.
    Input(Box<Problem>),
    /// The copy cannot be written.
    Output(ConvertError),
}

impl<'a> Copying<'a> {
    fn copy(&self) -> Result<(ConvertedCopy, HashSet<String>), ConvertError> {
        let mut findings: HashMap<&str, Vec<&FindingRow>> = HashMap::new();
        for finding in self.settings.findings {
            findings.entry(&finding.image_id).or_default().push(finding);
        }
        let mut numbers: BTreeMap<Subset, usize> = BTreeMap::new();
        let kept = self.dataset.images().iter().filter(|entry| !self.dataset.excludes(entry));
        let numbered: Vec<(&ImageEntry, usize)> = kept
            .map(|entry| {
                let number = numbers.entry(entry.subset).or_default();
                *number += 1;
                (entry, *number)
            })
            .collect();
        let mut converted = ConvertedCopy::default();
        let ids: HashSet<&str> = numbered.iter().map(|(entry, _)| &*entry.image_id).collect();
        let elsewhere = findings.iter().filter(|(image, _)| !ids.contains(*image)).map(|(_, about)| about.len()).sum();
        // Of excluded images, of patients as a whole, or of other data.
        converted.losses.add(FormatLoss::Findings, elsewhere);
        converted.losses.add(FormatLoss::ExcludedImages, self.dataset.images().len() - numbered.len());
        self.progress.start("images", numbered.len() as u64);
        let copied: Vec<Copied> = numbered
            .par_iter()
            .with_max_len(1)
            .map(|(entry, number)| {
                let about = findings.get(&*entry.image_id).cloned().unwrap_or_default();
                let copied = self.image(entry, *number, about);
                self.progress.advance(1);
                copied
            })
            .collect();
        self.progress.finish();
        let mut images = Vec::with_capacity(copied.len());
        for one in copied {
            match one {
                Ok((image, part, problems)) => {
                    converted.problems.extend(problems);
                    images.push((image, part));
                }
                Err(Failure::Input(problem)) => converted.problems.push(*problem),
                Err(Failure::Output(error)) => return Err(error),
            }
        }
        if images.is_empty() {
            let first = converted.problems.first();
            let reason = first.map_or("all are excluded".into(), |p| format!("{}: {}", p.file, p.reason));
            return Err(ConvertError::NoImages { reason });
        }
        let io = |source| ConvertError::Io { path: self.folder.to_owned(), source };
        self.settings.format.finish(&WrittenImages { images: &images }, self.folder).map_err(io)?;
        self.write_spreadsheet(&mut converted)?;
        self.write_lines(&images).map_err(io)?;
        let mut files: HashSet<String> = HashSet::new();
        for (image, part) in images {
            converted.images += 1;
            converted.annotated += usize::from(image.annotation.is_some());
            converted.objects += part.objects;
            converted.losses.extend(part.losses);
            converted.areas.extend(part.areas);
            files.extend(image.masks_in_copy(self.settings.format.name()));
            files.insert(image.file);
        }
        Ok((converted, files))
    }

    /// Copies an image and writes its annotation.
    fn image(&self, entry: &'a ImageEntry, number: usize, findings: Vec<&'a FindingRow>) -> Copied<'a> {
        let unusable = |file: &str, reason: String| {
            let problem = Problem::new(ProblemSeverity::Error, file, reason, "image left out");
            Failure::Input(Box::new(problem.of_image(&*entry.image_id).of_patient(&*entry.patient_id)))
        };
        let mut bytes = self.dataset.image_bytes(entry).map_err(|e| unusable(&entry.image, e.reason))?;
        let (width, height) = self.dataset.dimensions(entry).map_err(|e| unusable(&entry.image, e.reason))?;
        let mut rewritten = 0;
        let ending = match bytes[..] {
            [0x89, b'P', b'N', b'G', ..] => "png",
            [0xff, 0xd8, 0xff, ..] => "jpg",
            [b'I', b'I', ..] | [b'M', b'M', ..] => "tif",
            _ => {
                let read = self.dataset.image(entry).map_err(|e| unusable(&entry.image, e.reason))?;
                rewritten = 1;
                bytes = picture::png_of(&read).map_err(|e| unusable(&entry.image, e.to_string()))?;
                "png"
            }
        };
        let format = self.settings.format;
        let file = format.image_file(entry, ending);
        let output = |path: PathBuf| move |source| Failure::Output(ConvertError::Io { path, source });
        let path = self.folder.join(&file);
        let parent = path.parent().unwrap_or(self.folder);
        fs::create_dir_all(parent).and_then(|()| fs::write(&path, &bytes)).map_err(output(path.clone()))?;
        let mut problems = Vec::new();
        let annotation = match self.dataset.annotation(entry) {
            Ok(None) => None,
            Ok(Some(read)) => {
                problems.extend(read.problems.into_iter().filter(|p| p.severity == ProblemSeverity::Error));
                Some(read.annotation)
            }
            Err(error) => {
                let place = entry.annotation.as_deref().unwrap_or(&entry.image);
                let problem =
                    Problem::new(ProblemSeverity::Error, place, error.to_string(), "copied without annotation");
                problems.push(problem.of_image(&*entry.image_id).of_patient(&*entry.patient_id));
                None
            }
        };
        let segmentation = self.settings.segmentation;
        let spacing_mm = self.dataset.spacing_mm(entry);
        let image = HandCopy { entry, number, file, width, height, spacing_mm, annotation, findings, segmentation };
        let mut part = format.image(&image, self.folder).map_err(output(self.folder.to_owned()))?;
        let has_document = self.dataset.document(entry).is_ok_and(|document| document != Default::default());
        part.losses.add(FormatLoss::DicomHeaders, rewritten);
        part.losses.add(FormatLoss::OtherKeys, usize::from(image.annotation.is_some() && has_document));
        Ok((image, part, problems))
    }

    fn write_spreadsheet(&self, converted: &mut ConvertedCopy) -> Result<(), ConvertError> {
        let Some(file) = self.dataset.metadata() else { return Ok(()) };
        let name = file.rsplit('/').next().unwrap_or(file);
        match self.dataset.metadata_bytes() {
            Ok(Some(bytes)) => {
                let path = self.folder.join(name);
                fs::write(&path, bytes).map_err(|source| ConvertError::Io { path, source })?;
            }
            Ok(None) => {}
            Err(error) => {
                let reason = format!("cannot be read: {error}");
                converted.problems.push(Problem::new(ProblemSeverity::Error, file, reason, "not copied"));
            }
        }
        let decisions = self.dataset.corrections().decisions();
        let about_metadata = decisions.filter(|d| matches!(d.action, Action::SetMetadata { .. })).count();
        converted.losses.add(FormatLoss::MetadataCorrections, about_metadata);
        Ok(())
    }

    fn write_lines(&self, images: &[(HandCopy, WrittenImage)]) -> std::io::Result<()> {
        let corrections = self.dataset.corrections();
        let mut text = Vec::new();
        for (image, _) in images {
            let entry = image.entry;
            let line = ConvertedImage {
                image_id: entry.image_id.clone(),
                format: self.settings.format.name().to_owned(),
                patient_id: entry.patient_id.clone(),
                subset: entry.subset,
                side: entry.side,
                image: image.file.clone(),
                original_image: entry.image.clone(),
                space: self.dataset.space(),
                is_annotated: image.annotation.is_some(),
                spacing_mm: image.spacing_mm,
                corrections: self.dataset.applied(entry).or((!corrections.is_empty()).then(|| {
                    corrections.about_shapes(&entry.image_id).into_iter().map(|decision| decision.id()).collect()
                })),
            };
            serde_json::to_writer(&mut text, &line)?;
            text.push(b'\n');
        }
        fs::File::create(self.folder.join(conversion::FILE))?.write_all(&text)
    }
}

impl HandCopy<'_> {
    /// The files of masks that the format has for the image.
    fn masks_in_copy(&self, format: &str) -> Vec<String> {
        if format != masks::NAME {
            return Vec::new();
        }
        let shapes = self.annotation.iter().flat_map(|annotation| &annotation.shapes);
        shapes.filter_map(|shape| Some(masks::mask_file(&self.entry.image_id, shape.bone?.name()))).collect()
    }
}
