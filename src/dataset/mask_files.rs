//! Masks as pictures: `masks/IMAGE/BONE.png`, with the images in `images/`. Pixels above 0 are in the bone. The masks are
//! traced, so that filling the outlines gives their pixels again.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::annotation::AnnotationError;
use super::conversion::Conversion;
use super::labelme::set_runs;
use super::shape_list::ShapeList;
use super::source::{DatasetError, Opened, Source, SourceAnnotation, SourceKind};
use super::{ImageEntry, ProblemSeverity, Subset, folder, image, sniff};
use crate::bones::Bone;
use crate::digest::sha256;
use crate::mask::submission::Space;
use crate::mask::{PixelRun, RunMask};

/// The source of this module.
pub const KIND: SourceKind = SourceKind { name: "masks", open };

/// The folder of the masks.
pub const FOLDER: &str = "masks";
/// The folder of the images.
const IMAGES: &str = "images";
/// Number of folders of masks that are looked at to recognise the layout.
const LOOKED_AT: usize = 16;

fn open(root: &Path) -> Option<Result<Opened, DatasetError>> {
    let masks = root.join(FOLDER);
    if !masks.is_dir() || !root.join(IMAGES).is_dir() {
        return None;
    }
    let folders = std::fs::read_dir(&masks).ok()?.flatten().map(|entry| entry.path()).filter(|path| path.is_dir());
    let is_bone = |path: &PathBuf| path.file_stem().and_then(|stem| stem.to_str()).and_then(Bone::read).is_some();
    let has_bone = |folder: PathBuf| sniff::files(&folder, &["png"]).iter().any(is_bone);
    folders.take(LOOKED_AT).any(has_bone).then(|| read(root))
}

fn read(root: &Path) -> Result<Opened, DatasetError> {
    let mut listing = folder::discover(&root.join(IMAGES))?;
    let masks: HashMap<String, String> = std::fs::read_dir(root.join(FOLDER))
        .map_err(|source| DatasetError::Io { path: root.join(FOLDER), source })?
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .map(|name| (crate::names::nfc(&name), name))
        .collect();
    // Reported for images without JSON, which is not expected here.
    listing.problems.retain(|problem| problem.severity == ProblemSeverity::Error);
    let has_masks = listing.images.iter().any(|entry| masks.contains_key(&entry.image_id));
    let is_named = |image: &str| image.split('/').any(|part| folder::subset_of_folder(part).is_some());
    for entry in &mut listing.images {
        if has_masks && !is_named(&entry.image) {
            entry.subset = Subset::Train;
        }
        entry.image = format!("{IMAGES}/{}", entry.image);
        entry.annotation = masks.get(&entry.image_id).map(|name| format!("{FOLDER}/{name}"));
    }
    let conversion = Conversion::read(root, &mut listing.problems)?;
    listing.metadata = folder::spreadsheet(root, &mut listing.problems);
    let mut listing = folder::finished(listing);
    conversion.apply(&mut listing);
    Ok((Box::new(MaskFiles { root: root.into(), conversion }), listing))
}

struct MaskFiles {
    root: PathBuf,
    conversion: Conversion,
}

impl Source for MaskFiles {
    fn root(&self) -> &Path {
        &self.root
    }

    fn annotation(&self, entry: &ImageEntry, place: &str) -> Result<SourceAnnotation, AnnotationError> {
        let folder = self.root.join(place);
        let mut shapes = ShapeList::new(place, &entry.image_id);
        let mut content = String::new();
        let size = image::dimensions(&self.root.join(&entry.image)).ok();
        for path in sniff::files(&folder, &["png"]) {
            let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let label = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let read = image::read(&path).map_err(|e| e.reason).and_then(|picture| {
                content += &format!("{file} {}\n", picture.sha256);
                mask(&picture.pixels, size)
            });
            match read {
                Ok(mask) if mask.is_empty() => {
                    let reason = "the mask has no pixels";
                    shapes.problem(ProblemSeverity::Warning, file, reason, "left out");
                }
                Ok(mask) => {
                    let next = shapes.next_index();
                    shapes.add_mask(next, &label, &mask);
                }
                Err(reason) => shapes.problem(ProblemSeverity::Error, file, reason, "mask left out"),
            }
        }
        let (annotation, problems) = shapes.finish();
        Ok(SourceAnnotation { annotation, sha256: sha256(content.as_bytes()), problems })
    }

    fn stamp(&self, entry: &ImageEntry) -> Option<String> {
        let masks = entry.annotation.iter().flat_map(|place| sniff::files(&self.root.join(place), &["png"]));
        let files: Vec<PathBuf> = std::iter::once(self.root.join(&entry.image)).chain(masks).collect();
        let stamps = files
            .iter()
            .map(|file| Some(format!("{} {}", file.file_name()?.to_string_lossy(), super::source::file_stamp(file)?)));
        stamps.collect::<Option<Vec<_>>>().map(|stamps| stamps.join(" "))
    }

    fn applied(&self) -> Option<&HashMap<String, Vec<String>>> {
        self.conversion.applied()
    }

    fn space(&self) -> Space {
        self.conversion.space()
    }

    fn spacing_mm(&self, entry: &ImageEntry) -> Option<f64> {
        self.conversion.spacing_mm(entry)
    }
}

fn mask(picture: &super::GreyImage, size: Option<(u32, u32)>) -> Result<RunMask, String> {
    let (width, height) = picture.dimensions();
    if let Some((w, h)) = size.filter(|size| *size != (width, height)) {
        return Err(format!("the mask has {width}x{height} pixels, its image {w}x{h}"));
    }
    let runs = set_runs(picture).map(|(y, from, to)| PixelRun { start: y * width + from, len: to - from });
    RunMask::from_runs(width, height, runs.collect()).map_err(|e| e.to_string())
}
