//! CVAT for images 1.1: `annotations.xml` with the shapes of all images, and the images in `images/` or next to it.
//!
//! Polygons, boxes and masks of bones are read; tags are ignored, other shapes are problems. Vertices are rounded and
//! outlines filled as all outlines are. A mask is traced, so that filling the outline gives its pixels again.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use quick_xml::events::{BytesStart, Event};
use quick_xml::{Reader as XmlReader, XmlVersion};

use super::annotation::{AnnotationError, ShapeOutline};
use super::coco::{patient_of, relative};
use super::conversion::Conversion;
use super::names::{side_in_name, timestamp};
use super::shape_list::ShapeList;
use super::source::{DatasetError, Listing, Opened, Source, SourceAnnotation, SourceKind};
use super::{ImageEntry, Problem, ProblemSeverity, Subset, folder, image_id, sniff};
use crate::bounded;
use crate::digest::sha256;
use crate::mask::submission::Space;
use crate::mask::{PixelRun, RunMask};

/// The source of this module.
pub const KIND: SourceKind = SourceKind { name: "cvat", open };

/// The file of annotations.
pub const FILE: &str = "annotations.xml";

/// Maximum bytes of the file.
const MAX_FILE: u64 = 1 << 30;
/// Maximum number of shapes of an image.
const MAX_SHAPES: usize = 10_000;
/// Folders in which images are searched.
const IMAGE_FOLDERS: [&str; 2] = ["images", ""];
/// Bytes at the start of a file by which it is recognised.
const HEAD: u64 = 4096;

fn open(root: &Path) -> Option<Result<Opened, DatasetError>> {
    let is_cvat = |path: &PathBuf| {
        use std::io::Read;
        let mut head = Vec::new();
        let read = std::fs::File::open(path).and_then(|file| file.take(HEAD).read_to_end(&mut head));
        read.is_ok() && String::from_utf8_lossy(&head).contains("<annotations")
    };
    let files: Vec<PathBuf> = sniff::files(root, &["xml"]).into_iter().filter(is_cvat).collect();
    (!files.is_empty()).then(|| read(root, &files))
}

/// A shape as the file has it.
#[derive(Clone, Debug)]
struct CvatShape {
    kind: String,
    label: String,
    values: HashMap<String, String>,
}

/// An image with its shapes.
#[derive(Default)]
struct CvatImage {
    size: (u32, u32),
    shapes: Vec<CvatShape>,
}

struct Cvat {
    root: PathBuf,
    images: HashMap<String, CvatImage>,
    conversion: Conversion,
}

#[derive(Default)]
struct Reading {
    images: HashMap<String, CvatImage>,
    listing: Listing,
    /// Images whose subset the file does not name.
    without_subset: BTreeSet<String>,
}

fn read(root: &Path, files: &[PathBuf]) -> Result<Opened, DatasetError> {
    let mut reading = Reading::default();
    let mut failed = None;
    for path in files {
        let name = path.strip_prefix(root).unwrap_or(path).to_string_lossy().into_owned();
        let text = bounded::read_text(path, MAX_FILE).map_err(|e| e.to_string());
        if let Err(reason) = text.and_then(|text| reading.add(root, &name, &text)) {
            failed.get_or_insert_with(|| DatasetError::Annotations { path: path.clone(), reason: reason.clone() });
            let action = "images before this place are used, later ones left out";
            reading.listing.problems.push(Problem::new(ProblemSeverity::Error, name, reason, action));
        }
    }
    let Reading { mut images, mut listing, without_subset } = reading;
    if listing.images.is_empty() {
        return Err(failed.unwrap_or_else(|| DatasetError::without_images(root, &listing.problems)));
    }
    let conversion = Conversion::read(root, &mut listing.problems)?;
    // Without annotations, all images are for prediction.
    let fallback = if images.values().any(|i| !i.shapes.is_empty()) { Subset::Train } else { Subset::Test };
    for entry in &mut listing.images {
        if without_subset.contains(&entry.image_id) {
            entry.subset = fallback;
        }
        // CVAT does not distinguish an image without shapes from one that nobody has annotated.
        let has_shapes = !images.entry(entry.image_id.clone()).or_default().shapes.is_empty();
        if !has_shapes && !conversion.get(&entry.image_id).is_some_and(|image| image.is_annotated) {
            entry.annotation = None;
        }
    }
    listing.metadata = folder::spreadsheet(root, &mut listing.problems);
    let mut listing = folder::finished(listing);
    conversion.apply(&mut listing);
    Ok((Box::new(Cvat { root: root.into(), images, conversion }), listing))
}

