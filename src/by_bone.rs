//! Numbers by the names of bones and groups of bones, as settings have them.

use std::collections::BTreeMap;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use crate::bones::{Bone, BoneGroup};

/// A number for every bone, as a table by the names of bones and groups:
/// `{ Pisiform = 0.4, carpal = 0.45, default = 0.5 }`. The number of a bone's own name is used before that of its group
/// (the keys of [`BoneGroup::key`]), and that before `default`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(transparent)]
pub struct ByBone(BTreeMap<String, f64>);

/// The key for the bones that neither their own name nor their group names.
const DEFAULT: &str = "default";

impl ByBone {
    /// A table with the number of each bone, in the order of the classes.
    ///
    /// # Panics
    /// If there are not 29 numbers.
    pub fn each(numbers: &[f64]) -> ByBone {
        assert_eq!(numbers.len(), Bone::all().len(), "one number per bone");
        ByBone(Bone::all().map(|bone| (bone.name().to_owned(), numbers[bone.index()])).collect())
    }

    /// The number of a bone.
    pub fn of(&self, bone: Bone) -> f64 {
        self.find(bone).expect("a number for every bone, which reading the table has checked")
    }

    /// The keys with their numbers.
    pub fn entries(&self) -> impl Iterator<Item = (&str, f64)> {
        self.0.iter().map(|(name, number)| (name.as_str(), *number))
    }

    fn find(&self, bone: Bone) -> Option<f64> {
        value_of(&self.0, bone).copied()
    }
}

/// The value for a bone in a table by the names of bones and groups: that of its own name, else of its group, else
/// `default`.
pub fn value_of<T>(table: &BTreeMap<String, T>, bone: Bone) -> Option<&T> {
    table.get(bone.name()).or_else(|| table.get(bone.group().key())).or_else(|| table.get(DEFAULT))
}

/// Checks the name of a key in a table by bone and group.
///
/// # Errors
/// It is neither a bone, nor a group, nor `default`.
pub fn check_bone_key(name: &str) -> Result<(), String> {
    let groups = BoneGroup::ALL.map(BoneGroup::key);
    if name == DEFAULT || groups.contains(&name) || Bone::from_name(name).is_some() {
        return Ok(());
    }
    let meant = Bone::nearest(name).map(|bone| format!("; did you mean {bone}?"));
    Err(format!(
        "unknown bone or group {name:?}{} Expected a name of `carpus list bones`, one of {}, or default",
        meant.unwrap_or_else(|| ".".into()),
        groups.join(", ")
    ))
}

impl<'de> Deserialize<'de> for ByBone {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<ByBone, D::Error> {
        let given = BTreeMap::<String, f64>::deserialize(deserializer)?;
        let mut numbers = BTreeMap::new();
        for (name, number) in given {
            // `index finger`, as lists and messages write it, is `index-finger`.
            let name = BoneGroup::from_key(&name).map_or(name, |group| group.key().to_owned());
            check_bone_key(&name).map_err(D::Error::custom)?;
            numbers.insert(name, number);
        }
        let table = ByBone(numbers);
        match Bone::all().find(|bone| table.find(*bone).is_none()) {
            Some(bone) => Err(D::Error::custom(format!(
                "{bone} has no value; expected one for it, for {} or for default",
                bone.group().key()
            ))),
            None => Ok(table),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<ByBone, String> {
        serde_json::from_str(text).map_err(|e| e.to_string())
    }

    #[test]
    fn the_nearest_name_decides() {
        let table = read(r#"{"Capitate": 0.4, "carpal": 0.45, "little finger": 0.3, "default": 0.5}"#).unwrap();
        let of = |name: &str| table.of(Bone::from_name(name).unwrap());
        assert_eq!([of("Capitate"), of("Hamate"), of("finger-16"), of("Ulna")], [0.4, 0.45, 0.3, 0.5]);
        assert_eq!(read(&serde_json::to_string(&table).unwrap()).unwrap(), table);
    }

    #[test]
    fn unknown_names_and_bones_without_a_number_are_refused() {
        let error = read(r#"{"Pissiform": 0.4, "default": 0.5}"#).unwrap_err();
        assert!(error.contains("\"Pissiform\"; did you mean Pisiform?") && error.contains("index-finger"), "{error}");
        let error = read(r#"{"carpal": 0.4}"#).unwrap_err();
        assert!(error.contains("finger-1 has no value") && error.contains("for thumb or"), "{error}");
    }
}
