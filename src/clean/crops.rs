//! Cleaning a data set.

use std::collections::{HashMap, HashSet};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::sync::Mutex;

use rayon::prelude::*;
use serde::Serialize;

use super::job::{CleanContext, Done, Failure, relative};
use super::transform::{self, Transform, TransformsError, read_transforms, write_transforms};
use super::{BackgroundSource, BoxSource, CleanError, CleanSettings, StripRule, metadata};
use crate::artefact::{Lock, Outputs};
use crate::dataset::folder::TRANSFORMS;
use crate::dataset::{Dataset, Problem, ProblemSeverity, Subset};
use crate::progress::Progress;
use crate::splits::check_leakage;
use crate::tables::{FoldRow, ImageRow, PatientRow, ProblemRow, correct, read_csv, write_csv, write_parquet};
use crate::threads;
use crate::wording::counted;

/// Transforms of the images done so far in a run; what is left of a run that was cut off.
const JOURNAL: &str = ".transforms.partial.jsonl";

/// What is cleaned.
#[derive(Clone, Copy)]
pub struct CleanInputs<'a> {
    /// The data that the images table is about, with its corrections.
    pub dataset: &'a Dataset,
    /// The images table, with the images that the corrections exclude.
    pub images: &'a [ImageRow],
    /// Clean only images of this subset; crops of the others stay.
    pub subset: Option<Subset>,
    /// Patients table.
    pub patients: &'a [PatientRow],
    /// Folds to put beside the crops, less the images that are not there.
    pub folds: Option<&'a [FoldRow]>,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CleanReport {
    /// One an image of the crops, in the images' order.
    #[serde(skip)]
    pub transforms: Vec<Transform>,
    /// Crops made.
    pub written: usize,
    /// Crops found made from the same inputs.
    pub unchanged: usize,
    /// Images that corrections exclude.
    pub excluded: usize,
    /// Crops of an earlier run that are no longer wanted and were deleted.
    pub removed: usize,
    /// Images whose box comes from the image itself.
    pub found_in_image: usize,
    /// Images whose background was told by the masks, since brightness did not find the hand.
    pub background_by_masks: usize,
    /// Rows of the folds put beside the crops.
    pub folds: Option<usize>,
    /// The patients' spreadsheet put beside the crops.
    pub metadata: Option<String>,
    /// What could not be used, and what was guessed.
    pub problems: Vec<Problem>,
}