impl Reading {
    /// Adds the images of a file up to its end or its first fault.
    fn add(&mut self, root: &Path, file: &str, text: &str) -> Result<(), String> {
        let mut xml = XmlReader::from_str(text);
        let mut open: Option<(String, CvatImage)> = None;
        let mut depth = 0usize;
        loop {
            let event = xml.read_event();
            let at = |e: &dyn std::fmt::Display, position: u64| {
                let line =
                    1 + text.as_bytes()[..(position as usize).min(text.len())].iter().filter(|b| **b == b'\n').count();
                format!("line {line}: {e}")
            };
            let position = xml.buffer_position();
            let (element, is_empty) = match event.map_err(|e| at(&e, position))? {
                Event::Eof if depth > 0 => return Err(at(&"the file ends within an element", position)),
                Event::Eof => return Ok(()),
                Event::End(end) => {
                    depth = depth.saturating_sub(1);
                    if end.name().as_ref() == b"image"
                        && let Some((name, image)) = open.take()
                    {
                        self.finish(name, image);
                    }
                    continue;
                }
                Event::Start(element) => (element, false),
                Event::Empty(element) => (element, true),
                _ => continue,
            };
            depth += usize::from(!is_empty);
            let kind = String::from_utf8_lossy(element.name().as_ref()).into_owned();
            let values = attributes(&element).map_err(|e| at(&e, position))?;
            match (&*kind, &mut open) {
                ("image", _) => {
                    let started = self.start(root, file, &values);
                    if is_empty {
                        started.into_iter().for_each(|(name, image)| self.finish(name, image));
                    } else {
                        open = started;
                    }
                }
                (
                    "polygon" | "mask" | "box" | "polyline" | "points" | "ellipse" | "cuboid" | "skeleton",
                    Some(image),
                ) => {
                    if image.1.shapes.len() == MAX_SHAPES {
                        return Err(at(&format!("more than {MAX_SHAPES} shapes of one image"), position));
                    }
                    let label = values.get("label").cloned().unwrap_or_default();
                    image.1.shapes.push(CvatShape { kind, label, values });
                }
                _ => {}
            }
        }
    }

    /// Adds the entry of an image; `None` if it cannot be used.
    fn start(&mut self, root: &Path, file: &str, values: &HashMap<String, String>) -> Option<(String, CvatImage)> {
        let name = values.get("name").map(|name| name.replace('\\', "/")).unwrap_or_default();
        let unusable = |reason: String| {
            Problem::new(ProblemSeverity::Error, file, reason, "image left out")
                .at(format!("image {name:?}"))
                .raw(&name)
        };
        let Some(inside) = relative(&name) else {
            self.listing.problems.push(unusable("the name is not a path inside the data folder".into()));
            return None;
        };
        let places = IMAGE_FOLDERS.iter().map(|folder| Path::new(folder).join(&inside));
        let mut places = places.map(|p| p.to_string_lossy().into_owned());
        let Some(image) = places.find(|place| root.join(place).is_file()) else {
            self.listing.problems.push(unusable("there is no such file in the data folder or in images/".into()));
            return None;
        };
        let id = image_id(&name);
        if self.images.contains_key(&id) {
            let reason = "the same name, without ending, as another image; image names must be unique";
            self.listing.problems.push(unusable(reason.into()));
            return None;
        }
        let folders = inside.iter().filter_map(|part| part.to_str());
        let named = values.get("subset").map(String::as_str).into_iter().chain(folders);
        let subset = named.into_iter().find_map(folder::subset_of_folder);
        if subset.is_none() {
            self.without_subset.insert(id.clone());
        }
        self.listing.images.push(ImageEntry {
            timestamp: timestamp(&id),
            side: side_in_name(&id),
            side_in_name: side_in_name(&id),
            patient_id: patient_of(&inside, &id),
            subset: subset.unwrap_or_default(),
            image,
            annotation: Some(file.to_owned()),
            image_id: id.clone(),
        });
        self.images.insert(id.clone(), CvatImage::default());
        let number = |key: &str| values.get(key).and_then(|v| v.parse().ok()).unwrap_or(0);
        Some((id, CvatImage { size: (number("width"), number("height")), shapes: Vec::new() }))
    }

    fn finish(&mut self, id: String, image: CvatImage) {
        self.images.insert(id, image);
    }
}

/// The attributes of an element. Entities other than the predefined ones are an error, so that none is expanded.
fn attributes(element: &BytesStart) -> Result<HashMap<String, String>, String> {
    let mut values = HashMap::new();
    for attribute in element.attributes() {
        let attribute = attribute.map_err(|e| e.to_string())?;
        let key = String::from_utf8_lossy(attribute.key.as_ref()).into_owned();
        let value = attribute.normalized_value(XmlVersion::Implicit1_0).map_err(|e| e.to_string())?;
        values.insert(key, value.into_owned());
    }
    Ok(values)
}

impl Source for Cvat {
    fn root(&self) -> &Path {
        &self.root
    }

