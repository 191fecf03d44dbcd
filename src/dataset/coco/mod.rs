//! COCO: one JSON file with the images, categories and annotations of each subset, and the images next to it or in a
//! folder of their own. The same source reads FiftyOne's layout of it (`labels.json` and `data/`).
//!
//! - The category's name is the bone. Several annotations of one bone in an image are united.
//! - A polygon's vertices are rounded and filled as all outlines are, with their border; COCO fills only its inside.
//! - A run-length mask is traced, so that filling the outline gives its pixels again. Where carpus wrote the file, its
//!   own field `carpus` has the original vertices; they are used as long as they still give the mask.

mod record;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::annotation::{AnnotationError, ShapeOutline};
use super::conversion::Conversion;
use super::names::{patient_in_stem, patient_of_folder, side_in_name, timestamp};
use super::shape_list::ShapeList;
use super::source::{DatasetError, Listing, Opened, Source, SourceAnnotation, SourceKind};
use super::{ImageEntry, Problem, ProblemSeverity, Side, Subset, folder, image_id, sniff};
use crate::bones::Bone;
use crate::bounded;
use crate::digest::sha256;
use crate::mask::submission::Space;
use crate::mask::{RunMask, coco};
use record::{AnnotationRecord, CocoFile, Id, ImageRecord};
pub use record::{Counts, OwnImage, OwnShape, OwnShapes, Segmentation};

/// The source of this module.
pub const KIND: SourceKind = SourceKind { name: "coco", open };

/// Maximum bytes of a COCO file.
const MAX_FILE: u64 = 2 << 30;
/// Maximum number of JSON files in a folder of COCO files: one per subset. A folder with more has one per image.
const MAX_FILES: usize = 24;
/// Maximum number of objects in an image.
const MAX_OBJECTS: usize = 10_000;
/// Folders in which the files are searched, relative to the data folder.
const FOLDERS: [&str; 2] = ["", "annotations"];
/// Folders in which the images are searched, relative to the data folder.
const IMAGE_FOLDERS: [&str; 3] = ["", "images", "data"];

fn open(root: &Path) -> Option<Result<Opened, DatasetError>> {
    let files = coco_files(root);
    (!files.is_empty()).then(|| read(root, &files))
}

/// The COCO files of a data folder.
fn coco_files(root: &Path) -> Vec<PathBuf> {
    for folder in FOLDERS {
        let mut files = sniff::files(&root.join(folder), &["json"]);
        if files.is_empty() || files.len() > MAX_FILES {
            continue;
        }
        files.retain(|file| {
            let arrays = sniff::json_arrays(file);
            let has = |key: &str| arrays.iter().any(|k| k == key);
            has("images") && !has("shapes")
        });
        if !files.is_empty() {
            return files;
        }
    }
    Vec::new()
}

/// An image with its objects.
struct CocoImage {
    size: (u32, u32),
    own: OwnImage,
    objects: Vec<(String, AnnotationRecord)>,
}

/// A data folder with COCO files.
struct Coco {
    root: PathBuf,
    images: HashMap<String, CocoImage>,
    conversion: Conversion,
}

/// What is read from the files one after another.
#[derive(Default)]
struct Reading {
    images: HashMap<String, CocoImage>,
    listing: Listing,
}

fn read(root: &Path, files: &[PathBuf]) -> Result<Opened, DatasetError> {
    let mut reading = Reading::default();
    let mut failed = None;
    for path in files {
        let name = path.strip_prefix(root).unwrap_or(path).to_string_lossy().into_owned();
        match read_file(path) {
            Ok(file) => reading.add(root, &name, file),
            Err(reason) => {
                failed.get_or_insert_with(|| DatasetError::Annotations { path: path.clone(), reason: reason.clone() });
                reading.problem(ProblemSeverity::Error, &name, "", reason, "file left out");
            }
        }
    }
    let Reading { images, mut listing } = reading;
    if listing.images.is_empty() {
        return Err(failed.unwrap_or_else(|| DatasetError::without_images(root, &listing.problems)));
    }
    let conversion = Conversion::read(root, &mut listing.problems)?;
    listing.metadata = folder::spreadsheet(root, &mut listing.problems);
    let sides: Vec<Option<Side>> = listing.images.iter().map(|e| e.side).collect();
    let own_sides: HashMap<String, Option<Side>> =
        listing.images.iter().map(|e| e.image_id.clone()).zip(sides).collect();
    let mut listing = folder::finished(listing);
    // What carpus wrote is known better than what follows from names.
    for entry in listing.images.iter_mut().filter(|e| !images[&e.image_id].own.patient_id.is_empty()) {
        entry.side = own_sides[&entry.image_id];
    }
    conversion.apply(&mut listing);
    Ok((Box::new(Coco { root: root.into(), images, conversion }), listing))
}

