//! The cache that lets a second scan skip unchanged images: the tables of the first scan and a stamp of each image's
//! files.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::Path;

use super::measure::MeasuredImage;
use super::{ScanError, ScanSettings, is_excluded};
use crate::artefact::write_atomically;
use crate::dataset::corrections::Action;
use crate::dataset::{Corrections, Dataset, ImageEntry, Problem};
use crate::digest::sha256;
use crate::tables::{BoneRow, HASHES, ImageRow, OverlapRow, ShapeRow, Tables};
use crate::wording::counted;
use serde::{Deserialize, Serialize};

/// Name of the cache file, which is next to the tables.
pub const FILE: &str = "scan.json";
/// Increase it when the measures change, so that older tables are not reused.
const VERSION: u32 = 9;

/// An image of the earlier scan: its [`crate::dataset::Dataset::stamp`] and the problems found while measuring it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EarlierImage {
    pub stamp: String,
    pub problems: Vec<Problem>,
}

#[derive(Serialize, Deserialize)]
struct Record {
    version: u32,
    settings: String,
    files: BTreeMap<String, EarlierImage>,
    /// Image id to the ids of the decisions about its shapes that were applied.
    decisions: BTreeMap<String, Vec<String>>,
    /// Ids of the decisions about sides and metadata that were applied.
    cells: BTreeSet<String>,
    /// SHA-256 of the hashes of the tables that this record belongs to.
    tables: String,
}

/// Rows of an earlier scan.
pub struct Cache {
    files: BTreeMap<String, EarlierImage>,
    images: HashMap<String, ImageRow>,
    bones: HashMap<String, Vec<BoneRow>>,
    overlaps: HashMap<String, Vec<OverlapRow>>,
    shapes: HashMap<String, Vec<ShapeRow>>,
}

/// All settings that change a measure, as text.
fn settings_key(settings: &ScanSettings) -> Result<String, ScanError> {
    let predictions = match &settings.predictions {
        Some(path) => {
            let bytes = std::fs::read(path).map_err(|source| ScanError::Io { path: path.clone(), source })?;
            sha256(&bytes)
        }
        None => String::new(),
    };
    Ok(format!("{} {} {predictions}", settings.rotated_deg, settings.bright))
}

impl Cache {
    /// Reads the cache of the scan whose tables are in `out`; empty if there is none with these settings.
    ///
    /// # Errors
    /// The predictions of the settings cannot be read.
    pub fn read(out: &Path, settings: &ScanSettings) -> Result<Cache, ScanError> {
        let key = settings_key(settings)?;
        let record = std::fs::read(out.join(FILE))
            .ok()
            .and_then(|bytes| serde_json::from_slice::<Record>(&bytes).ok())
            .filter(|r| r.version == VERSION && r.settings == key && r.tables == tables_hash(out));
        // If the cache cannot be read, everything is scanned again; nothing else is lost.
        let (files, tables) = record.and_then(|r| Some((r.files, Tables::read(out).ok()?))).unwrap_or_default();
        Ok(Cache {
            files,
            images: tables.images.into_iter().map(|r| (r.path.clone(), r)).collect(),
            bones: by_image(tables.bones, |row| &row.image_id),
            overlaps: by_image(tables.overlaps, |row| &row.image_id),
            shapes: by_image(tables.shapes, |row| &row.image_id),
        })
    }

    /// Number of bits that the grey levels of a 16-bit image need; `None` if the image has changed.
    pub fn level_bits(&self, dataset: &Dataset, entry: &ImageEntry) -> Option<u32> {
        self.get(entry, dataset.stamp(entry).as_deref())?.image.level_bits
    }

    /// Rows of an image whose files have not changed. Values that do not need the files (side, patient, subset) are
    /// those of `entry`.
    pub fn get(&self, entry: &ImageEntry, stamp: Option<&str>) -> Option<MeasuredImage> {
        let known = self.files.get(&entry.image).filter(|k| Some(&*k.stamp) == stamp)?;
        let mut image = self.images.get(&entry.image)?.clone();
        if image.image_id != entry.image_id || image.annotation_path != entry.annotation {
            return None;
        }
        if is_excluded(&image) {
            // This reason replaced any other one, so measure the image again.
            return None;
        }
        image.side = entry.side;
        image.patient_id.clone_from(&entry.patient_id);
        image.subset = entry.subset;
        fn of<T: Clone>(rows: &HashMap<String, Vec<T>>, id: &str) -> Vec<T> {
            rows.get(id).cloned().unwrap_or_default()
        }
        let id = &entry.image_id;
        let (bones, overlaps, shapes) = (of(&self.bones, id), of(&self.overlaps, id), of(&self.shapes, id));
        Some(MeasuredImage { image, bones, overlaps, shapes, problems: known.problems.clone() })
    }
}

