use std::fmt;

use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The components of a mask that a decision keeps: `"all"`, `"largest"`, or the n largest as a number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Components {
    /// All of them.
    #[default]
    All,
    /// So many of the largest; of equal ones, those whose first pixel comes earlier.
    Largest(u32),
}

impl Serialize for Components {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Components::All => serializer.serialize_str("all"),
            Components::Largest(1) => serializer.serialize_str("largest"),
            Components::Largest(n) => serializer.serialize_u32(*n),
        }
    }
}

impl<'de> Deserialize<'de> for Components {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Kept;
        impl Visitor<'_> for Kept {
            type Value = Components;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("\"all\", \"largest\", or a number of components, 1 or more")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Components, E> {
                match text {
                    "all" => Ok(Components::All),
                    "largest" => Ok(Components::Largest(1)),
                    _ => Err(E::invalid_value(serde::de::Unexpected::Str(text), &self)),
                }
            }

            fn visit_i64<E: serde::de::Error>(self, n: i64) -> Result<Components, E> {
                let wrong = || E::invalid_value(serde::de::Unexpected::Signed(n), &self);
                u32::try_from(n).ok().filter(|n| *n > 0).map(Components::Largest).ok_or_else(wrong)
            }

            fn visit_u64<E: serde::de::Error>(self, n: u64) -> Result<Components, E> {
                let wrong = || E::invalid_value(serde::de::Unexpected::Unsigned(n), &self);
                u32::try_from(n).ok().filter(|n| *n > 0).map(Components::Largest).ok_or_else(wrong)
            }
        }
        deserializer.deserialize_any(Kept)
    }
}

impl schemars::JsonSchema for Components {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Components".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "anyOf": [
            {"type": "string", "enum": ["all", "largest"]},
            {"type": "integer", "minimum": 1}
        ] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_are_read_and_written() {
        let read = |text: &str| serde_json::from_str::<Components>(text);
        for (text, expected) in
            [("\"all\"", Components::All), ("\"largest\"", Components::Largest(1)), ("3", Components::Largest(3))]
        {
            assert_eq!(read(text).unwrap(), expected);
            assert_eq!(serde_json::to_string(&expected).unwrap(), text);
        }
        for text in ["0", "-1", "\"most\"", "1.5"] {
            assert!(read(text).unwrap_err().to_string().contains("\"largest\", or a number"), "{text}");
        }
    }
}