fn read_file(path: &Path) -> Result<CocoFile, String> {
    let bytes = bounded::read(path, MAX_FILE).map_err(|e| e.to_string())?;
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
    serde_json::from_slice(bytes).map_err(|error| format!("not readable as COCO: {error}"))
}

impl Reading {
    fn problem(&mut self, severity: ProblemSeverity, file: &str, place: &str, reason: impl Into<String>, action: &str) {
        self.listing.problems.push(Problem::new(severity, file, reason, action).at(place));
    }

    fn add(&mut self, root: &Path, file: &str, content: CocoFile) {
        let CocoFile { images, annotations, categories } = content;
        let mut names: HashMap<Id, String> = HashMap::new();
        for (n, category) in categories.into_iter().enumerate() {
            let name = category.name.as_ref().and_then(|name| name.expected()).cloned();
            match category.id.zip(name) {
                Some((id, name)) => drop(names.insert(id, name)),
                None => {
                    let reason = "expected a category with `id` and `name`";
                    let place = format!("categories[{n}]");
                    self.problem(ProblemSeverity::Error, file, &place, reason, "category left out");
                }
            }
        }
        let is_annotated: BTreeSet<&Id> = annotations.iter().filter_map(|a| a.image_id.as_ref()).collect();
        let subset = subset_of_file(file, !is_annotated.is_empty());
        let mut by_id: HashMap<Id, String> = HashMap::new();
        for (n, record) in images.into_iter().enumerate() {
            let has_objects = record.id.as_ref().is_some_and(|id| is_annotated.contains(id));
            let id = record.id.clone();
            match self.add_image(root, file, record, subset, has_objects) {
                Ok(image) => drop(id.map(|id| by_id.insert(id, image))),
                Err(reason) => {
                    let place = format!("images[{n}]");
                    self.problem(ProblemSeverity::Error, file, &place, reason, "image left out");
                }
            }
        }
        self.add_objects(file, annotations, &by_id, &names);
    }

    /// Adds an image and returns its id.
    fn add_image(
        &mut self,
        root: &Path,
        file: &str,
        record: ImageRecord,
        subset: Subset,
        has_objects: bool,
    ) -> Result<String, String> {
        let name = record.file_name.as_ref().and_then(|name| name.expected());
        let name = name.ok_or("expected an image with `file_name`")?.replace('\\', "/");
        if record.id.is_none() {
            return Err("expected an image with `id`".into());
        }
        let relative = relative(&name).ok_or(format!("file_name {name:?} leads out of the data folder"))?;
        let place = IMAGE_FOLDERS.iter().map(|folder| Path::new(folder).join(&relative));
        let place = place.map(|p| p.to_string_lossy().into_owned()).find(|place| root.join(place).is_file());
        let image = place.ok_or(format!("there is no file {name:?} in the data folder"))?;
        let id = image_id(&name);
        if self.images.contains_key(&id) {
            return Err(format!("the same name, without ending, as another image: {id}; image names must be unique"));
        }
        let side_of_name = |name: &str| Side::from_name(name);
        let own = record.carpus.as_ref().and_then(|own| own.expected()).cloned().unwrap_or_default();
        let patient_id = if own.patient_id.is_empty() { patient_of(&relative, &id) } else { own.patient_id.clone() };
        let side =
            if own.patient_id.is_empty() { side_in_name(&id) } else { own.side.as_deref().and_then(side_of_name) };
        self.listing.images.push(ImageEntry {
            timestamp: timestamp(&id),
            side,
            side_in_name: side_in_name(&id),
            image,
            patient_id,
            subset,
            annotation: (has_objects || own.is_annotated).then(|| file.to_owned()),
            image_id: id.clone(),
        });
        let side_of = |value: &Option<record::Lenient<u32>>| value.as_ref().and_then(|v| v.expected()).copied();
        let size = (side_of(&record.width).unwrap_or(0), side_of(&record.height).unwrap_or(0));
        self.images.insert(id.clone(), CocoImage { size, own, objects: Vec::new() });
        Ok(id)
    }

