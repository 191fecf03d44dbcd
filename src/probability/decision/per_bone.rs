use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::bones::Bone;
use crate::by_bone::ByBone;

/// A number for each bone: one for all, `0.5`, or a table by the names of bones and groups of bones,
/// `{ Pisiform = 0.4, carpal = 0.45, default = 0.5 }`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum PerBone {
    /// The same for all bones.
    All(f64),
    /// By name.
    Named(ByBone),
}

impl PerBone {
    /// The number of a bone.
    pub fn of(&self, bone: Bone) -> f64 {
        match self {
            PerBone::All(number) => *number,
            PerBone::Named(numbers) => numbers.of(bone),
        }
    }

    /// A table with the number of each bone, in the order of the classes.
    ///
    /// # Panics
    /// If there are not 29 numbers.
    pub fn each(numbers: &[f64]) -> PerBone {
        PerBone::Named(ByBone::each(numbers))
    }

    /// The keys with their numbers: `carpal` or, for a single number, the empty text.
    pub(super) fn given(&self) -> Vec<(&str, f64)> {
        match self {
            PerBone::All(number) => vec![("", *number)],
            PerBone::Named(numbers) => numbers.entries().collect(),
        }
    }
}

impl schemars::JsonSchema for PerBone {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "PerBone".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let table = serde_json::json!({"type": "object", "additionalProperties": {"type": "number"}});
        schemars::json_schema!({ "anyOf": [{"type": "number"}, table] })
    }
}

impl<'de> Deserialize<'de> for PerBone {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Numbers;
        impl<'de> Visitor<'de> for Numbers {
            type Value = PerBone;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str(
                    "a number, or a table by bone or group like { Pisiform = 0.4, carpal = 0.45, default = 0.5 }",
                )
            }

            fn visit_f64<E>(self, number: f64) -> Result<PerBone, E> {
                Ok(PerBone::All(number))
            }

            fn visit_i64<E>(self, number: i64) -> Result<PerBone, E> {
                Ok(PerBone::All(number as f64))
            }

            fn visit_u64<E>(self, number: u64) -> Result<PerBone, E> {
                Ok(PerBone::All(number as f64))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<PerBone, A::Error> {
                ByBone::deserialize(MapAccessDeserializer::new(map)).map(PerBone::Named)
            }
        }
        deserializer.deserialize_any(Numbers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_or_a_table() {
        let read = |text: &str| serde_json::from_str::<PerBone>(text).map_err(|e| e.to_string());
        assert_eq!(read("1").unwrap().of(Bone::ULNA), 1.0);
        let table = read(r#"{"carpal": 0.45, "default": 0.5}"#).unwrap();
        assert_eq!((table.of(Bone::CAPITATE), table.of(Bone::ULNA)), (0.45, 0.5));
        assert_eq!(read(&serde_json::to_string(&table).unwrap()).unwrap(), table);
        assert!(read("[1]").unwrap_err().contains("a table by bone or group"));
        assert!(read(r#"{"Pissiform": 0.4, "default": 0.5}"#).unwrap_err().contains("did you mean Pisiform?"));
    }
}