/// Writes the crops of the images to `out`, `jobs` at a time (`None`: as many as there are processors).
///
/// The result does not depend on `jobs`. Memory grows with `jobs`, not with the number of images. Crops whose inputs
/// have not changed are left as they are; a run that was cut off goes on where it was.
pub fn clean(
    inputs: CleanInputs<'_>,
    out: &Path,
    settings: &CleanSettings,
    jobs: Option<usize>,
    progress: &dyn Progress,
) -> Result<CleanReport, CleanError> {
    // No option lifts this: crops would be written over the images they are cut from.
    let outputs = Outputs::default().data([inputs.dataset.root().to_owned()]);
    outputs.path(out)?;
    if let Some(folds) = inputs.folds {
        check_leakage(folds, inputs.images)?;
    }
    std::fs::create_dir_all(out).map_err(|source| CleanError::Io { path: out.into(), source })?;
    let _lock = Lock::take(out)?;
    let journal = Journal::open(out)?;
    let mut problems = Vec::new();
    let before = made_before(out, &journal, &mut problems)?;

    let (mut images, mut patients) = (inputs.images.to_vec(), inputs.patients.to_vec());
    let corrections = inputs.dataset.corrections();
    problems.extend(correct(&mut images, &mut patients, corrections));
    let all = images.len();
    images.retain(|i| !corrections.excludes(&i.image_id, &i.patient_id));
    let excluded = all - images.len();
    // Crops of images that are not chosen now, or cannot be cleaned now, stay as they are.
    let known: HashSet<String> = images.iter().map(|i| i.image_id.clone()).collect();
    images.retain(|i| inputs.subset.is_none_or(|subset| i.subset == subset));
    problems.extend(unmeasured_strips(&images, settings));
    if !before.is_empty() && !before.keys().any(|id| inputs.images.iter().any(|i| i.image_id == *id)) {
        return Err(CleanError::OtherData { path: out.into(), crops: before.len() });
    }

    let level_bits: HashMap<&str, u32> =
        inputs.images.iter().filter_map(|i| Some((&*i.image_id, i.level_bits?))).collect();
    // The tables know the bits: nothing is decoded for the top level. What is to be said of it the scan has said.
    let _ = inputs.dataset.level_bits(|entry| level_bits.get(&*entry.image_id).copied());
    let context = CleanContext { dataset: inputs.dataset, out, outputs: &outputs, settings };
    let pool = threads::pool(jobs.unwrap_or(0))?;
    progress.start("images", images.len() as u64);
    let one = |row: &ImageRow| {
        let result = context.clean(row, before.get(&row.image_id));
        if let Ok(done) = &result
            && !done.unchanged
        {
            journal.add(&done.transform);
        }
        progress.advance(1);
        result
    };
    let results: Vec<Result<Done, Failure>> = pool.install(|| images.par_iter().map(one).collect());
    progress.finish();

    let mut cleaned = CleanReport {
        transforms: Vec::with_capacity(results.len()),
        written: 0,
        unchanged: 0,
        excluded,
        removed: 0,
        found_in_image: 0,
        background_by_masks: 0,
        folds: None,
        metadata: None,
        problems,
    };
    for (row, result) in images.iter().zip(results) {
        cleaned.add(result, before.contains_key(&row.image_id))?;
    }
    let made: HashSet<String> = cleaned.transforms.iter().map(|t| t.image_id.clone()).collect();
    let stays = |id: &String| known.contains(id) && !made.contains(id);
    cleaned.transforms.extend(before.values().filter(|t| stays(&t.image_id)).cloned());
    let place: HashMap<&str, usize> = inputs.images.iter().map(|i| i.image_id.as_str()).zip(0..).collect();
    cleaned.transforms.sort_by_key(|t| place.get(t.image_id.as_str()).copied());
    write_transforms(out, &cleaned.transforms)?;
    cleaned.removed = remove_unwanted(out, &outputs, before.values(), &cleaned.transforms)?;
    journal.close()?;

    let io = |source| CleanError::Io { path: out.into(), source };
    cleaned.metadata = metadata::write(inputs.dataset, out, &patients).map_err(io)?;
    cleaned.folds = write_folds(out, inputs.folds, &cleaned.transforms)?;
    let rows: Vec<ProblemRow> = cleaned.problems.iter().cloned().map(Into::into).collect();
    write_csv(&out.join("problems.csv"), &rows)?;
    Ok(cleaned)
}

/// The crops that earlier runs made, by image: those of a whole run, and what one that was cut off came to.
fn made_before(
    out: &Path,
    journal: &Journal,
    problems: &mut Vec<Problem>,
) -> Result<HashMap<String, Transform>, CleanError> {
    let mut transforms = Vec::new();
    if out.join(TRANSFORMS).exists() {
        match read_transforms(out) {
            Ok(read) => transforms = read,
            Err(error @ TransformsError::Io { .. }) => return Err(error.into()),
            // Of another version, or damaged: nothing is known of the crops.
            Err(error @ TransformsError::Line { .. }) => {
                problems.push(Problem::new(
                    ProblemSeverity::Warning,
                    TRANSFORMS,
                    error.to_string(),
                    "all crops made again",
                ));
            }
        }
    }
    transforms.extend(journal.left.iter().cloned());
    Ok(transforms.into_iter().map(|t| (t.image_id.clone(), t)).collect())
}

/// That strips are to be found in images where the scan did not look for them.
fn unmeasured_strips(images: &[ImageRow], settings: &CleanSettings) -> Option<Problem> {
    let unmeasured = images.iter().filter(|i| i.strip_top_px.is_none() && i.strip_left_px.is_none()).count();
    let reason = format!("border strips of {} were not measured", counted(unmeasured, "image", "images"));
    (settings.strips == StripRule::Detect && unmeasured > 0)
        .then(|| Problem::new(ProblemSeverity::Warning, "", reason, "no strip blackened in them"))
}

