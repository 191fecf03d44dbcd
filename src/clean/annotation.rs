//! The annotation of a crop.

use serde_json::{Value, json};

use super::CropBox;
use crate::dataset::annotation::Annotation;

/// The annotation in coordinates of the crop, in the form of the original; the size that `metadata` states is that of the crop.
pub fn in_crop(annotation: &Annotation, area: CropBox) -> Value {
    let mut shifted = annotation.clone();
    for shape in &mut shifted.shapes {
        for [x, y] in &mut shape.points {
            *x = moved(*x, area.x);
            *y = moved(*y, area.y);
        }
    }
    let mut document = shifted.to_json();
    for (key, size) in [("width", area.width), ("height", area.height)] {
        if let Some(stated) = document.get_mut("metadata").and_then(|m| m.get_mut(key)) {
            *stated = json!(size);
        }
    }
    document
}

fn moved(coordinate: i32, by: i64) -> i32 {
    (i64::from(coordinate) - by).clamp(i32::MIN.into(), i32::MAX.into()) as i32
}
