//! Cleaning a data set: crops of all images.

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
use crate::dataset::{Dataset, Problem, ProblemSeverity, Subset, image_id};
use crate::progress::Progress;
use crate::scan::is_excluded;
use crate::splits::check_leakage;
use crate::tables::{FoldRow, ImageRow, PatientRow, ProblemRow, correct, read_csv, write_csv, write_parquet};
use crate::threads;
use crate::wording::counted;

/// File with the transforms of the images finished so far; left behind by an interrupted run.
const JOURNAL: &str = ".transforms.partial.jsonl";
/// The file of the images table, for messages about it.
const IMAGES: &str = "images.parquet";

/// The inputs of [`clean`].
#[derive(Clone, Copy)]
pub struct CleanInputs<'a> {
    /// The data that the tables belong to, with its corrections.
    pub dataset: &'a Dataset,
    /// The whole images table, including excluded images. Images that the scan excluded get no crop.
    pub images: &'a [ImageRow],
    /// Clean only images of this subset; crops of the other one are kept.
    pub subset: Option<Subset>,
    /// Patients table.
    pub patients: &'a [PatientRow],
    /// Folds to write next to the crops, without the images that have no crop.
    pub folds: Option<FoldTable<'a>>,
}

/// A fold table and the file it was read from.
#[derive(Clone, Copy, Debug)]
pub struct FoldTable<'a> {
    /// The file, for messages.
    pub path: &'a Path,
    /// Its rows. An image may be named by its id or by its file.
    pub rows: &'a [FoldRow],
}

/// The result of [`clean`].
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CleanReport {
    /// One per crop, in the order of the images table.
    #[serde(skip)]
    pub transforms: Vec<Transform>,
    /// Crops made.
    pub written: usize,
    /// Crops of an earlier run that were made from the same inputs.
    pub unchanged: usize,
    /// Images excluded by the corrections, or by those of the scan.
    pub excluded: usize,
    /// Crops of an earlier run that are no longer needed and were deleted.
    pub removed: usize,
    /// Images whose hand was found by brightness, without masks.
    pub found_in_image: usize,
    /// Images whose background was found from the masks because brightness did not find the hand.
    pub background_by_masks: usize,
    /// Number of rows of the fold table written next to the crops.
    pub folds: Option<usize>,
    /// Name of the patients' spreadsheet written next to the crops.
    pub metadata: Option<String>,
    /// Inputs that could not be used, and guesses.
    pub problems: Vec<Problem>,
}

/// Writes the crops of the images to `out`, `jobs` at a time (`None`: one per processor).
///
/// The result does not depend on `jobs`. Memory grows with `jobs`, not with the number of images. Crops whose inputs
/// have not changed are not written again; an interrupted run continues where it stopped.
///
/// # Errors
/// `out` is inside the data folder, is in use by another process, has crops of other data, or cannot be written; no row
/// of the folds names an image of the data, or the folds have a patient in two folds. A fault in one image is a
/// problem, not an error.
pub fn clean(
    inputs: CleanInputs<'_>,
    out: &Path,
    settings: &CleanSettings,
    jobs: Option<usize>,
    progress: &dyn Progress,
) -> Result<CleanReport, CleanError> {
    // Always checked: crops must never overwrite the images they are made from.
    let outputs = Outputs::default().data([inputs.dataset.root().to_owned()]);
    outputs.path(out)?;
    let mut problems = Vec::new();
    let folds = inputs.folds.map(|folds| match_folds(folds, inputs.images, &mut problems)).transpose()?;
    if let Some(folds) = &folds {
        check_leakage(folds, inputs.images)?;
    }
    std::fs::create_dir_all(out).map_err(|source| CleanError::Io { path: out.into(), source })?;
    let _lock = Lock::take(out)?;
    let journal = Journal::open(out)?;
    let before = earlier_crops(out, &journal, &mut problems)?;

    let (mut images, mut patients) = (inputs.images.to_vec(), inputs.patients.to_vec());
    let corrections = inputs.dataset.corrections();
    problems.extend(correct(&mut images, &mut patients, corrections));
    let all = images.len();
    images.retain(|i| !corrections.excludes(&i.image_id, &i.patient_id));
    problems.extend(excluded_by_scan(&images));
    images.retain(|i| !is_excluded(i));
    let excluded = all - images.len();
    // Crops of images that are not selected, or cannot be cleaned now, are kept.
    let known: HashSet<String> = images.iter().map(|i| i.image_id.clone()).collect();
    images.retain(|i| inputs.subset.is_none_or(|subset| i.subset == subset));
    problems.extend(unmeasured_strips(&images, settings));
    if !before.is_empty() && !before.keys().any(|id| inputs.images.iter().any(|i| i.image_id == *id)) {
        return Err(CleanError::OtherData { path: out.into(), crops: before.len() });
    }

    let level_bits: HashMap<&str, u32> =
        inputs.images.iter().filter_map(|i| Some((&*i.image_id, i.level_bits?))).collect();
    // The images table has the bits, so no image is decoded for the top level. The scan has reported the problems.
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
    let is_kept = |id: &String| known.contains(id) && !made.contains(id);
    cleaned.transforms.extend(before.values().filter(|t| is_kept(&t.image_id)).cloned());
    let position: HashMap<&str, usize> = inputs.images.iter().map(|i| i.image_id.as_str()).zip(0..).collect();
    cleaned.transforms.sort_by_key(|t| position.get(t.image_id.as_str()).copied());
    write_transforms(out, &cleaned.transforms)?;
    cleaned.removed = remove_unwanted(out, &outputs, before.values(), &cleaned.transforms)?;
    journal.close()?;

    let io = |source| CleanError::Io { path: out.into(), source };
    cleaned.metadata = metadata::write(inputs.dataset, out, &patients).map_err(io)?;
    cleaned.folds = write_folds(out, folds.as_deref(), &cleaned.transforms)?;
    if let (Some(given), Some(0)) = (inputs.folds, cleaned.folds) {
        let (file, reason) = (given.path.display().to_string(), "no image of the folds has a crop");
        cleaned.problems.push(Problem::new(ProblemSeverity::Warning, file, reason, "folds.csv has no rows"));
    }
    let rows: Vec<ProblemRow> = cleaned.problems.iter().cloned().map(Into::into).collect();
    write_csv(&out.join("problems.csv"), &rows)?;
    Ok(cleaned)
}

