//! What lets a second scan skip unchanged images: the tables of the first one and a stamp of what each image came from.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use super::measure::Measured;
use super::{ScanError, ScanSettings, side_name};
use crate::artefact::write_atomically;
use crate::dataset::image::sha256;
use crate::dataset::{Corrections, Dataset, ImageEntry, Problem};
use crate::tables::{BoneRow, ImageRow, Tables};
use serde::{Deserialize, Serialize};

/// Name of the file next to the tables.
pub const FILE: &str = "scan.json";
/// Raised when what is measured changes, so that older tables are not reused.
const VERSION: u32 = 2;

/// An image of the earlier scan: its [`crate::dataset::Dataset::stamp`], and the problems met while measuring it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Known {
    pub stamp: String,
    pub problems: Vec<Problem>,
}

#[derive(Serialize, Deserialize)]
struct Record {
    version: u32,
    settings: String,
    files: BTreeMap<String, Known>,
    /// By image, the ids of the decisions about its shapes that the tables have.
    #[serde(default)]
    decisions: BTreeMap<String, Vec<String>>,
}

/// Rows of an earlier scan.
pub struct Cache {
    files: BTreeMap<String, Known>,
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
            .filter(|r| r.version == VERSION && r.settings == key);
        // A cache that cannot be read costs a scan, nothing else.
        let (files, tables) = record.and_then(|r| Some((r.files, Tables::read(out).ok()?))).unwrap_or_default();
        let mut bones: HashMap<String, Vec<BoneRow>> = HashMap::new();
        for row in tables.bones {
            bones.entry(row.image_id.clone()).or_default().push(row);
        }
        Ok(Cache { files, images: tables.images.into_iter().map(|r| (r.path.clone(), r)).collect(), bones })
    }

    /// Rows of an image whose files have not changed; what is known without reading them is taken afresh.
    pub fn get(&self, entry: &ImageEntry, stamp: Option<&str>) -> Option<Measured> {
        let known = self.files.get(&entry.image).filter(|k| Some(&*k.stamp) == stamp)?;
        let mut image = self.images.get(&entry.image)?.clone();
        if image.image_id != entry.image_id || image.annotation_path != entry.annotation {
            return None;
        }
        image.side = side_name(entry.side);
        image.patient_id.clone_from(&entry.patient_id);
        image.subset = entry.subset.name().to_owned();
        let bones = self.bones.get(&entry.image_id).cloned().unwrap_or_default();
        Some(Measured { image, bones, problems: known.problems.clone() })
    }
}

/// Records what the tables in `out` came from. Written last: without it nothing is reused.
pub fn write(
    out: &Path,
    settings: &ScanSettings,
    dataset: &Dataset,
    files: BTreeMap<String, Known>,
) -> Result<(), ScanError> {
    let path = out.join(FILE);
    let ids = dataset.images().iter().map(|e| &*e.image_id);
    let decisions = decisions(dataset.corrections(), ids);
    let record = Record { version: VERSION, settings: settings_key(settings)?, files, decisions };
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

/// How many images of the tables in `folder` were measured without the shapes that `corrections` give them, or with others.
pub fn measured_otherwise(folder: &Path, tables: &Tables, corrections: &Corrections) -> usize {
    let record = std::fs::read(folder.join(FILE)).ok().and_then(|bytes| serde_json::from_slice::<Record>(&bytes).ok());
    let then = record.map(|record| record.decisions).unwrap_or_default();
    let now = decisions(corrections, tables.images.iter().map(|row| &*row.image_id));
    tables.images.iter().filter(|row| then.get(&row.image_id) != now.get(&row.image_id)).count()
}
