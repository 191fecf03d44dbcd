//! From a data folder to the tables: every image is read once, its masks are measured on runs, and each
//! repair or failure becomes a row of `problems`.
//!
//! One thread holds one image at a time, so memory is bounded by the number of threads. What is kept of an
//! image are its rows. Predictions, where given, are kept as runs.

mod cache;
mod measure;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rayon::prelude::*;

use crate::bones;
use crate::dataset::layout::{self, ImageEntry, Layout, LayoutError, Side};
use crate::dataset::metadata::{self, MetadataError, Patient};
use crate::dataset::{Problem, Severity, image};
use crate::mask::RunMask;
use crate::mask::submission::{self, SubmissionError};
use crate::progress::Progress;
use crate::tables::{PatientRow, ProblemRow, TableError, Tables};
use cache::{Cache, Known, Stamp};

/// What to measure and how.
#[derive(Clone, Debug, PartialEq)]
pub struct ScanSettings {
    /// A hand leaning this many degrees or more from vertical counts as rotated.
    pub rotated_deg: f64,
    /// Grey level from which a pixel counts as bright.
    pub bright: u8,
    /// Submission CSV whose masks stand in for images without an annotation.
    pub predictions: Option<PathBuf>,
    /// Threads; 0 for one a core.
    pub jobs: usize,
}

impl Default for ScanSettings {
    fn default() -> Self {
        ScanSettings { rotated_deg: 33.0, bright: 240, predictions: None, jobs: 0 }
    }
}

