//! Makes the tables from a data folder: every image is read once, its masks are measured on runs, and each
//! repair or failure becomes a row of `problems`.
//!
//! Each thread holds one image at a time, so memory is bounded by the number of threads. Only the rows of an
//! image are kept. Predictions, if given, are kept as runs.

mod cache;
mod measure;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rayon::prelude::*;

use crate::artefact::{FileKind, Lock, LockError, OutputError, Outputs, kind};
use crate::dataset::Subset;
use crate::dataset::corrections::CorrectableField;
use crate::dataset::image::Reader;
use crate::dataset::metadata::Patient;
use crate::dataset::{Dataset, ImageEntry, Problem, ProblemSeverity, image_id};
use crate::mask::HandMasks;
use crate::mask::submission::{self, SubmissionError};
use crate::progress::Progress;
use crate::tables::{
    BoneRow, HASHES, ImageRow, OverlapRow, PatientRow, ProblemRow, ShapeRow, TableError, TableFormats, TableRow, Tables,
};
use crate::threads::{self, ThreadsError};
use cache::{Cache, EarlierImage};
pub use cache::{outdated, scanned_decisions};

/// The `unusable_reason` of an image that corrections exclude.
const EXCLUDED: &str = "excluded by a correction";

/// Whether the corrections of the scan that wrote this row exclude the image.
pub(crate) fn is_excluded(row: &ImageRow) -> bool {
    row.unusable_reason.as_deref() == Some(EXCLUDED)
}

/// What to measure, how, and in which formats to write it.
#[derive(Clone, Debug, PartialEq)]
pub struct ScanSettings {
    /// Angle from vertical, in degrees, from which a hand counts as rotated.
    pub rotated_deg: f64,
    /// Grey level from which a pixel counts as bright.
    pub bright: u8,
    /// Submission CSV; its masks are used for images without an annotation.
    pub predictions: Option<PathBuf>,
    /// Threads; 0 for one per core.
    pub jobs: usize,
    /// Whether to write CSV files next to the Parquet files.
    pub csv: bool,
}

impl Default for ScanSettings {
    fn default() -> Self {
        ScanSettings { rotated_deg: 33.0, bright: 240, predictions: None, jobs: 0, csv: false }
    }
}

