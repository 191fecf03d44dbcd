//! Cleaning a data set.

use std::collections::{HashMap, HashSet};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::sync::Mutex;

use rayon::prelude::*;
use serde::Serialize;

use super::job::{Context, Done, Failure, relative};
use super::transform::{self, Transform, TransformsError, read_transforms, write_transforms};
use super::{BackgroundSource, BoxSource, CleanError, CleanSettings, Strips, metadata};
use crate::artefact::{Lock, Outputs};
use crate::dataset::folder::TRANSFORMS;
use crate::dataset::{Dataset, Problem, Severity, Subset};
use crate::progress::Progress;
use crate::splits::check_leakage;
use crate::tables::{FoldRow, ImageRow, PatientRow, ProblemRow, correct, read_csv, write_csv, write_parquet};
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
pub struct Cleaned {
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
) -> Result<Cleaned, CleanError> {
    // No option lifts this: crops would be written over the images they are cut from.
    let outputs = Outputs::new(false).data([inputs.dataset.root().to_owned()]);
    outputs.path(out)?;
    if let Some(folds) = inputs.folds {
        check_leakage(folds, inputs.images)?;
    }
    std::fs::create_dir_all(out).map_err(|source| CleanError::Io { path: out.into(), source })?;
    let _lock = Lock::take(out)?;
    let journal = Journal::open(out)?;
    let mut before: HashMap<String, Transform> = HashMap::new();
    let mut problems = Vec::new();
    if out.join(TRANSFORMS).exists() {
        match read_transforms(out) {
            Ok(read) => before.extend(read.into_iter().map(|t| (t.image_id.clone(), t))),
            Err(error @ TransformsError::Io { .. }) => return Err(error.into()),
            // Of another version, or damaged: nothing is known of the crops.
            Err(error @ TransformsError::Line { .. }) => {
                problems.push(Problem::new(Severity::Warning, TRANSFORMS, error.to_string(), "all crops made again"));
            }
        }
    }
    before.extend(journal.left.iter().map(|t| (t.image_id.clone(), t.clone())));

    let (mut images, mut patients) = (inputs.images.to_vec(), inputs.patients.to_vec());
    let corrections = inputs.dataset.corrections();
    problems.extend(correct(&mut images, &mut patients, corrections));
    let all = images.len();
    images.retain(|i| !corrections.excludes(&i.image_id, &i.patient_id));
    let excluded = all - images.len();
    // Crops of images that are not chosen now, or cannot be cleaned now, stay as they are.
    let known: HashSet<String> = images.iter().map(|i| i.image_id.clone()).collect();
    images.retain(|i| inputs.subset.is_none_or(|subset| i.subset == subset.name()));
    if settings.strips == Strips::Detect {
        let unmeasured = images.iter().filter(|i| i.strip_top_px.is_none() && i.strip_left_px.is_none()).count();
        if unmeasured > 0 {
            let reason = format!("border strips of {} were not measured", counted(unmeasured, "image", "images"));
            problems.push(Problem::new(Severity::Warning, "", reason, "no strip blackened in them"));
        }
    }

    if !before.is_empty() && !before.keys().any(|id| inputs.images.iter().any(|i| i.image_id == *id)) {
        return Err(CleanError::OtherData { path: out.into(), crops: before.len() });
    }

    let level_bits: HashMap<&str, u32> =
        inputs.images.iter().filter_map(|i| Some((&*i.image_id, i.level_bits?))).collect();
    // The tables know the bits: nothing is decoded for the top level. What is to be said of it the scan has said.
    let _ = inputs.dataset.level_bits(|entry| level_bits.get(&*entry.image_id).copied());
    let context = Context { dataset: inputs.dataset, out, outputs: &outputs, settings };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(jobs.unwrap_or(0)).build();
    let pool = pool.map_err(|e| CleanError::Jobs { jobs: jobs.unwrap_or(0), reason: e.to_string() })?;
    progress.start("images", images.len() as u64);
    let results: Vec<Result<Done, Failure>> = pool.install(|| {
        images
            .par_iter()
            .map(|row| {
                let result = context.clean(row, before.get(&row.image_id));
                if let Ok(done) = &result
                    && !done.unchanged
                {
                    journal.add(&done.transform);
                }
                progress.advance(1);
                result
            })
            .collect()
    });
    progress.finish();

    let mut cleaned = Cleaned {
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
        match result {
            Err(Failure::Output(error)) => return Err(error),
            Err(Failure::Input(mut problem)) => {
                if before.contains_key(&row.image_id) {
                    problem.action = "not made again; the crop of an earlier run stays".to_owned();
                }
                cleaned.problems.push(*problem);
            }
            Ok(done) => {
                *if done.unchanged { &mut cleaned.unchanged } else { &mut cleaned.written } += 1;
                cleaned.found_in_image += usize::from(done.transform.box_source == BoxSource::Image);
                cleaned.background_by_masks += usize::from(done.transform.background == BackgroundSource::Masks);
                cleaned.problems.extend(done.problems);
                cleaned.transforms.push(done.transform);
            }
        }
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
    // Folds of an earlier run may name images that have no crop now.
    let earlier: Option<Vec<FoldRow>> = match inputs.folds {
        Some(_) => None,
        None => read_csv(&out.join("folds.csv")).ok(),
    };
    if let Some(folds) = inputs.folds.or(earlier.as_deref()) {
        let there: HashSet<&str> = cleaned.transforms.iter().map(|t| t.image_id.as_str()).collect();
        let kept: Vec<FoldRow> = folds.iter().filter(|r| there.contains(r.image_id.as_str())).cloned().collect();
        write_csv(&out.join("folds.csv"), &kept)?;
        write_parquet(&out.join("folds.parquet"), &kept)?;
        cleaned.folds = Some(kept.len());
    }
    let rows: Vec<ProblemRow> = cleaned.problems.iter().cloned().map(Into::into).collect();
    write_csv(&out.join("problems.csv"), &rows)?;
    Ok(cleaned)
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
