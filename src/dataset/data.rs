use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use super::annotation::{Annotation, AnnotationError, Document, label_place};
use super::corrections::{Action, CorrectableField, Corrections, Decision, Relabel, Target};
use super::image::{ImageError, Radiograph, Reader};
use super::metadata::{MetadataError, Patient, Sex};
use super::polarity::looks_inverted;
use super::source::{DatasetError, Listing, SOURCES, Source, SourceAnnotation};
use super::{ImageEntry, Levels, Polarity, Problem, ProblemSeverity, WithProblems, image_id, top_level};
use crate::mask::submission::Space;

/// A data set: its images, their annotations and the patients' spreadsheet, from any source.
///
/// ```no_run
/// use carpus::dataset::Dataset;
/// let dataset = Dataset::open("data".as_ref())?;
/// for entry in dataset.images() {
///     let (width, height) = dataset.image(entry)?.pixels.dimensions();
///     if let Some(read) = dataset.annotation(entry)? {
///         println!("{}: {} shapes on {width}x{height}", entry.image_id, read.annotation.shapes.len());
///     }
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Dataset {
    source: Box<dyn Source>,
    images: Vec<ImageEntry>,
    metadata: Option<String>,
    problems: Vec<Problem>,
    by_id: HashMap<String, usize>,
    corrections: Corrections,
    unfit: Vec<Problem>,
    /// Determined at its first use.
    top_level: OnceLock<Option<u16>>,
}

/// An annotation as read, corrections applied.
#[derive(Clone, Debug, PartialEq)]
pub struct ReadAnnotation {
    /// Its shapes.
    pub annotation: Annotation,
    /// SHA-256 of its content before corrections, hex.
    pub sha256: String,
    /// Shapes that were repaired or left out, and corrections that do not fit.
    pub problems: Vec<Problem>,
}

impl Dataset {
    /// Opens the data at `root`, with the source that fits.
    ///
    /// # Errors
    /// The folder cannot be listed, or contains no image. Everything else is reported in [`Dataset::problems`].
    pub fn open(root: &Path) -> Result<Dataset, DatasetError> {
        let opened = SOURCES.iter().find_map(|kind| (kind.open)(root));
        let (source, listing) = opened.unwrap_or_else(|| Err(DatasetError::NoImages { path: root.into() }))?;
        let by_id = listing.images.iter().map(|e| e.image_id.clone()).zip(0..).collect();
        let Listing { images, metadata, problems } = listing;
        Ok(Dataset {
            source,
            images,
            metadata,
            problems,
            by_id,
            corrections: Corrections::default(),
            unfit: Vec::new(),
            top_level: OnceLock::new(),
        })
    }

    /// The same data with the decisions of a corrections file applied to everything that is read.
    pub fn with_corrections(mut self, corrections: Corrections) -> Dataset {
        self.unfit.clear();
        for entry in &mut self.images {
            entry.side = corrections.side(&entry.image_id).or(entry.side);
        }
        let patients: HashSet<&str> = self.images.iter().map(|e| &*e.patient_id).collect();
        for decision in corrections.decisions() {
            let absent = match (&decision.target, &decision.action) {
                (Target::Image(id), _) if !self.by_id.contains_key(id) => {
                    format!("the data has no image {id} (looked for in {})", self.root().display())
                }
                (Target::Patient(id), Action::Exclude {}) if !patients.contains(&**id) => {
                    format!("the data has no image of patient {id}")
                }
                _ => continue,
            };
            // A copy need not contain the images that were excluded when it was made.
            if !self.is_copy() {
                self.unfit.push(corrections.problem(decision, absent));
            }
        }
        self.corrections = corrections;
        self.top_level = OnceLock::new();
        self
    }

    /// Decisions about images and patients that are not in the data.
    pub fn unfit_corrections(&self) -> &[Problem] {
        &self.unfit
    }

    /// Every decision that does not fit the data (an error) or is doubtful (a warning), in the order of the file. Reads
    /// the annotations that decisions are about.
    ///
    /// # Errors
    /// The patients' spreadsheet cannot be read.
    pub fn check_corrections(&self) -> Result<Vec<Problem>, MetadataError> {
        let mut problems = self.unfit.clone();
        problems.extend(self.patients()?.problems);
        for entry in &self.images {
            problems.extend(self.points_outside(entry));
            let decisions = self.corrections.about_shapes(&entry.image_id);
            if decisions.is_empty() {
                continue;
            }
            let reason = match self.annotation(entry) {
                Ok(Some(read)) => {
                    problems.extend(self.repeated_labels(&read, &decisions));
                    problems.extend(read.problems);
                    continue;
                }
                Ok(None) => "the image has no annotation".to_owned(),
                Err(error) => error.to_string(),
            };
            problems.extend(decisions.into_iter().map(|d| self.corrections.problem(d, &reason)));
        }
        problems.retain(|p| p.file == self.corrections.file());
        let line = |p: &Problem| p.place.strip_prefix("line ").and_then(|line| line.parse::<usize>().ok());
        problems.sort_by_key(line);
        Ok(problems)
    }