    fn add_objects(
        &mut self,
        file: &str,
        annotations: Vec<AnnotationRecord>,
        images: &HashMap<Id, String>,
        names: &HashMap<Id, String>,
    ) {
        // By reason: the first such annotation and how many there are.
        let mut unusable: BTreeMap<String, (usize, usize)> = BTreeMap::new();
        for (n, record) in annotations.into_iter().enumerate() {
            let image = record.image_id.as_ref().and_then(|id| images.get(id));
            let name = record.category_id.as_ref().and_then(|id| names.get(id));
            let shown = |id: &Option<Id>| id.as_ref().map_or("missing".to_owned(), Id::to_string);
            let reason = match (image, name) {
                (Some(image), Some(name)) => {
                    let objects = &mut self.images.get_mut(image).expect("listed by its id").objects;
                    if objects.len() < MAX_OBJECTS {
                        objects.push((name.clone(), record));
                        continue;
                    }
                    format!("image {image} has more than {MAX_OBJECTS} annotations")
                }
                (None, _) => format!("no usable image has the id of `image_id`, {}", shown(&record.image_id)),
                (_, None) => format!("no category has the id of `category_id`, {}", shown(&record.category_id)),
            };
            unusable.entry(reason).or_insert((n, 0)).1 += 1;
        }
        for (reason, (first, count)) in unusable {
            let place = format!("annotations[{first}]");
            let more = if count > 1 { format!(" ({count} annotations)") } else { String::new() };
            self.problem(ProblemSeverity::Error, file, &place, reason + &more, "annotation left out");
        }
    }
}

/// The subset that the name of a COCO file means; without a known word in it, annotated images are for training.
fn subset_of_file(file: &str, is_annotated: bool) -> Subset {
    let name = file.rsplit('/').next().unwrap_or(file).to_lowercase();
    let words: Vec<&str> = name.split(|c: char| !c.is_alphabetic()).collect();
    if ["test", "testing"].iter().any(|word| words.contains(word)) || !is_annotated && !words.contains(&"train") {
        Subset::Test
    } else {
        Subset::Train
    }
}

/// The patient from the innermost folder that is a patient's, else from the file's name.
pub(super) fn patient_of(relative: &Path, id: &str) -> String {
    let mut folders = relative.parent().into_iter().flat_map(Path::iter).filter_map(|folder| folder.to_str());
    let folder = folders.rfind(|folder| super::names::is_patient_folder(folder));
    folder.map_or_else(|| patient_in_stem(id), patient_of_folder)
}

/// The path, if it is relative and does not leave its folder.
pub(crate) fn relative(path: &str) -> Option<PathBuf> {
    use std::path::Component;
    let parts = Path::new(path).components().filter(|part| *part != Component::CurDir);
    let parts: Option<PathBuf> = parts
        .map(|part| match part {
            Component::Normal(name) => Some(name),
            _ => None,
        })
        .collect();
    parts.filter(|path| !path.as_os_str().is_empty())
}

impl Source for Coco {
    fn root(&self) -> &Path {
        &self.root
    }

    fn annotation(&self, entry: &ImageEntry, file: &str) -> Result<SourceAnnotation, AnnotationError> {
        let image = &self.images[&entry.image_id];
        let mut shapes = ShapeList::new(file, &entry.image_id);
        shapes.check_size(&self.root.join(&entry.image), image.size);
        let mut seen: BTreeSet<Bone> = BTreeSet::new();
        let mut drawn: Vec<OwnShape> = image.own.shapes.clone();
        let mut others = Vec::new();
        for (n, (name, record)) in image.objects.iter().enumerate() {
            let place = format!("annotation {n} of {}", entry.image_id);
            if let Some(bone) = Bone::read(name)
                && !seen.insert(bone)
            {
                let reason = format!("the image has several annotations of {bone}");
                shapes.problem(ProblemSeverity::Warning, &place, reason, "all are drawn as one bone");
            }
            match image.object(record) {
                Ok(Object::Drawn { shapes: own, note }) => {
                    drawn.extend(own);
                    if let Some(note) = note {
                        shapes.problem(ProblemSeverity::Warning, &place, note, "the polygons are used");
                    }
                }
                Ok(object) => others.push((name, object, place)),
                Err(reason) => shapes.problem(ProblemSeverity::Error, place, reason, "annotation left out"),
            }
        }
        let indices: BTreeSet<usize> = drawn.iter().map(|shape| shape.index).collect();
        let is_numbered = indices.len() == drawn.len();
        for (n, OwnShape { index, label, points }) in drawn.into_iter().enumerate() {
            shapes.add(if is_numbered { index } else { n }, label.into(), ShapeOutline::Whole(points));
        }
        for (name, object, place) in others {
            let next = shapes.next_index();
            match object {
                Object::Mask { mask, note } => {
                    if let Some(note) = note {
                        shapes.problem(ProblemSeverity::Warning, &place, note, "the mask is used");
                    }
                    if mask.is_empty() {
                        shapes.problem(ProblemSeverity::Warning, place, "the mask is empty", "annotation left out");
                    }
                    shapes.add_mask(next, name, &mask);
                }
                Object::Polygons(polygons) => {
                    for (i, polygon) in polygons.iter().enumerate() {
                        let outline = match polygon.as_chunks::<2>() {
                            (points, []) => ShapeOutline::Numbers(points.to_vec()),
                            _ => ShapeOutline::Other(Value::from(polygon.clone())),
                        };
                        shapes.add(next + i, name.as_str().into(), outline);
                    }
                }
                Object::Drawn { .. } => {}
            }
        }
        let (annotation, problems) = shapes.finish();
        let content = (&image.own.shapes, image.size, &image.objects);
        let sha256 = sha256(&serde_json::to_vec(&content).expect("numbers and texts are JSON"));
        Ok(SourceAnnotation { annotation, sha256, problems })
    }

