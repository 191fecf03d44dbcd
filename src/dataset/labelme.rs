//! LabelMe: a JSON file per image with `shapes`, in the folders that [`super::folder`] knows.
//!
//! Polygons, rectangles and masks are read; other shapes are problems. Vertices are rounded and outlines filled as all
//! outlines are. A mask is traced, so that filling the outline gives its pixels again.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;
use serde_json::Value;

use super::annotation::{AnnotationError, ShapeOutline};
use super::conversion::Conversion;
use super::shape_list::ShapeList;
use super::source::{DatasetError, Opened, Source, SourceAnnotation, SourceKind};
use super::{GreyImage, ImageEntry, ProblemSeverity, folder, image, image_id, sniff};
use crate::bounded;
use crate::digest::sha256;
use crate::mask::submission::Space;
use crate::mask::{PixelRun, RunMask};

/// The source of this module.
pub const KIND: SourceKind = SourceKind { name: "labelme", open };

/// Maximum bytes of a file, which may contain the image.
const MAX_FILE: u64 = 128 << 20;
/// Number of JSON files that are looked at to recognise the format.
const LOOKED_AT: usize = 4;

fn open(root: &Path) -> Option<Result<Opened, DatasetError>> {
    let is_labelme = |path: &PathBuf| {
        let arrays = sniff::json_arrays(path);
        let has = |key: &str| arrays.iter().any(|k| k == key);
        has("shapes") && !has("annotations") && !has("images")
    };
    sniff::some_json(root, LOOKED_AT).iter().any(is_labelme).then(|| read(root))
}

fn read(root: &Path) -> Result<Opened, DatasetError> {
    let mut listing = folder::discover(root)?;
    let conversion = Conversion::read(root, &mut listing.problems)?;
    conversion.apply(&mut listing);
    Ok((Box::new(LabelMe { root: root.into(), conversion }), listing))
}

struct LabelMe {
    root: PathBuf,
    conversion: Conversion,
}

/// A file. Other keys are ignored, among them the image itself.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LabelMeFile {
    shapes: Option<Vec<Value>>,
    image_path: Option<Value>,
    image_width: Option<Value>,
    image_height: Option<Value>,
}

impl Source for LabelMe {
    fn root(&self) -> &Path {
        &self.root
    }

