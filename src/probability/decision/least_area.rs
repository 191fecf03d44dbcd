use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::PerBone;

/// The area below which a decision removes a component: `"auto"`, a number for all bones, or a table by bone or group.
#[derive(Clone, Debug, PartialEq)]
pub enum LeastArea {
    /// From the masks of the training images.
    Auto,
    /// In px at the image's original size.
    Each(PerBone),
}

impl Serialize for LeastArea {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            LeastArea::Auto => serializer.serialize_str("auto"),
            LeastArea::Each(areas) => areas.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for LeastArea {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<LeastArea, D::Error> {
        struct Areas;
        impl<'de> Visitor<'de> for Areas {
            type Value = LeastArea;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("\"auto\", a number, or a table by bone or group like { Pisiform = 900, default = 0 }")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<LeastArea, E> {
                if text == "auto" { Ok(LeastArea::Auto) } else { Err(E::invalid_value(Unexpected::Str(text), &self)) }
            }

            fn visit_f64<E>(self, number: f64) -> Result<LeastArea, E> {
                Ok(LeastArea::Each(PerBone::All(number)))
            }

            fn visit_i64<E>(self, number: i64) -> Result<LeastArea, E> {
                Ok(LeastArea::Each(PerBone::All(number as f64)))
            }

            fn visit_u64<E>(self, number: u64) -> Result<LeastArea, E> {
                Ok(LeastArea::Each(PerBone::All(number as f64)))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<LeastArea, A::Error> {
                PerBone::deserialize(MapAccessDeserializer::new(map)).map(LeastArea::Each)
            }
        }
        deserializer.deserialize_any(Areas)
    }
}

impl schemars::JsonSchema for LeastArea {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "LeastArea".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "anyOf": [
            {"type": "string", "enum": ["auto"]},
            generator.subschema_for::<PerBone>()
        ] })
    }
}