/// The crops that earlier runs made, by image id: those of a finished run and those of an interrupted one.
fn earlier_crops(
    out: &Path,
    journal: &Journal,
    problems: &mut Vec<Problem>,
) -> Result<HashMap<String, Transform>, CleanError> {
    let mut transforms = Vec::new();
    if out.join(TRANSFORMS).exists() {
        match read_transforms(out) {
            Ok(read) => transforms = read,
            Err(error @ TransformsError::Io { .. }) => return Err(error.into()),
            // Another version, or damaged: all crops must be made again.
            Err(error @ TransformsError::Line { .. }) => {
                problems.push(Problem::new(
                    ProblemSeverity::Warning,
                    TRANSFORMS,
                    error.to_string(),
                    "all crops are made again",
                ));
            }
        }
    }
    transforms.extend(journal.earlier.iter().cloned());
    Ok(transforms.into_iter().map(|t| (t.image_id.clone(), t)).collect())
}

/// A warning that names how many images the scan excluded and these corrections do not.
fn excluded_by_scan(images: &[ImageRow]) -> Option<Problem> {
    let excluded = images.iter().filter(|i| is_excluded(i)).count();
    let reason = format!(
        "{} by the corrections of the scan, but not by those of this command",
        counted(excluded, "image is excluded", "images are excluded")
    );
    let action =
        "left out; give the same --corrections as for `carpus scan`, or scan again without them to use these images";
    (excluded > 0).then(|| Problem::new(ProblemSeverity::Warning, IMAGES, reason, action))
}

/// The rows of the folds with the ids of the images table. A row whose image the table does not have becomes a problem.
fn match_folds(
    folds: FoldTable<'_>,
    images: &[ImageRow],
    problems: &mut Vec<Problem>,
) -> Result<Vec<FoldRow>, CleanError> {
    let file = folds.path.display().to_string();
    let ids: HashMap<String, &str> = images.iter().map(|i| (image_id(&i.image_id), i.image_id.as_str())).collect();
    let mut rows = Vec::with_capacity(folds.rows.len());
    for row in folds.rows {
        match ids.get(&image_id(&row.image_id)) {
            Some(id) => rows.push(FoldRow { image_id: (*id).to_owned(), ..row.clone() }),
            None => {
                let reason = format!("image {:?} is not in the images table", row.image_id);
                let problem = Problem::new(ProblemSeverity::Warning, &*file, reason, "row of the folds ignored");
                problems.push(problem.of_image(&*row.image_id).of_patient(&*row.patient_id));
            }
        }
    }
    match (rows.first(), folds.rows.first()) {
        (Some(_), _) => Ok(rows),
        (None, Some(first)) => {
            Err(CleanError::NoFoldMatches { path: folds.path.into(), image: first.image_id.clone() })
        }
        (None, None) => Err(CleanError::NoFolds { path: folds.path.into() }),
    }
}

/// A warning if strips are to be detected in images in which the scan did not measure them.
fn unmeasured_strips(images: &[ImageRow], settings: &CleanSettings) -> Option<Problem> {
    let unmeasured = images.iter().filter(|i| i.strip_top_px.is_none() && i.strip_left_px.is_none()).count();
    let reason = format!("the tables have no border strips for {}", counted(unmeasured, "image", "images"));
    (settings.strips == StripRule::Detect && unmeasured > 0)
        .then(|| Problem::new(ProblemSeverity::Warning, IMAGES, reason, "no strips blackened there"))
}