    /// Notes and outlines with a point outside the image.
    fn points_outside(&self, entry: &ImageEntry) -> Vec<Problem> {
        let points = |decision: &Decision| match &decision.action {
            Action::Note { point } => point.iter().copied().collect(),
            Action::Replace { points, .. } => points.clone(),
            _ => Vec::new(),
        };
        let with_points =
            self.corrections.of_image(&entry.image_id).map(|d| (d, points(d))).filter(|(_, p)| !p.is_empty());
        let with_points: Vec<_> = with_points.collect();
        // The points are in pixels of the original, which may be cut in a copy.
        if with_points.is_empty() || self.is_copy() {
            return Vec::new();
        }
        let Ok((width, height)) = self.dimensions(entry) else { return Vec::new() };
        let is_outside = |[x, y]: &&[i32; 2]| *x < 0 || *y < 0 || *x as u32 >= width || *y as u32 >= height;
        let outside = |(decision, points): (&Decision, Vec<[i32; 2]>)| {
            let [x, y] = points.iter().find(is_outside)?;
            let reason = format!("the point {x},{y} lies outside the image, which has {width}x{height} pixels");
            Some(self.corrections.warning(decision, reason, "kept as it is"))
        };
        with_points.into_iter().filter_map(outside).collect()
    }

    /// Relabellings of one shape to a label that another shape has as well.
    fn repeated_labels(&self, read: &ReadAnnotation, decisions: &[&Decision]) -> Vec<Problem> {
        let mut seen = HashSet::new();
        let mut problems = Vec::new();
        for decision in decisions.iter().rev().filter(|d| d.annotation_sha256.as_ref() == Some(&read.sha256)) {
            let Action::Relabel(Relabel::Shape { shape, to }) = &decision.action else { continue };
            let shapes = &read.annotation.shapes;
            let Some(now) = shapes.iter().find(|s| s.index == shape.index && s.label == *to) else { continue };
            let other = shapes.iter().find(|s| s.index != now.index && s.bone.is_some() && s.bone == now.bone);
            if let Some(other) = other.filter(|_| seen.insert(now.index)) {
                let reason = format!("shapes {} and {} are both {to} now", other.index, now.index);
                problems.push(self.corrections.warning(decision, reason, "both are drawn as one bone"));
            }
        }
        problems
    }

    /// Whether the data is a copy with corrections applied, such as crops.
    pub fn is_copy(&self) -> bool {
        self.source.applied().is_some()
    }

    /// The pixel coordinates of masks of its images: those of the original or those of the crop.
    pub fn space(&self) -> Space {
        if self.is_copy() { Space::Crop } else { Space::Original }
    }

    /// The corrections that are applied.
    pub fn corrections(&self) -> &Corrections {
        &self.corrections
    }

    /// Whether the corrections exclude an image or its patient.
    pub fn excludes(&self, entry: &ImageEntry) -> bool {
        self.corrections.excludes(&entry.image_id, &entry.patient_id)
    }

    /// The data folder.
    pub fn root(&self) -> &Path {
        self.source.root()
    }

    /// Every image, train before test, then by patient, then by name.
    pub fn images(&self) -> &[ImageEntry] {
        &self.images
    }

    /// The image of this name, with or without folder and ending.
    pub fn find(&self, name: &str) -> Option<&ImageEntry> {
        let at = self.by_id.get(name).or_else(|| self.by_id.get(&image_id(name)))?;
        Some(&self.images[*at])
    }

    /// Repairs, skipped files and missing files found when the data was listed.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// The patients' spreadsheet, relative to the data folder.
    pub fn metadata(&self) -> Option<&str> {
        self.metadata.as_deref()
    }

    /// The bytes of the patients' spreadsheet; `None` if there is none.
    ///
    /// # Errors
    /// The spreadsheet cannot be read.
    pub fn metadata_bytes(&self) -> std::io::Result<Option<Vec<u8>>> {
        self.metadata.as_ref().map(|file| std::fs::read(self.root().join(file))).transpose()
    }

    /// SHA-256 of an image's content in hex, without decoding it; the same as [`Radiograph::sha256`].
    ///
    /// # Errors
    /// The image cannot be read.
    pub fn image_sha256(&self, entry: &ImageEntry) -> Result<String, ImageError> {
        self.source.image_sha256(entry)
    }

