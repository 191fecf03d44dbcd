//! A JSON object of which one member stays text. Nearly all of an annotation file are its points, and as a tree of
//! values each of them would be an allocation.

use std::fmt;

use serde::de::{DeserializeSeed, MapAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

/// An object with the text of one of its members beside it.
pub struct Split<'a> {
    /// All members in order; the one that is held is `null` here.
    pub members: Map<String, Value>,
    /// The text of the member, where the object has it and it is not null.
    pub held: Option<&'a RawValue>,
}

impl<'a> Split<'a> {
    /// Reads the object in `text`, which is an object and nothing else, and holds the member `key`.
    pub fn read(text: &'a str, key: &'static str) -> Result<Split<'a>, serde_json::Error> {
        let mut reader = serde_json::Deserializer::from_str(text);
        let split = Seed(key).deserialize(&mut reader)?;
        reader.end()?;
        Ok(split)
    }
}

struct Seed(&'static str);

impl<'de> DeserializeSeed<'de> for Seed {
    type Value = Split<'de>;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Split<'de>, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Seed {
    type Value = Split<'de>;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Split<'de>, A::Error> {
        let mut split = Split { members: Map::new(), held: None };
        while let Some(key) = map.next_key::<String>()? {
            let value = if key == self.0 {
                let text: &RawValue = map.next_value()?;
                split.held = (text.get() != "null").then_some(text);
                Value::Null
            } else {
                map.next_value()?
            };
            split.members.insert(key, value);
        }
        Ok(split)
    }
}

/// The elements of the array in `text`, each as its text.
pub fn elements(text: &RawValue) -> Option<Vec<&RawValue>> {
    serde_json::from_str(text.get()).ok()
}
