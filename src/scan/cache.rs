//! What lets a second scan pass over unchanged files: the tables of the first one and the sizes and times of
//! the files they came from.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::time::UNIX_EPOCH;

use super::measure::Measured;
use super::{ScanError, ScanSettings, side_name};
use crate::dataset::Problem;
use crate::dataset::layout::ImageEntry;
use crate::tables::{BoneRow, ImageRow, Tables, write_atomically};
use serde::{Deserialize, Serialize};

const FILE: &str = "scan.json";
/// Raised when what is measured changes, so that older tables are not reused.
const VERSION: u32 = 1;

/// Size and time of an image's files: `[bytes, nanoseconds]` each.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    image: Option<[u64; 2]>,
    annotation: Option<[u64; 2]>,
}

impl Stamp {
    /// Of the files as they are now.
    pub fn of(root: &Path, entry: &ImageEntry) -> Stamp {
        let of = |file: &str| {
            let meta = std::fs::metadata(root.join(file)).ok()?;
            let time = meta.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
            Some([meta.len(), time.as_nanos() as u64])
        };
        Stamp { image: of(&entry.image), annotation: entry.annotation.as_deref().and_then(of) }
    }
}

/// A file of the earlier scan: how it was, and the problems met while measuring it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Known {
    pub stamp: Stamp,
    pub problems: Vec<Problem>,
}

#[derive(Serialize, Deserialize)]
struct Record {
    version: u32,
    settings: String,
    files: BTreeMap<String, Known>,
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
            crate::dataset::image::sha256(&bytes)
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

    /// Rows of an image whose files have not changed; what the layout alone says is taken afresh.
    pub fn get(&self, entry: &ImageEntry, stamp: &Stamp) -> Option<Measured> {
        let known = self.files.get(&entry.image).filter(|k| k.stamp == *stamp && stamp.image.is_some())?;
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

/// Records the files that the tables in `out` came from. Written last: without it nothing is reused.
pub fn write(out: &Path, settings: &ScanSettings, files: BTreeMap<String, Known>) -> Result<(), ScanError> {
    let path = out.join(FILE);
    let record = Record { version: VERSION, settings: settings_key(settings)?, files };
    write_atomically(&path, |w| serde_json::to_writer(w, &record).map_err(Into::into))
        .map_err(|source| ScanError::Io { path, source })
}