    /// The level by which the 16-bit images are scaled: the smallest 2^n - 1 that no level of any image exceeds, at
    /// least the one that a file states (PNG's sBIT). Images that corrections exclude do not count. Of a copy, the
    /// level of its originals; `None` without 16-bit images. The first call decodes those.
    pub fn top_level(&self) -> Option<u16> {
        *self.top_level.get_or_init(|| {
            // The crop of an image may lack its brightest pixels.
            self.source.top_level().or_else(|| {
                let bits = top_level::bits(&*self.source, &self.images, |_| None);
                top_level::common(&self.of_included(bits))
            })
        })
    }

    /// As [`Dataset::top_level`], but the bits that an image's levels need may be `known` from an earlier scan. Returns
    /// the bits of each image (`None` for 8-bit images), and problems with them.
    pub fn level_bits(&self, known: impl Fn(&ImageEntry) -> Option<u32> + Sync) -> WithProblems<Vec<Option<u32>>> {
        let bits = top_level::bits(&*self.source, &self.images, known);
        let of_included = self.of_included(bits.clone());
        // A level that is set already stays: it is that of a model.
        let _ = self.top_level.set(self.source.top_level().or(top_level::common(&of_included)));
        WithProblems { content: bits, problems: top_level::problems(&self.images, &of_included) }
    }

    /// The bits of the images that are not excluded; excluded images have no influence on the scale.
    fn of_included(&self, bits: Vec<Option<u32>>) -> Vec<Option<u32>> {
        bits.into_iter().zip(&self.images).map(|(bits, entry)| bits.filter(|_| !self.excludes(entry))).collect()
    }

    /// Whether the images that have a top level are stored with their 16 bits. Copies of earlier versions have 8 bits.
    pub fn keeps_sixteen_bits(&self) -> bool {
        self.images.iter().any(|entry| self.source.stored_bits(entry).is_ok_and(|bits| bits > 8))
    }

    /// The same data with its 16-bit images scaled by another top level, such as the one that a model was trained with.
    pub fn with_top_level(self, top: u16) -> Dataset {
        Dataset { top_level: OnceLock::from(Some(top)), ..self }
    }

    /// The grey levels of an image.
    ///
    /// # Errors
    /// The image cannot be read.
    pub fn image(&self, entry: &ImageEntry) -> Result<Radiograph, ImageError> {
        self.image_into(entry, &mut Reader::default())
    }

    /// As [`Dataset::image`], in the memory of `reader`, which is reused. An image that is stored inverted (dark bones
    /// on a bright background) gets [`Polarity::WhiteIsZero`], so that its 8-bit levels show bright bones; a 16-bit
    /// image is scaled by [`Dataset::top_level`].
    ///
    /// # Errors
    /// The image cannot be read.
    pub fn image_into(&self, entry: &ImageEntry, reader: &mut Reader) -> Result<Radiograph, ImageError> {
        let mut read = self.source.image(entry, reader)?;
        if matches!(read.pixels.levels(), Levels::Sixteen(_)) {
            read.pixels = read.pixels.with_top(self.top_level().unwrap_or(u16::MAX));
        }
        if looks_inverted(&read.pixels) {
            read.pixels = read.pixels.with_polarity(Polarity::WhiteIsZero);
        }
        Ok(read)
    }

    /// Width and height of an image, without decoding it.
    ///
    /// # Errors
    /// The image's header cannot be read.
    pub fn dimensions(&self, entry: &ImageEntry) -> Result<(u32, u32), ImageError> {
        self.source.dimensions(entry)
    }

    /// The annotation of an image with its corrections applied; `None` if it has none.
    ///
    /// # Errors
    /// The annotation cannot be read at all.
    pub fn annotation(&self, entry: &ImageEntry) -> Result<Option<ReadAnnotation>, AnnotationError> {
        let Some(place) = &entry.annotation else { return Ok(None) };
        let SourceAnnotation { mut annotation, sha256, mut problems } = self.source.annotation(entry, place)?;
        let labels: Vec<(usize, String)> = annotation.shapes.iter().map(|s| (s.index, s.label.clone())).collect();
        problems.extend(match self.source.applied() {
            None => self.corrections.apply(&entry.image_id, Some(&sha256), &mut annotation),
            // In a copy, a decision cannot find the shapes that it is about.
            Some(applied) => {
                let done = applied.get(&entry.image_id).map_or(&[][..], |ids| ids);
                let later = self.corrections.about_shapes(&entry.image_id).into_iter();
                let reason = "decided after this copy of the data was made; run `carpus clean` again";
                let mut unfit: Vec<Problem> =
                    later.filter(|d| !done.contains(&d.id())).map(|d| self.corrections.problem(d, reason)).collect();
                let active: Vec<String> =
                    self.corrections.about_shapes(&entry.image_id).into_iter().map(|d| d.id()).collect();
                if !self.corrections.file().is_empty() && done.iter().any(|id| !active.contains(id)) {
                    let reason = "this copy of the image contains a correction that is no longer active";
                    let action = "shapes used as they are; run `carpus clean` again";
                    unfit.push(
                        Problem::new(ProblemSeverity::Error, self.corrections.file(), reason, action)
                            .of_image(&*entry.image_id),
                    );
                }
                unfit
            }
        });
        // Problems with a label that is no longer there are settled.
        let now: HashSet<(usize, &str)> = annotation.shapes.iter().map(|s| (s.index, &*s.label)).collect();
        let settled = labels.iter().filter(|(index, label)| !now.contains(&(*index, label.as_str())));
        let settled: HashSet<String> = settled.map(|(index, _)| label_place(*index)).collect();
        problems.retain(|p| !settled.contains(&p.place));
        Ok(Some(ReadAnnotation { annotation, sha256, problems }))
    }

