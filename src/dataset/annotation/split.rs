//! An annotation file with the points of its entries read apart. Nearly all of a file are its points, and as a tree of
//! values each of them would be an allocation.

use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use super::any::{Or, Usual};
use super::points::Points;

/// Key of the entries.
pub const ANNOTATIONS: &str = "annotations";
/// Key of an entry's vertices.
pub const POINTS: &str = "points";

/// The object at the top.
pub struct Document {
    /// All members in order; `annotations` is `null` here.
    pub members: Map<String, Value>,
    /// The elements of `annotations`; what is no array there is an error.
    pub entries: Option<Vec<Or<Entry>>>,
}

/// An element of `annotations`.
pub struct Entry {
    /// All members in order; `points` is `null` here where they are apart.
    pub members: Map<String, Value>,
    /// The vertices, where `points` has the usual form.
    pub points: Option<Vec<[i32; 2]>>,
}

impl<'de> Deserialize<'de> for Document {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(DocumentVisitor)
    }
}

struct DocumentVisitor;

impl<'de> Visitor<'de> for DocumentVisitor {
    type Value = Document;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Document, A::Error> {
        let mut document = Document { members: Map::new(), entries: None };
        while let Some(key) = map.next_key::<String>()? {
            let value = if key == ANNOTATIONS {
                document.entries = Some(map.next_value()?);
                Value::Null
            } else {
                map.next_value()?
            };
            document.members.insert(key, value);
        }
        Ok(document)
    }
}

impl<'de> Usual<'de> for Entry {
    fn from_object<A: MapAccess<'de>>(mut object: A) -> Result<Or<Self>, A::Error> {
        let mut entry = Entry { members: Map::new(), points: None };
        while let Some(key) = object.next_key::<String>()? {
            let value = if key == POINTS {
                let (points, value) = match object.next_value()? {
                    Or::Usual(Points(points)) => (Some(points), Value::Null),
                    Or::Other(value) => (None, value),
                };
                entry.points = points;
                value
            } else {
                object.next_value()?
            };
            entry.members.insert(key, value);
        }
        Ok(Or::Usual(entry))
    }
}