fn by_image<T>(rows: Vec<T>, id: impl Fn(&T) -> &String) -> HashMap<String, Vec<T>> {
    let mut images: HashMap<String, Vec<T>> = HashMap::new();
    for row in rows {
        images.entry(id(&row).clone()).or_default().push(row);
    }
    images
}

/// Writes the cache of the tables in `out`. Call it last: without this file nothing is reused.
///
/// # Errors
/// The predictions cannot be read, or the file cannot be written.
pub fn write(
    out: &Path,
    settings: &ScanSettings,
    dataset: &Dataset,
    files: BTreeMap<String, EarlierImage>,
) -> Result<(), ScanError> {
    let path = out.join(FILE);
    let ids = dataset.images().iter().map(|e| &*e.image_id);
    let decisions = decisions(dataset.corrections(), ids);
    let cells = cells(dataset.corrections());
    let (settings, tables) = (settings_key(settings)?, tables_hash(out));
    let record = Record { version: VERSION, settings, files, decisions, cells, tables };
    write_atomically(&path, |w| serde_json::to_writer(w, &record).map_err(Into::into))
        .map_err(|source| ScanError::Io { path, source })
}

fn decisions<'a>(corrections: &Corrections, image_ids: impl Iterator<Item = &'a str>) -> BTreeMap<String, Vec<String>> {
    let ids = |image: &'a str| {
        let ids: Vec<String> = corrections.about_shapes(image).into_iter().map(|d| d.id()).collect();
        (!ids.is_empty()).then(|| (image.to_owned(), ids))
    };
    image_ids.filter_map(ids).collect()
}

/// Ids of the decisions about cells of the tables.
fn cells(corrections: &Corrections) -> BTreeSet<String> {
    let of_cells =
        corrections.decisions().filter(|d| matches!(d.action, Action::SetSide { .. } | Action::SetMetadata { .. }));
    of_cells.map(|d| d.id()).collect()
}

/// SHA-256 of the file with the hashes of the tables; empty if there is none.
fn tables_hash(folder: &Path) -> String {
    std::fs::read(folder.join(HASHES)).map(|bytes| sha256(&bytes)).unwrap_or_default()
}

/// The ids of the decisions that the tables in `folder` were scanned with; empty if unknown.
pub fn scanned_decisions(folder: &Path) -> HashSet<String> {
    let read = std::fs::read(folder.join(FILE)).ok().and_then(|bytes| serde_json::from_slice::<Record>(&bytes).ok());
    read.map(|record| record.decisions.into_values().flatten().chain(record.cells).collect()).unwrap_or_default()
}

/// A message if the tables in `folder`, which have these `images`, were scanned with other corrections than
/// `corrections`, with how to fix it. `None` if they were not, or if the difference can be applied to the tables.
pub fn outdated(folder: &Path, images: &[ImageRow], corrections: &Corrections) -> Option<String> {
    let bytes = std::fs::read(folder.join(FILE)).ok()?;
    let scanned = serde_json::from_slice::<Record>(&bytes).ok()?;
    let now = decisions(corrections, images.iter().map(|row| &*row.image_id));
    let others = images.iter().filter(|row| scanned.decisions.get(&row.image_id) != now.get(&row.image_id)).count();
    let undone = scanned.cells.difference(&cells(corrections)).count();
    let folder = folder.display();
    let reason = match (others, undone) {
        (0, 0) => return None,
        _ if corrections.file().is_empty() => {
            return Some(format!(
                "{folder} was scanned with corrections; give the same --corrections here, or scan again without"
            ));
        }
        (0, _) => format!(
            "{} in the tables but no longer active",
            counted(undone, "decision about sides or metadata is", "decisions about sides or metadata are")
        ),
        _ => format!(
            "{} measured on other shapes than the corrections give",
            counted(others, "image was", "images were")
        ),
    };
    Some(format!("{folder}: {reason}; run `carpus scan` with the same --corrections first"))
}