    /// The annotation of an image as a document, for writing a copy; empty if the source has another format.
    ///
    /// # Errors
    /// The annotation cannot be read.
    pub fn document(&self, entry: &ImageEntry) -> Result<Document, AnnotationError> {
        match &entry.annotation {
            Some(place) => self.source.document(entry, place),
            None => Ok(Document::default()),
        }
    }

    /// The rows of the spreadsheet with corrections applied, in its order, and then patients with images and
    /// corrections but no row; and the problems.
    ///
    /// # Errors
    /// The spreadsheet cannot be read.
    pub fn patients(&self) -> Result<WithProblems<Vec<Patient>>, MetadataError> {
        let WithProblems { content: mut patients, mut problems } = match &self.metadata {
            Some(file) => self.source.patients(file)?,
            None => Default::default(),
        };
        for decision in self.corrections.decisions() {
            let (Target::Patient(id), Action::SetMetadata { field, value }) = (&decision.target, &decision.action)
            else {
                continue;
            };
            match patients.iter_mut().find(|p| p.patient_id == *id) {
                Some(patient) => set_field(patient, *field, value),
                None if self.images.iter().any(|e| e.patient_id == *id) => {
                    let mut patient = Patient { patient_id: id.clone(), ..Patient::default() };
                    set_field(&mut patient, *field, value);
                    patients.push(patient);
                }
                None => problems.push(self.corrections.problem(decision, format!("the data has no patient {id}"))),
            }
        }
        problems.iter_mut().for_each(|problem| self.corrections.settle(problem));
        Ok(WithProblems { content: patients, problems })
    }

    /// A text that changes with the content of an image, its annotation and its corrections; `None` if there is none
    /// without reading them.
    pub fn stamp(&self, entry: &ImageEntry) -> Option<String> {
        let decisions = self.corrections.about_shapes(&entry.image_id).into_iter().map(|d| d.id());
        let stamp = self.source.stamp(entry)?;
        Some(decisions.fold(stamp, |stamp, id| stamp + " " + &id))
    }

    /// File of an image's annotation in a copy of the data with one file per annotation; `None` if it has none.
    pub fn annotation_file(&self, entry: &ImageEntry) -> Option<String> {
        let place = entry.annotation.as_ref()?;
        if self.source.one_file_per_annotation() {
            return Some(place.clone());
        }
        Some(format!("{}.json", entry.image.rsplit_once('.').map_or(&*entry.image, |(stem, _)| stem)))
    }

    /// The folders that contain images, annotations or the spreadsheet, sorted.
    pub fn folders(&self) -> Vec<PathBuf> {
        let places = self.images.iter().flat_map(|e| std::iter::once(&e.image).chain(&e.annotation));
        let folders = places.chain(&self.metadata).map(|place| place.rsplit_once('/').map_or("", |(folder, _)| folder));
        let mut folders: Vec<PathBuf> = folders.map(|folder| self.root().join(folder)).collect();
        folders.sort();
        folders.dedup();
        folders
    }
}

fn set_field(patient: &mut Patient, field: CorrectableField, value: &serde_json::Value) {
    match field {
        CorrectableField::Sex => patient.sex = [Sex::F, Sex::M].into_iter().find(|sex| value == sex.name()),
        CorrectableField::Age => patient.age = value.as_f64(),
        CorrectableField::HeightCm => patient.height_cm = value.as_f64(),
        CorrectableField::WeightKg => patient.weight_kg = value.as_f64(),
        CorrectableField::Note => patient.note = value.as_str().unwrap_or_default().to_owned(),
    }
}

impl std::fmt::Debug for Dataset {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dataset")
            .field("root", &self.root())
            .field("images", &self.images.len())
            .finish_non_exhaustive()
    }
}
