//! An annotation file with the points of its entries left as text. Nearly all of a file are its points, and as a tree of
//! values each of them would be an allocation.

use std::fmt;

use serde::de::value::SeqAccessDeserializer;
use serde::de::{Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

/// Key of the entries.
pub const ANNOTATIONS: &str = "annotations";
/// Key of an entry's vertices.
pub const POINTS: &str = "points";

/// The object at the top.
pub struct Document<'a> {
    /// All members in order; `annotations` is `null` here.
    pub members: Map<String, Value>,
    /// The elements of `annotations`; what is no array there is an error.
    pub entries: Option<Vec<Entry<'a>>>,
}

/// An element of `annotations`.
pub enum Entry<'a> {
    /// As it should be.
    Object {
        /// All members in order; `points` is `null` here.
        members: Map<String, Value>,
        /// The text of `points`, where the entry has it and it is not null.
        points: Option<&'a RawValue>,
    },
    /// Anything else.
    Other(Value),
}

impl<'de> Deserialize<'de> for Document<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(DocumentVisitor)
    }
}

struct DocumentVisitor;

impl<'de> Visitor<'de> for DocumentVisitor {
    type Value = Document<'de>;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Document<'de>, A::Error> {
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

impl<'de> Deserialize<'de> for Entry<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(EntryVisitor)
    }
}

struct EntryVisitor;

impl<'de> Visitor<'de> for EntryVisitor {
    type Value = Entry<'de>;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (mut members, mut points) = (Map::new(), None);
        while let Some(key) = map.next_key::<String>()? {
            let value = if key == POINTS {
                let text: &RawValue = map.next_value()?;
                points = (text.get() != "null").then_some(text);
                Value::Null
            } else {
                map.next_value()?
            };
            members.insert(key, value);
        }
        Ok(Entry::Object { members, points })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Self::Value, A::Error> {
        Value::deserialize(SeqAccessDeserializer::new(seq)).map(Entry::Other)
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(Entry::Other(Value::Null))
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Self::Value, E> {
        Ok(Entry::Other(value.into()))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Self::Value, E> {
        Ok(Entry::Other(value.into()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Self::Value, E> {
        Ok(Entry::Other(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Self::Value, E> {
        Ok(Entry::Other(value.into()))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Self::Value, E> {
        Ok(Entry::Other(value.into()))
    }
}