/// Why a scan cannot be done at all; anything less is a problem row.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum ScanError {
    #[error(transparent)]
    Layout(#[from] LayoutError),
    #[error(transparent)]
    Predictions(#[from] SubmissionError),
    #[error(transparent)]
    Tables(#[from] TableError),
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: std::io::Error },
    #[error("cannot start {jobs} threads: {source}")]
    Threads { jobs: usize, source: rayon::ThreadPoolBuildError },
}

/// What a scan did.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize)]
pub struct ScanSummary {
    /// Images found.
    pub images: usize,
    /// Images whose files were unchanged since the last scan into the same folder.
    pub reused: usize,
    /// Patients in the table.
    pub patients: usize,
    /// Rows of bones.
    pub bones: usize,
    /// Problems of each severity.
    pub problems: BTreeMap<String, usize>,
}

type Masks = Box<[RunMask; bones::COUNT]>;

/// Scans `data` and writes the tables into `out`, and CSV beside them where `csv`. Files unchanged since an
/// earlier scan into `out` with the same settings are not read again.
pub fn scan(
    data: &Path,
    out: &Path,
    csv: bool,
    settings: &ScanSettings,
    progress: &dyn Progress,
) -> Result<(Tables, ScanSummary), ScanError> {
    let layout = layout::discover(data)?;
    let mut problems = layout.problems.clone();
    let predictions = match &settings.predictions {
        Some(path) => predictions(path, &layout, &mut problems)?,
        None => HashMap::new(),
    };
    let cache = Cache::read(out, settings)?;
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(settings.jobs)
        .build()
        .map_err(|source| ScanError::Threads { jobs: settings.jobs, source })?;

    progress.start("images", layout.images.len() as u64);
    // One a thread: their memory stays in the thread's cache.
    let readers: Vec<Mutex<image::Reader>> = (0..pool.current_num_threads()).map(|_| Mutex::default()).collect();
    let measured: Vec<(measure::Measured, Stamp, bool)> = pool.install(|| {
        layout
            .images
            .par_iter()
            // Handed out one by one, so that no thread is left with many at the end.
            .with_max_len(1)
            .map(|entry| {
                let stamp = Stamp::of(&layout.root, entry);
                let known = cache.get(entry, &stamp);
                let reused = known.is_some();
                let rows = known.unwrap_or_else(|| {
                    let predicted = predictions.get(&entry.image_id).map(|m| &**m);
                    let place = &readers[rayon::current_thread_index().unwrap_or(0)];
                    let mut reader = std::mem::take(&mut *lock(place));
                    let rows = measure::measure(&layout.root, entry, predicted, settings, &mut reader);
                    *lock(place) = reader;
                    rows
                });
                progress.advance(1);
                (rows, stamp, reused)
            })
            .collect()
    });
    progress.finish();

    let reused = measured.iter().filter(|(_, _, reused)| *reused).count();
    let mut tables = Tables::default();
    let mut files = BTreeMap::new();
    for (entry, (rows, stamp, _)) in layout.images.iter().zip(measured) {
        files.insert(entry.image.clone(), Known { stamp, problems: rows.problems.clone() });
        tables.images.push(rows.image);
        tables.bones.extend(rows.bones);
        problems.extend(rows.problems);
    }
    let patients = read_patients(&layout, &mut problems);
    tables.patients = patient_rows(&patients, &layout, &mut problems);
    tables.problems = problems.into_iter().map(problem_row).collect();
    tables.problems.sort_by(|a, b| (&a.file, &a.place).cmp(&(&b.file, &b.place)));
    tables.write(out, csv)?;
    cache::write(out, settings, files)?;

    let mut counts = BTreeMap::new();
    for p in &tables.problems {
        *counts.entry(p.severity.clone()).or_insert(0) += 1;
    }
    let summary = ScanSummary {
        images: tables.images.len(),
        reused,
        patients: tables.patients.len(),
        bones: tables.bones.len(),
        problems: counts,
    };
    Ok((tables, summary))
}

fn lock(reader: &Mutex<image::Reader>) -> MutexGuard<'_, image::Reader> {
    // Held only while the reader is taken and put back, which does not panic.
    reader.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Masks of a submission by image id, for images of the layout; the CSV's image size is that of the image.
fn predictions(path: &Path, layout: &Layout, problems: &mut Vec<Problem>) -> Result<HashMap<String, Masks>, ScanError> {
    let sizes: HashMap<&str, (u32, u32)> = layout
        .images
        .iter()
        .filter_map(|e| Some((e.image_id.as_str(), image::dimensions(&layout.root.join(&e.image)).ok()?)))
        .collect();
    let mut found = HashMap::new();
    let ids: HashSet<&str> = layout.images.iter().map(|e| e.image_id.as_str()).collect();
    let size_of = |image_name: &str| sizes.get(stem(image_name)).copied().unwrap_or((2048, 2048));
    for image in submission::read_sized(path, size_of)? {
        let id = stem(&image.image_name);
        if ids.contains(id) {
            found.insert(id.to_owned(), image.masks);
        } else {
            problems.push(Problem {
                file: path.display().to_string(),
                place: format!("image_name {}", image.image_name),
                image_id: Some(id.to_owned()),
                patient_id: None,
                raw: image.image_name.clone(),
                reason: "predicted image is not in the data folder".into(),
                action: "prediction left out".into(),
                severity: Severity::Warning,
            });
        }
    }
    Ok(found)
}

fn stem(image_name: &str) -> &str {
    image_name.rsplit_once('.').map_or(image_name, |(stem, _)| stem)
}

fn read_patients(layout: &Layout, problems: &mut Vec<Problem>) -> Vec<Patient> {
    let missing = |reason: String| Problem {
        file: layout.metadata.clone().unwrap_or_default(),
        place: String::new(),
        image_id: None,
        patient_id: None,
        raw: String::new(),
        reason,
        action: "metadata left empty".into(),
        severity: Severity::Error,
    };
    let Some(file) = &layout.metadata else {
        problems.push(Problem {
            severity: Severity::Warning,
            ..missing(
                "no spreadsheet of patients at the top of the data folder; expected meta_data.xlsx or a CSV".into(),
            )
        });
        return Vec::new();
    };
    match metadata::read(&layout.root.join(file), file) {
        Ok((patients, found)) => {
            problems.extend(found);
            patients
        }
        Err(error @ (MetadataError::Unreadable { .. } | MetadataError::NoIdColumn { .. })) => {
            problems.push(missing(error.to_string()));
            Vec::new()
        }
    }
}

/// Rows of the spreadsheet in its order, then patients who have images and no row.
fn patient_rows(patients: &[Patient], layout: &Layout, problems: &mut Vec<Problem>) -> Vec<PatientRow> {
    let mut images: BTreeMap<&str, (u32, &'static str)> = BTreeMap::new();
    for entry in &layout.images {
        let (count, subset) = images.entry(&entry.patient_id).or_insert((0, entry.subset.name()));
        *count += 1;
        if *subset != entry.subset.name() {
            problems.push(Problem {
                file: entry.image.clone(),
                place: String::new(),
                image_id: Some(entry.image_id.clone()),
                patient_id: Some(entry.patient_id.clone()),
                raw: entry.subset.name().into(),
                reason: format!("patient has images in {subset} too: train and test share a patient"),
                action: "kept in both".into(),
                severity: Severity::Error,
            });
        }
    }
    let mut rows: Vec<PatientRow> = patients
        .iter()
        .map(|p| {
            let (n_images, subset) = images.get(p.patient_id.as_str()).copied().unwrap_or((0, ""));
            PatientRow {
                patient_id: p.patient_id.clone(),
                sex: p.sex.map(|s| s.name().to_owned()),
                sex_raw: p.sex_raw.clone(),
                age: p.age,
                height_cm: p.height_cm,
                weight_kg: p.weight_kg,
                note: p.note.clone(),
                subset: subset.to_owned(),
                n_images,
                sheet_row: Some(p.row),
            }
        })
        .collect();
    let known: HashSet<&str> = patients.iter().map(|p| p.patient_id.as_str()).collect();
    for (id, (n_images, subset)) in images.iter().filter(|(id, _)| !known.contains(**id)) {
        rows.push(PatientRow {
            patient_id: (*id).to_owned(),
            subset: (*subset).to_owned(),
            n_images: *n_images,
            ..PatientRow::default()
        });
        if layout.metadata.is_some() {
            problems.push(Problem {
                file: layout.metadata.clone().unwrap_or_default(),
                place: String::new(),
                image_id: None,
                patient_id: Some((*id).to_owned()),
                raw: String::new(),
                reason: "patient has images and no row in the spreadsheet".into(),
                action: "metadata left empty".into(),
                severity: Severity::Error,
            });
        }
    }
    rows
}

fn problem_row(p: Problem) -> ProblemRow {
    ProblemRow {
        file: p.file,
        place: p.place,
        image_id: p.image_id,
        patient_id: p.patient_id,
        raw: p.raw,
        reason: p.reason,
        action: p.action,
        severity: p.severity.name().to_owned(),
    }
}

fn side_name(side: Option<Side>) -> Option<String> {
    side.map(|s| s.name().to_owned())
}

/// Row of an image before anything is measured.
fn blank_row(entry: &ImageEntry) -> crate::tables::ImageRow {
    crate::tables::ImageRow {
        image_id: entry.image_id.clone(),
        patient_id: entry.patient_id.clone(),
        subset: entry.subset.name().to_owned(),
        side: side_name(entry.side),
        path: entry.image.clone(),
        annotation_path: entry.annotation.clone(),
        mask_source: "none".into(),
        ..Default::default()
    }
}
