//! What lets a second scan skip unchanged images: the tables of the first one and a stamp of what each image came from.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use super::measure::MeasuredImage;
use super::{EXCLUDED, ScanError, ScanSettings};
use crate::artefact::write_atomically;
use crate::dataset::corrections::Action;
use crate::dataset::{Corrections, Dataset, ImageEntry, Problem};
use crate::digest::sha256;
use crate::tables::{BoneRow, HASHES, ImageRow, Tables};
use crate::wording::counted;
use serde::{Deserialize, Serialize};

/// Name of the file next to the tables.
pub const FILE: &str = "scan.json";
/// Raised when what is measured changes, so that older tables are not reused.
const VERSION: u32 = 7;

/// An image of the earlier scan: its [`crate::dataset::Dataset::stamp`], and the problems met while measuring it.
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
    /// By image, the ids of the decisions about its shapes that the tables have.
    decisions: BTreeMap<String, Vec<String>>,
    /// The ids of the decisions about sides and metadata that the tables have.
    cells: BTreeSet<String>,
    /// SHA-256 of the hashes of the tables that this is about.
    tables: String,
}

/// Rows of an earlier scan.
pub struct Cache {
    files: BTreeMap<String, EarlierImage>,
    images: HashMap<String, ImageRow>,
    bones: HashMap<String, Vec<BoneRow>>,
}

/// Everything that changes a measure, as text.
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
    /// Of the scan whose tables are in `out`; empty where there is none with these settings.
    pub fn read(out: &Path, settings: &ScanSettings) -> Result<Cache, ScanError> {
        let key = settings_key(settings)?;
        let record = std::fs::read(out.join(FILE))
            .ok()
            .and_then(|bytes| serde_json::from_slice::<Record>(&bytes).ok())
            .filter(|r| r.version == VERSION && r.settings == key && r.tables == tables_hash(out));
        // A cache that cannot be read costs a scan, nothing else.
        let (files, tables) = record.and_then(|r| Some((r.files, Tables::read(out).ok()?))).unwrap_or_default();
        let mut bones: HashMap<String, Vec<BoneRow>> = HashMap::new();
        for row in tables.bones {
            bones.entry(row.image_id.clone()).or_default().push(row);
        }
        Ok(Cache { files, images: tables.images.into_iter().map(|r| (r.path.clone(), r)).collect(), bones })
    }

    /// Bits that the levels of an image of 16 bits need, if it has not changed.
    pub fn level_bits(&self, dataset: &Dataset, entry: &ImageEntry) -> Option<u32> {
        self.get(entry, dataset.stamp(entry).as_deref())?.image.level_bits
    }

    /// Rows of an image whose files have not changed; what is known without reading them is taken afresh.
    pub fn get(&self, entry: &ImageEntry, stamp: Option<&str>) -> Option<MeasuredImage> {
        let known = self.files.get(&entry.image).filter(|k| Some(&*k.stamp) == stamp)?;
        let mut image = self.images.get(&entry.image)?.clone();
        if image.image_id != entry.image_id || image.annotation_path != entry.annotation {
            return None;
        }
        if image.unusable_reason.as_deref() == Some(EXCLUDED) {
            // Whether it is excluded now is looked up again; what else was wrong was not looked at.
            return None;
        }
        image.side = entry.side;
        image.patient_id.clone_from(&entry.patient_id);
        image.subset = entry.subset;
        let bones = self.bones.get(&entry.image_id).cloned().unwrap_or_default();
        Some(MeasuredImage { image, bones, problems: known.problems.clone() })
    }
}

/// Records what the tables in `out` came from. Written last: without it nothing is reused.
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

/// Which tables there are; empty for none.
fn tables_hash(folder: &Path) -> String {
    std::fs::read(folder.join(HASHES)).map(|bytes| sha256(&bytes)).unwrap_or_default()
}

/// Why the tables in `folder`, whose images are these, are not those of a scan with `corrections`; `None` where they are, or where what
/// they lack can be put into them.
pub fn outdated(folder: &Path, images: &[ImageRow], corrections: &Corrections) -> Option<String> {
    let bytes = std::fs::read(folder.join(FILE)).ok()?;
    let then = serde_json::from_slice::<Record>(&bytes).ok()?;
    let now = decisions(corrections, images.iter().map(|row| &*row.image_id));
    let others = images.iter().filter(|row| then.decisions.get(&row.image_id) != now.get(&row.image_id)).count();
    let undone = then.cells.difference(&cells(corrections)).count();
    match (others, undone) {
        (0, 0) => None,
        (0, _) => Some(format!(
            "{} in the tables and not in force any more",
            counted(undone, "decision about sides or metadata is", "decisions about sides or metadata are")
        )),
        _ => Some(format!(
            "{} measured on other shapes than the corrections give",
            counted(others, "image was", "images were")
        )),
    }
}