/// Why a scan failed as a whole. A fault in one file is a row of the problems table, not an error.
#[derive(Debug, thiserror::Error)]
pub enum ScanError {
    /// The file of predictions cannot be read, or does not fit the data.
    #[error(transparent)]
    Predictions(#[from] SubmissionError),
    /// The folder of tables cannot be locked.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// A table cannot be written.
    #[error(transparent)]
    Tables(#[from] TableError),
    /// A file or folder of the scan cannot be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file or the folder.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// The threads cannot be started.
    #[error(transparent)]
    Threads(#[from] ThreadsError),
}

/// The result of a scan.
#[derive(Clone, Debug)]
pub struct Scan {
    /// The tables, as written.
    pub tables: Tables,
    /// Counts.
    pub summary: ScanSummary,
}

/// Counts of a scan.
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
    /// Number of problems by severity.
    pub problems: BTreeMap<ProblemSeverity, usize>,
}

impl ScanSummary {
    fn of(tables: &Tables, reused: usize) -> ScanSummary {
        let mut counts = BTreeMap::new();
        for p in &tables.problems {
            *counts.entry(p.severity).or_insert(0) += 1;
        }
        ScanSummary {
            images: tables.images.len(),
            reused,
            patients: tables.patients.len(),
            bones: tables.bones.len(),
            problems: counts,
        }
    }
}

/// Scans the data and writes the tables into `out`. Files unchanged since an earlier scan into `out` with the same
/// settings are not read again.
///
/// # Errors
/// The predictions cannot be read or do not fit the data, the folder is in use by another process, or the tables cannot
/// be written.
pub fn scan(
    dataset: &Dataset,
    out: &Path,
    settings: &ScanSettings,
    progress: &dyn Progress,
) -> Result<Scan, ScanError> {
    std::fs::create_dir_all(out).map_err(|source| ScanError::Io { path: out.into(), source })?;
    let _lock = Lock::take(out)?;
    let mut problems = dataset.problems().to_vec();
    problems.extend_from_slice(dataset.corrections().problems());
    problems.extend_from_slice(dataset.unfit_corrections());
    let predictions = match &settings.predictions {
        Some(path) => predictions(path, dataset, &mut problems)?,
        None => HashMap::new(),
    };
    let cache = Cache::read(out, settings)?;
    let pool = threads::pool(settings.jobs)?;

    let level_bits = pool.install(|| dataset.level_bits(|entry| cache.level_bits(dataset, entry)));
    problems.extend(level_bits.problems);
    let level_bits = level_bits.content;

    progress.start("images", dataset.images().len() as u64);
    // One reader per thread, so that its memory stays in that thread's cache.
    let readers: Vec<Mutex<Reader>> = (0..pool.current_num_threads()).map(|_| Mutex::default()).collect();
    let measured: Vec<(measure::MeasuredImage, Option<String>, bool)> = pool.install(|| {
        dataset
            .images()
            .par_iter()
            .zip(&level_bits)
            // Assigned one by one, so that all threads finish at about the same time.
            .with_max_len(1)
            .map(|(entry, bits)| {
                let stamp = dataset.stamp(entry);
                let top = bits.and(dataset.top_level()).map_or(u8::MAX.into(), u32::from);
                let known = cache.get(entry, stamp.as_deref()).filter(|known| known.image.top_level == Some(top));
                let reused = known.is_some();
                let rows = known.unwrap_or_else(|| {
                    let predicted = predictions.get(&*entry.image_id);
                    let own_reader = &readers[rayon::current_thread_index().unwrap_or(0)];
                    let mut reader = std::mem::take(&mut *lock(own_reader));
                    let mut rows = measure::measure(dataset, entry, predicted, settings, &mut reader);
                    (rows.image.top_level, rows.image.level_bits) = (Some(top), *bits);
                    *lock(own_reader) = reader;
                    rows
                });
                progress.advance(1);
                (rows, stamp, reused)
            })
            .collect()
    });
    progress.finish();

    let reused = measured.iter().filter(|(_, _, reused)| *reused).count();
    let mut tables = Tables { rotated_deg: Some(settings.rotated_deg), ..Tables::default() };
    let mut files = BTreeMap::new();
    for (entry, (rows, stamp, _)) in dataset.images().iter().zip(measured) {
        if let Some(stamp) = stamp {
            files.insert(entry.image.clone(), EarlierImage { stamp, problems: rows.problems.clone() });
        }
        tables.images.push(rows.image);
        if dataset.excludes(entry)
            && let Some(row) = tables.images.last_mut()
        {
            (row.usable, row.unusable_reason) = (false, Some(EXCLUDED.to_owned()));
        }
        tables.bones.extend(rows.bones);
        tables.overlaps.extend(rows.overlaps);
        tables.shapes.extend(rows.shapes);
        problems.extend(rows.problems);
    }
    let patients = read_patients(dataset, &mut problems);
    tables.patients = patient_rows(&patients, dataset, &mut problems);
    tables.problems = problems.into_iter().map(Into::into).collect();
    tables.problems.sort_by(|a, b| (&a.file, &a.place).cmp(&(&b.file, &b.place)));
    tables.write(out, if settings.csv { TableFormats::ParquetAndCsv } else { TableFormats::Parquet })?;
    cache::write(out, settings, dataset, files)?;

    let summary = ScanSummary::of(&tables, reused);
    Ok(Scan { tables, summary })
}

/// Checks that a scan with `settings` may write its tables into `out`: a folder of an earlier scan, or one without
/// other files of the same names.
///
/// # Errors
/// `out` is inside the data folder, or a file there is not one of carpus.
pub fn check_outputs(outputs: &Outputs, out: &Path, settings: &ScanSettings) -> Result<(), OutputError> {
    outputs.path(out)?;
    // A folder of an earlier scan, or an empty one.
    if kind::TABLES.is_free(out).is_ok_and(|free| free) {
        return Ok(());
    }
    outputs.file(&out.join(cache::FILE), &kind::TABLES.manifest[0].1)?;
    outputs.file(&out.join(HASHES), &kind::TABLE_HASHES)?;
    fn check<T: TableRow>(outputs: &Outputs, out: &Path, csv: bool) -> Result<(), OutputError> {
        outputs.file(&out.join(format!("{}.parquet", T::NAME)), &FileKind::parquet("a table of carpus", T::COLUMNS))?;
        if !csv {
            return Ok(());
        }
        outputs.file(&out.join(format!("{}.csv", T::NAME)), &FileKind::csv("a table of carpus", T::COLUMNS))
    }
    let csv = settings.csv;
    check::<PatientRow>(outputs, out, csv)?;
    check::<ImageRow>(outputs, out, csv)?;
    check::<BoneRow>(outputs, out, csv)?;
    check::<OverlapRow>(outputs, out, csv)?;
    check::<ShapeRow>(outputs, out, csv)?;
    check::<ProblemRow>(outputs, out, csv)
}

fn lock(reader: &Mutex<Reader>) -> MutexGuard<'_, Reader> {
    // The lock is held only to take or return the reader, which does not panic.
    reader.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Masks of a submission by image id, for the images of the data. The masks have the size of their image.
fn predictions<'a>(
    path: &Path,
    dataset: &'a Dataset,
    problems: &mut Vec<Problem>,
) -> Result<HashMap<&'a str, HandMasks>, ScanError> {
    submission::expect_space(path, dataset.space())?;
    let sizes: HashMap<&str, (u32, u32)> =
        dataset.images().iter().filter_map(|e| Some((&*e.image_id, dataset.dimensions(e).ok()?))).collect();
    let size_of =
        |name: &str| dataset.find(name).and_then(|e| sizes.get(&*e.image_id)).copied().unwrap_or((2048, 2048));
    let mut found = HashMap::new();
    for image in submission::read_sized(path, size_of)? {
        match dataset.find(&image.image_name) {
            Some(entry) => drop(found.insert(&*entry.image_id, image.masks)),
            None => {
                let reason = "the predicted image is not in the data folder";
                let problem =
                    Problem::new(ProblemSeverity::Warning, path.display().to_string(), reason, "prediction ignored")
                        .at(format!("image_name {}", image.image_name))
                        .raw(&image.image_name);
                problems.push(problem.of_image(image_id(&image.image_name)));
            }
        }
    }
    Ok(found)
}