    fn applied(&self) -> Option<&HashMap<String, Vec<String>>> {
        self.conversion.applied()
    }

    fn space(&self) -> Space {
        self.conversion.space()
    }

    fn spacing_mm(&self, entry: &ImageEntry) -> Option<f64> {
        self.conversion.spacing_mm(entry).or(self.images[&entry.image_id].own.spacing_mm)
    }
}

/// What an annotation draws.
enum Object<'a> {
    /// The outlines that carpus wrote next to the annotation, which still give it.
    Drawn {
        shapes: Vec<OwnShape>,
        note: Option<String>,
    },
    Mask {
        mask: RunMask,
        note: Option<String>,
    },
    Polygons(&'a [Vec<f64>]),
}

impl CocoImage {
    fn object<'a>(&self, record: &'a AnnotationRecord) -> Result<Object<'a>, String> {
        let own = record.carpus.as_ref().and_then(|own| own.expected()).map(|own| &own.shapes);
        let own = own.filter(|shapes| !shapes.is_empty());
        match record.segmentation.as_ref().ok_or("no `segmentation`")? {
            Segmentation::Polygons(polygons) => {
                let same = |(own, polygon): (&OwnShape, &Vec<f64>)| is_polygon_of(&own.points, polygon);
                match own {
                    Some(own) if own.len() == polygons.len() && own.iter().zip(polygons).all(same) => {
                        Ok(Object::Drawn { shapes: own.clone(), note: None })
                    }
                    _ if polygons.is_empty() => Err("`segmentation` is an empty list".into()),
                    _ => Ok(Object::Polygons(polygons)),
                }
            }
            Segmentation::Runs { size: [height, width], counts } => {
                if (*width, *height) != self.size {
                    let (w, h) = self.size;
                    return Err(format!("the mask has the size {width}x{height}, the image {w}x{h} in this file"));
                }
                let limit = super::image::MAX_SIDE;
                if *width > limit || *height > limit {
                    return Err(format!("a mask of {width}x{height} pixels; at most {limit}x{limit} are read"));
                }
                let numbers = match counts {
                    Counts::Numbers(numbers) => numbers.clone(),
                    Counts::Text(text) => coco::counts_of_text(text).map_err(|e| e.to_string())?,
                };
                let mask = coco::mask_of_counts(&numbers, *width, *height).map_err(|e| e.to_string())?;
                let drawn = |own: &Vec<OwnShape>| {
                    let masks: Vec<RunMask> =
                        own.iter().map(|shape| RunMask::from_polygon(&shape.points, *width, *height)).collect();
                    RunMask::vote(&masks.iter().collect::<Vec<_>>(), 1).is_ok_and(|united| united == mask)
                };
                match own {
                    Some(own) if drawn(own) => Ok(Object::Drawn { shapes: own.clone(), note: None }),
                    Some(_) => {
                        let note = "the mask was changed after carpus wrote the file: its polygons give another one";
                        Ok(Object::Mask { mask, note: Some(note.into()) })
                    }
                    None => Ok(Object::Mask { mask, note: None }),
                }
            }
            Segmentation::Other(_) => {
                Err("`segmentation` is neither a list of polygons nor a mask with `size` and `counts`".into())
            }
        }
    }
}

/// Whether the flat list is that of these vertices. Polygons with fewer than three points are written with the last one
/// repeated.
fn is_polygon_of(points: &[[i32; 2]], flat: &[f64]) -> bool {
    let (pairs, rest) = flat.as_chunks::<2>();
    let same = |(own, pair): (&[i32; 2], &[f64; 2])| own.map(f64::from) == *pair;
    rest.is_empty()
        && (pairs.len() == points.len() || pairs.len() == 3 && points.len() < 3 && !points.is_empty())
        && points.iter().chain(points.last().into_iter().cycle()).zip(pairs).all(same)
}