impl CleanReport {
    /// Counts one image. `had_crop`: an earlier run made its crop.
    fn add(&mut self, result: Result<Done, Failure>, had_crop: bool) -> Result<(), CleanError> {
        match result {
            Err(Failure::Output(error)) => return Err(error),
            Err(Failure::Input(mut problem)) => {
                if had_crop {
                    problem.action = "not made again; the crop of an earlier run is kept".to_owned();
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

/// Writes the rows of the folds (the given ones, or those of an earlier run) whose image has a crop, and returns their
/// number.
fn write_folds(out: &Path, given: Option<&[FoldRow]>, crops: &[Transform]) -> Result<Option<usize>, CleanError> {
    // Folds of an earlier run may name images that have no crop now.
    let earlier: Option<Vec<FoldRow>> = match given {
        Some(_) => None,
        None => read_csv(&out.join("folds.csv")).ok(),
    };
    let Some(folds) = given.or(earlier.as_deref()) else { return Ok(None) };
    let has_crop: HashSet<&str> = crops.iter().map(|t| t.image_id.as_str()).collect();
    let kept: Vec<FoldRow> = folds.iter().filter(|r| has_crop.contains(r.image_id.as_str())).cloned().collect();
    write_csv(&out.join("folds.csv"), &kept)?;
    write_parquet(&out.join("folds.parquet"), &kept)?;
    Ok(Some(kept.len()))
}

/// Deletes crops of an earlier run that this run does not have. Only files named in transforms are deleted.
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

/// Records the finished images of a run on disk, so that an interrupted run can continue.
struct Journal {
    path: std::path::PathBuf,
    file: Mutex<File>,
    /// Transforms that an interrupted run left behind.
    earlier: Vec<Transform>,
}

impl Journal {
    fn open(out: &Path) -> Result<Journal, CleanError> {
        let path = out.join(JOURNAL);
        let io = |source| CleanError::Io { path: path.clone(), source };
        let file = OpenOptions::new().create(true).append(true).open(&path).map_err(io)?;
        let bytes = std::fs::read(&path).map_err(io)?;
        // The last line may be incomplete; that image is cleaned again.
        let earlier = String::from_utf8_lossy(&bytes).lines().filter_map(|l| transform::parse(l).ok()).collect();
        if !bytes.is_empty() && !bytes.ends_with(b"\n") {
            (&file).write_all(b"\n").map_err(io)?;
        }
        Ok(Journal { path, file: Mutex::new(file), earlier })
    }

    /// Without the line a later run makes this crop again, so a failure here is only a warning.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn image(id: &str, unusable_reason: Option<&str>) -> ImageRow {
        ImageRow { image_id: id.into(), unusable_reason: unusable_reason.map(str::to_owned), ..ImageRow::default() }
    }

    fn matched(names: &[&str]) -> (Result<Vec<FoldRow>, CleanError>, Vec<Problem>) {
        let images = [image("a", None), image("b", None)];
        let row = |name: &&str| FoldRow {
            image_id: (*name).into(),
            patient_id: "001".into(),
            stratum: "all".into(),
            fold: 0,
        };
        let rows: Vec<FoldRow> = names.iter().map(row).collect();
        let mut problems = Vec::new();
        let found = match_folds(FoldTable { path: Path::new("my/folds.csv"), rows: &rows }, &images, &mut problems);
        (found, problems)
    }

    #[test]
    fn folds_match_images_by_id_or_file_name() {
        let (rows, problems) = matched(&["a.png", "train/DCM/ID1/b.PNG", "c", "d"]);
        let ids: Vec<String> = rows.unwrap().into_iter().map(|row| row.image_id).collect();
        assert_eq!(ids, ["a", "b"]);
        let reasons: Vec<&str> = problems.iter().map(|p| p.reason.as_str()).collect();
        assert_eq!(reasons, ["image \"c\" is not in the images table", "image \"d\" is not in the images table"]);
        assert!(problems.iter().all(|p| p.file == "my/folds.csv" && p.severity == ProblemSeverity::Warning));
    }

    #[test]
    fn folds_of_other_images_are_refused() {
        let error = matched(&["c", "d"]).0.unwrap_err().to_string();
        assert!(error.starts_with("my/folds.csv: no row names an image") && error.contains("\"c\""), "{error}");
        let error = matched(&[]).0.unwrap_err().to_string();
        assert!(error.starts_with("my/folds.csv has no rows"), "{error}");
    }

    #[test]
    fn exclusions_of_the_scan_are_reported_with_the_option_to_give() {
        let blank = Some("the image is blank");
        assert_eq!(excluded_by_scan(&[image("a", None), image("b", blank)]), None);
        let excluded = image("c", Some("excluded by a correction"));
        let problem = excluded_by_scan(&[image("a", None), excluded.clone(), excluded]).unwrap();
        assert!(problem.reason.starts_with("2 images are excluded by the corrections of the scan"), "{problem:?}");
        assert!(
            problem.action.contains("--corrections") && problem.severity == ProblemSeverity::Warning,
            "{problem:?}"
        );
    }
}