fn read_patients(dataset: &Dataset, problems: &mut Vec<Problem>) -> Vec<Patient> {
    if dataset.metadata().is_none() {
        let reason =
            "the data folder has no spreadsheet of patients; expected meta_data.xlsx or a CSV at its top level";
        problems.push(Problem::new(ProblemSeverity::Warning, "", reason, "metadata left empty"));
    }
    let file = dataset.metadata().unwrap_or_default();
    match dataset.patients() {
        Ok(read) => {
            problems.extend(read.problems);
            read.content
        }
        Err(error) => {
            problems.push(Problem::new(ProblemSeverity::Error, file, error.to_string(), "metadata left empty"));
            Vec::new()
        }
    }
}

/// Rows of the spreadsheet in its order, then patients with images but without a row.
fn patient_rows(patients: &[Patient], dataset: &Dataset, problems: &mut Vec<Problem>) -> Vec<PatientRow> {
    let mut images: BTreeMap<&str, (u32, Subset)> = BTreeMap::new();
    for entry in dataset.images() {
        let (count, subset) = images.entry(&entry.patient_id).or_insert((0, entry.subset));
        *count += 1;
        if *subset != entry.subset {
            let reason = format!("the patient also has images in {subset}: train and test share a patient");
            problems.push(
                Problem::new(ProblemSeverity::Error, &*entry.image, reason, "kept in both")
                    .raw(entry.subset.name())
                    .of_image(&*entry.image_id)
                    .of_patient(&*entry.patient_id),
            );
        }
    }
    let mut rows: Vec<PatientRow> = patients
        .iter()
        .map(|p| {
            let (n_images, subset) = images.get(p.patient_id.as_str()).copied().unzip();
            PatientRow {
                patient_id: p.patient_id.clone(),
                sex: p.sex,
                sex_raw: p.sex_raw.clone(),
                age_raw: p.age_raw.clone(),
                height_raw: p.height_raw.clone(),
                weight_raw: p.weight_raw.clone(),
                age: p.age,
                height_cm: p.height_cm,
                weight_kg: p.weight_kg,
                note: p.note.clone(),
                subset,
                n_images: n_images.unwrap_or(0),
                sheet_row: p.row,
            }
        })
        .collect();
    let known: HashSet<&str> = patients.iter().map(|p| p.patient_id.as_str()).collect();
    for (id, (n_images, subset)) in images.iter().filter(|(id, _)| !known.contains(**id)) {
        rows.push(PatientRow {
            patient_id: (*id).to_owned(),
            subset: Some(*subset),
            n_images: *n_images,
            ..PatientRow::default()
        });
    }
    let without_row = rows.iter().filter(|row| row.n_images > 0 && row.sheet_row.is_none());
    problems
        .extend(without_row.filter_map(|row| missing_row(&row.patient_id, known.contains(&*row.patient_id), dataset)));
    rows
}

/// The problem of a patient with images and without a row in the spreadsheet; `None` if there is no spreadsheet. It is
/// settled if corrections set all four fields; `is_corrected`: whether corrections were applied to the patient.
fn missing_row(patient_id: &str, is_corrected: bool, dataset: &Dataset) -> Option<Problem> {
    use CorrectableField::{Age, HeightCm, Sex, WeightKg};
    let corrections = dataset.corrections();
    let set = if is_corrected { corrections.metadata(patient_id) } else { Vec::new() };
    let fields = [Sex, Age, HeightCm, WeightKg];
    let empty: Vec<&str> =
        fields.iter().filter(|field| !set.iter().any(|(f, _)| f == *field)).map(|field| field.word()).collect();
    let action = match &empty[..] {
        [one] => format!("{one} left empty"),
        [others @ .., last] if empty.len() < fields.len() => format!("{} and {last} left empty", others.join(", ")),
        _ => "metadata left empty".to_owned(),
    };
    let reason = "the patient has images but no row in the spreadsheet";
    let problem = Problem::new(ProblemSeverity::Error, dataset.metadata()?, reason, action);
    let mut problem = problem.of_patient(patient_id).of_fields(fields);
    if is_corrected {
        corrections.settle(&mut problem);
    }
    Some(problem)
}

/// The row of an image before measuring.
fn blank_row(entry: &ImageEntry) -> ImageRow {
    ImageRow {
        image_id: entry.image_id.clone(),
        patient_id: entry.patient_id.clone(),
        subset: entry.subset,
        side: entry.side,
        path: entry.image.clone(),
        annotation_path: entry.annotation.clone(),
        ..Default::default()
    }
}
