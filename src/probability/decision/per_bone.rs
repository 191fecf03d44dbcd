use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::bones::{Bone, BoneGroup};

/// A number for each bone: one for all, `0.5`, or a table by the names of bones and groups of bones,
/// `{ Pisiform = 0.4, carpal = 0.45, default = 0.5 }`. The number of a bone's own name is used before that of its group,
/// and that before `default`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum PerBone {
    /// The same for all bones.
    All(f64),
    /// By name; every bone has a number.
    Named(BTreeMap<String, f64>),
}

/// The key for the bones that neither their own name nor their group names.
const DEFAULT: &str = "default";

/// The name of a group as a key: `index-finger`.
fn key(group: BoneGroup) -> String {
    group.to_string().replace(' ', "-")
}

/// The groups that have bones, each once.
fn groups() -> Vec<String> {
    let mut groups: Vec<String> = Bone::all().map(|bone| key(bone.group())).collect();
    groups.dedup();
    groups
}

impl PerBone {
    /// The number of a bone.
    ///
    /// # Panics
    /// If a table that was built in code has no value for the bone.
    pub fn of(&self, bone: Bone) -> f64 {
        match self {
            PerBone::All(number) => *number,
            PerBone::Named(numbers) => value_of(numbers, bone)
                .copied()
                .unwrap_or_else(|| panic!("{bone} has no value, nor has its group or `default`")),
        }
    }

    /// A table with the number of each bone, in the order of the classes.
    ///
    /// # Panics
    /// If there are not 29 numbers.
    pub fn each(numbers: &[f64]) -> PerBone {
        assert_eq!(numbers.len(), Bone::all().len(), "one number per bone");
        PerBone::Named(Bone::all().map(|bone| (bone.name().to_owned(), numbers[bone.index()])).collect())
    }

    /// The keys with their numbers: `carpal` or, for a single number, the empty text.
    pub(super) fn given(&self) -> Vec<(&str, f64)> {
        match self {
            PerBone::All(number) => vec![("", *number)],
            PerBone::Named(numbers) => numbers.iter().map(|(name, number)| (name.as_str(), *number)).collect(),
        }
    }
}

/// The value for a bone in a table by the names of bones and groups: that of its own name, else of its group, else
/// `default`.
pub fn value_of<T>(table: &BTreeMap<String, T>, bone: Bone) -> Option<&T> {
    let by_name = |name: &str| table.get(name);
    by_name(bone.name()).or_else(|| by_name(&key(bone.group()))).or_else(|| by_name(DEFAULT))
}

/// Checks the name of a key in a table by bone and group.
///
/// # Errors
/// It is neither a bone, nor a group, nor `default`.
pub fn check_bone_key(name: &str) -> Result<(), String> {
    let groups = groups();
    if name == DEFAULT || groups.iter().any(|group| group == name) || Bone::from_name(name).is_some() {
        return Ok(());
    }
    let meant = Bone::nearest(name).map(|bone| format!("; did you mean {bone}?"));
    Err(format!(
        "unknown bone or group {name:?}{} Expected a name of `carpus list bones`, one of {}, or default",
        meant.unwrap_or_else(|| ".".into()),
        groups.join(", ")
    ))
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

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<PerBone, A::Error> {
                let mut numbers = BTreeMap::new();
                while let Some((name, number)) = map.next_entry::<String, f64>()? {
                    check_bone_key(&name).map_err(A::Error::custom)?;
                    numbers.insert(name, number);
                }
                match Bone::all().find(|bone| value_of(&numbers, *bone).is_none()) {
                    Some(bone) => Err(A::Error::custom(format!(
                        "{bone} has no value; expected one for it, for {} or for default",
                        key(bone.group())
                    ))),
                    None => Ok(PerBone::Named(numbers)),
                }
            }
        }
        deserializer.deserialize_any(Numbers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_decides() {
        let read = |text: &str| serde_json::from_str::<PerBone>(text).map_err(|e| e.to_string());
        assert_eq!(read("1").unwrap().of(Bone::ULNA), 1.0);
        let table = read(r#"{"Capitate": 0.4, "carpal": 0.45, "little-finger": 0.3, "default": 0.5}"#).unwrap();
        let of = |name: &str| table.of(Bone::from_name(name).unwrap());
        assert_eq!([of("Capitate"), of("Hamate"), of("finger-16"), of("Ulna")], [0.4, 0.45, 0.3, 0.5]);
        assert_eq!(read(&serde_json::to_string(&table).unwrap()).unwrap(), table);
        let error = read(r#"{"Pissiform": 0.4, "default": 0.5}"#).unwrap_err();
        assert!(error.contains("\"Pissiform\"; did you mean Pisiform?") && error.contains("forearm"), "{error}");
        let error = read(r#"{"carpal": 0.4}"#).unwrap_err();
        assert!(error.contains("finger-1 has no value") && error.contains("for thumb or"), "{error}");
        assert!(read("[1]").unwrap_err().contains("a table by bone or group"));
    }
}