impl CleanReport {
    /// Counts one image; `was_there` where an earlier run made its crop.
    fn add(&mut self, result: Result<Done, Failure>, was_there: bool) -> Result<(), CleanError> {
        match result {
            Err(Failure::Output(error)) => return Err(error),
            Err(Failure::Input(mut problem)) => {
                if was_there {
                    problem.action = "not made again; the crop of an earlier run stays".to_owned();
                }
                self.problems.push(*problem);
            }
            Ok(done) => {
                *if done.unchanged { &mut self.unchanged } else { &mut self.written } += 1;
                self.found_in_image += usize::from(done.transform.box_source == BoxSource::Image);
                self.background_by_masks += usize::from(done.transform.background == BackgroundSource::Masks);
                self.problems.extend(done.problems);
                self.transforms.push(done.transform);
            }
        }
        Ok(())
    }
}

/// Writes those of the folds, given or of an earlier run, whose image has a crop; how many there are.
fn write_folds(out: &Path, given: Option<&[FoldRow]>, crops: &[Transform]) -> Result<Option<usize>, CleanError> {
    // Folds of an earlier run may name images that have no crop now.
    let earlier: Option<Vec<FoldRow>> = match given {
        Some(_) => None,
        None => read_csv(&out.join("folds.csv")).ok(),
    };
    let Some(folds) = given.or(earlier.as_deref()) else { return Ok(None) };
    let there: HashSet<&str> = crops.iter().map(|t| t.image_id.as_str()).collect();
    let kept: Vec<FoldRow> = folds.iter().filter(|r| there.contains(r.image_id.as_str())).cloned().collect();
    write_csv(&out.join("folds.csv"), &kept)?;
    write_parquet(&out.join("folds.parquet"), &kept)?;
    Ok(Some(kept.len()))
}

/// Deletes crops that an earlier run made and this one does not have. Only what transforms name is touched.
fn remove_unwanted<'a>(
    out: &Path,
    outputs: &Outputs,
    before: impl Iterator<Item = &'a Transform>,
    now: &[Transform],
) -> Result<usize, CleanError> {
    let files = |t: &'a Transform| std::iter::once(&t.image).chain(&t.annotation);
    let wanted: HashSet<&String> = now.iter().flat_map(|t| std::iter::once(&t.image).chain(&t.annotation)).collect();
    let mut removed = 0;
    for transform in before {
        for file in files(transform).filter(|f| !wanted.contains(f)) {
            let Some(path) = relative(file).map(|f| out.join(f)) else { continue };
            outputs.path(&path)?;
            match std::fs::remove_file(&path) {
                Ok(()) => removed += usize::from(*file == transform.image),
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
                Err(source) => return Err(CleanError::Io { path, source }),
            }
        }
    }
    Ok(removed)
}

/// Keeps what is done of a run on disk.
struct Journal {
    path: std::path::PathBuf,
    file: Mutex<File>,
    left: Vec<Transform>,
}

impl Journal {
    fn open(out: &Path) -> Result<Journal, CleanError> {
        let path = out.join(JOURNAL);
        let io = |source| CleanError::Io { path: path.clone(), source };
        let file = OpenOptions::new().create(true).append(true).open(&path).map_err(io)?;
        let bytes = std::fs::read(&path).map_err(io)?;
        // The last line may be cut off; that image is cleaned again.
        let left = String::from_utf8_lossy(&bytes).lines().filter_map(|l| transform::parse(l).ok()).collect();
        if !bytes.is_empty() && !bytes.ends_with(b"\n") {
            (&file).write_all(b"\n").map_err(io)?;
        }
        Ok(Journal { path, file: Mutex::new(file), left })
    }

    /// Losing a line costs a later run some work and nothing else, so a failure here stops nothing.
    fn add(&self, transform: &Transform) {
        let Ok(mut line) = serde_json::to_vec(transform) else { return };
        line.push(b'\n');
        let mut file = self.file.lock().expect("no panic while the journal is held");
        if let Err(error) = file.write_all(&line) {
            tracing::warn!("{}: {error}", self.path.display());
        }
    }

    fn close(self) -> Result<(), CleanError> {
        std::fs::remove_file(&self.path).map_err(|source| CleanError::Io { path: self.path.clone(), source })
    }
}