    fn annotation(&self, entry: &ImageEntry, file: &str) -> Result<SourceAnnotation, AnnotationError> {
        let image = &self.images[&entry.image_id];
        let mut shapes = ShapeList::new(file, &entry.image_id);
        shapes.check_size(&self.root.join(&entry.image), image.size);
        let mut content = format!("{:?}", image.size);
        for (n, shape) in image.shapes.iter().enumerate() {
            let mut values: Vec<(&String, &String)> = shape.values.iter().collect();
            values.sort();
            content += &format!("\n{} {values:?}", shape.kind);
            let place = format!("{} {n} of {}", shape.kind, entry.image_id);
            let index = shapes.next_index().max(n);
            match shape.outline(image.size) {
                Ok(Outline::Points(points)) => {
                    shapes.add(index, shape.label.as_str().into(), ShapeOutline::Numbers(points));
                }
                Ok(Outline::Mask(mask)) => shapes.add_mask(index, &shape.label, &mask),
                Err(reason) => shapes.problem(ProblemSeverity::Error, place, reason, "shape left out"),
            }
        }
        let (annotation, problems) = shapes.finish();
        Ok(SourceAnnotation { annotation, sha256: sha256(content.as_bytes()), problems })
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

enum Outline {
    Points(Vec<[f64; 2]>),
    Mask(RunMask),
}

impl CvatShape {
    fn value(&self, key: &str) -> Result<&str, String> {
        self.values.get(key).map(String::as_str).ok_or_else(|| format!("no `{key}`"))
    }

    fn number(&self, key: &str) -> Result<f64, String> {
        let text = self.value(key)?;
        text.trim().parse().map_err(|_| format!("`{key}` is {text:?}; expected a number"))
    }

    fn whole(&self, key: &str) -> Result<u32, String> {
        let text = self.value(key)?;
        text.trim().parse().map_err(|_| format!("`{key}` is {text:?}; expected a whole number of pixels"))
    }

    fn outline(&self, size: (u32, u32)) -> Result<Outline, String> {
        match &*self.kind {
            // Outlines with fewer than three points, which CVAT's polygons do not have, are written as points.
            "polygon" | "points" => {
                let points: Vec<[f64; 2]> = self.value("points")?.split(';').map(point).collect::<Result<_, _>>()?;
                if self.kind == "points" && points.len() > 2 {
                    return Err("points are not an outline; expected a polygon, a box or a mask".into());
                }
                Ok(Outline::Points(points))
            }
            "box" => {
                let [x0, y0] = [self.number("xtl")?, self.number("ytl")?];
                let [x1, y1] = [self.number("xbr")?, self.number("ybr")?];
                Ok(Outline::Points(vec![[x0, y0], [x1, y0], [x1, y1], [x0, y1]]))
            }
            "mask" => self.mask(size).map(Outline::Mask),
            other => Err(format!("a shape of type {other} is not an outline; expected a polygon, a box or a mask")),
        }
    }

    /// The mask of run lengths, row by row in a box, beginning with unset pixels.
    fn mask(&self, (width, height): (u32, u32)) -> Result<RunMask, String> {
        let [left, top] = [self.whole("left")?, self.whole("top")?];
        let [own_width, own_height] = [self.whole("width")?, self.whole("height")?];
        let fits = |from: u32, length: u32, all: u32| u64::from(from) + u64::from(length) <= u64::from(all);
        let limit = super::image::MAX_SIDE;
        if !fits(left, own_width, width) || !fits(top, own_height, height) || width > limit || height > limit {
            return Err(format!(
                "the mask of {own_width}x{own_height} pixels at {left},{top} does not fit the image of {width}x{height}"
            ));
        }
        let pixels = u64::from(own_width) * u64::from(own_height);
        let mut runs = Vec::new();
        let mut at = 0u64;
        for (n, text) in self.value("rle")?.split(',').enumerate() {
            let length: u32 = text.trim().parse().map_err(|_| format!("run {} is {text:?}", n + 1))?;
            let end = at + u64::from(length);
            if end > pixels {
                return Err(format!("the runs have more than the {pixels} pixels of the mask"));
            }
            if n % 2 == 1 {
                push_rows(&mut runs, at, end, u64::from(own_width), |x, y| (top + y) * width + left + x);
            }
            at = end;
        }
        RunMask::from_runs(width, height, runs).map_err(|e| e.to_string())
    }
}

/// Adds the pixels `from..to` of a box with rows of `width` pixels; `place` is the index of a pixel in the image.
fn push_rows(runs: &mut Vec<PixelRun>, mut from: u64, to: u64, width: u64, place: impl Fn(u32, u32) -> u32) {
    while from < to {
        let end = to.min((from / width + 1) * width);
        runs.push(PixelRun { start: place((from % width) as u32, (from / width) as u32), len: (end - from) as u32 });
        from = end;
    }
}

fn point(text: &str) -> Result<[f64; 2], String> {
    let numbers = text.split_once(',').and_then(|(x, y)| Some([x.trim().parse().ok()?, y.trim().parse().ok()?]));
    numbers.ok_or_else(|| {
        let shown: String = text.chars().take(40).collect();
        format!("{shown:?} is not a point; expected x,y")
    })
}
