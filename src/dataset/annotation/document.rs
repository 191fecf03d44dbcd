//! The complete content of an annotation file, for writing a copy.

use std::collections::HashMap;
use std::path::Path;

use serde_json::{Map, Value, json};

use super::{Annotation, AnnotationError, Shape, parse, shape};

/// The JSON of an annotation file with all its keys; empty if the annotation does not come from such a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Document(Value);

impl Default for Document {
    fn default() -> Document {
        Document(Value::Object(Map::new()))
    }
}

impl Document {
    /// Parses a file's bytes.
    ///
    /// # Errors
    /// The text is not UTF-8 or not JSON, or has no array `annotations`.
    pub fn parse(bytes: &[u8], path: &Path) -> Result<Document, AnnotationError> {
        let document: Value = parse::json(parse::text(bytes, path)?, path)?;
        if !document.get("annotations").is_some_and(Value::is_array) {
            return Err(AnnotationError::NoAnnotations { path: path.into() });
        }
        Ok(Document(document))
    }

    /// The document with the labels and points of `annotation`, which was read from it; other keys do not change. If
    /// its `metadata` has `width` and `height`, they are set to the given size.
    ///
    /// A usable entry that is no longer among the shapes is left out; unusable entries do not change. Shapes with an
    /// index past the end are appended.
    pub fn with(mut self, annotation: &Annotation, (width, height): (u32, u32)) -> Value {
        let entries = match self.0.get_mut("annotations").map(Value::take) {
            Some(Value::Array(entries)) => entries,
            _ => Vec::new(),
        };
        let count = entries.len();
        let mut written = Vec::with_capacity(count);
        let mut by_index: HashMap<usize, Vec<&Shape>> = HashMap::new();
        annotation.shapes.iter().for_each(|shape| by_index.entry(shape.index).or_default().push(shape));
        for (index, mut entry) in entries.into_iter().enumerate() {
            if let Some(shapes) = by_index.remove(&index) {
                entry["points"] = Value::Null;
                written.extend(shapes.into_iter().map(|shape| with_shape(entry.clone(), shape)));
            } else if !annotation.used.contains(&index) {
                written.push(entry);
            }
        }
        for shape in annotation.shapes.iter().filter(|s| s.index >= count) {
            written.push(with_shape(json!({"type": shape::TYPE, "attributes": {}}), shape));
        }
        self.0["annotations"] = Value::Array(written);
        for (key, size) in [("width", width), ("height", height)] {
            if let Some(stated) = self.0.get_mut("metadata").and_then(|m| m.get_mut(key)) {
                *stated = json!(size);
            }
        }
        self.0
    }
}

fn with_shape(mut entry: Value, shape: &Shape) -> Value {
    entry["points"] = json!(shape.points);
    entry["label"] = json!(shape.label);
    entry
}