    fn annotation(&self, entry: &ImageEntry, file: &str) -> Result<SourceAnnotation, AnnotationError> {
        let path = self.root.join(file);
        let io = |source| AnnotationError::Io { path: path.clone(), source };
        if !path.is_file() {
            return Err(io(std::io::Error::new(std::io::ErrorKind::InvalidInput, "not a file")));
        }
        let bytes = bounded::read(&path, MAX_FILE).map_err(io)?;
        let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
        let content: LabelMeFile = serde_json::from_slice(text).map_err(|error| AnnotationError::Json {
            path: path.clone(),
            line: error.line(),
            column: error.column(),
            reason: error.to_string(),
        })?;
        let no_shapes = || AnnotationError::NoShapes { path: path.clone() };
        let entries = content.shapes.ok_or_else(no_shapes)?;
        let mut shapes = ShapeList::new(file, &entry.image_id);
        if let Some(Value::String(name)) = &content.image_path
            && image_id(name) != entry.image_id
        {
            let reason = format!("`imagePath` names another image, {name:?}");
            shapes.problem(ProblemSeverity::Warning, "imagePath", reason, "the file's own name is used");
        }
        let side = |value: Option<Value>| value.and_then(|v| v.as_u64()).and_then(|v| u32::try_from(v).ok());
        let size = (side(content.image_width).unwrap_or(0), side(content.image_height).unwrap_or(0));
        shapes.check_size(&self.root.join(&entry.image), size);
        for (n, shape) in entries.into_iter().enumerate() {
            let index = shapes.next_index().max(n);
            let label = shape.get("label").cloned().unwrap_or_default();
            match outline(&shape, size) {
                Ok(Outline::Points(points)) => shapes.add(index, label, points),
                Ok(Outline::Mask(mask)) => shapes.add_mask(index, label.as_str().unwrap_or_default(), &mask),
                Err(reason) => {
                    shapes.problem(ProblemSeverity::Error, format!("shapes[{n}]"), reason, "shape left out");
                }
            }
        }
        let (annotation, problems) = shapes.finish();
        Ok(SourceAnnotation { annotation, sha256: sha256(&bytes), problems })
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
    Points(ShapeOutline),
    Mask(RunMask),
}

fn outline(shape: &Value, size: (u32, u32)) -> Result<Outline, String> {
    let kind = match shape.get("shape_type") {
        None | Some(Value::Null) => "polygon",
        Some(Value::String(kind)) => kind,
        Some(_) => return Err("`shape_type` is not text".into()),
    };
    let points = shape.get("points").cloned().unwrap_or_default();
    let numbers = points_of(&points);
    match (kind, numbers.as_deref()) {
        ("polygon", Some(points)) => Ok(Outline::Points(ShapeOutline::Numbers(points.to_vec()))),
        ("polygon", None) => Ok(Outline::Points(ShapeOutline::Other(points))),
        ("rectangle", Some([[x0, y0], [x1, y1]])) => {
            let corners = vec![[*x0, *y0], [*x1, *y0], [*x1, *y1], [*x0, *y1]];
            Ok(Outline::Points(ShapeOutline::Numbers(corners)))
        }
        ("rectangle", Some(points @ [_, _, _, _])) => Ok(Outline::Points(ShapeOutline::Numbers(points.to_vec()))),
        ("mask", Some([[x, y], ..])) => {
            let text = shape.get("mask").and_then(Value::as_str).ok_or("a mask without `mask`")?;
            mask(text, [*x, *y], size).map(Outline::Mask)
        }
        ("rectangle" | "mask", _) => Err(format!("a {kind} without its two corners")),
        (other, _) => {
            let shown: String = other.chars().take(40).collect();
            Err(format!("a shape of type {shown:?} is not an outline; expected polygon, rectangle or mask"))
        }
    }
}

fn points_of(value: &Value) -> Option<Vec<[f64; 2]>> {
    let number = |v: &Value| v.as_f64();
    let point = |v: &Value| match v.as_array()?.as_slice() {
        [x, y] => Some([number(x)?, number(y)?]),
        _ => None,
    };
    value.as_array()?.iter().map(point).collect()
}

/// The mask of a picture as base64, whose top left pixel is at `corner`.
fn mask(text: &str, corner: [f64; 2], (width, height): (u32, u32)) -> Result<RunMask, String> {
    let bytes = BASE64_STANDARD.decode(text.trim()).map_err(|e| format!("the mask is not base64: {e}"))?;
    let (picture, _) = image::decode(&bytes).map_err(|e| format!("the mask is not a picture: {e}"))?;
    let limit = image::MAX_SIDE;
    if width > limit || height > limit || width == 0 || height == 0 {
        return Err(format!("a mask needs the image's size, which is {width}x{height} in this file"));
    }
    let [left, top] = corner.map(|v| v.round().clamp(-f64::from(limit), f64::from(limit)) as i64);
    let runs = set_runs(&picture).filter_map(|(y, from, to)| {
        let y = u32::try_from(i64::from(y) + top).ok().filter(|y| *y < height)?;
        let inside = |x: u32| (i64::from(x) + left).clamp(0, width.into()) as u32;
        let (from, to) = (inside(from), inside(to));
        (from < to).then_some(PixelRun { start: y * width + from, len: to - from })
    });
    RunMask::from_runs(width, height, runs.collect()).map_err(|e| e.to_string())
}

/// The spans of pixels above 0, by row: y, first and one past the last column.
pub(super) fn set_runs(picture: &GreyImage) -> impl Iterator<Item = (u32, u32, u32)> {
    (0..picture.height()).flat_map(move |y| {
        let mut x = 0;
        std::iter::from_fn(move || {
            let set = |x: &u32| picture.level_at(*x, y) > 0;
            let from = (x..picture.width()).find(set)?;
            let to = (from..picture.width()).find(|x| !set(x)).unwrap_or(picture.width());
            x = to;
            Some((y, from, to))
        })
    })
}
