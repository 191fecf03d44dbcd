use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use tch::{Device, Kind, Tensor};

use super::LossError;
use crate::bones::{self, Bone};
use crate::models::MOST_PAIRS;
use crate::violation::Violations;
use crate::wording::counted;

/// A number per class: one for all classes, `2.0`; a list with one per class, `[1.0, 2.0, …]`; or by the names of bones
/// and groups of bones, `{ Pisiform = 3.0, carpal = 2.0, default = 1.0 }`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum PerClass {
    /// The same for all classes.
    All(f64),
    /// One number per class, in channel order.
    Each(Vec<f64>),
    /// By the names of bones and groups (`thumb`, `index finger`, `middle finger`, `ring finger`, `little finger`,
    /// `carpal`, `forearm`). A bone has the value of its own name, else that of its group, else that of `default`.
    Named(BTreeMap<String, f64>),
}

/// The key for the bones that are not named.
const DEFAULT: &str = "default";

impl PerClass {
    /// The value of each class; `option` is the option's name in the error. Where there are channels of pairs of bones
    /// after the 29 bones, each has the mean over the bones.
    ///
    /// # Errors
    /// [`LossError::Classes`]: another number of values than of classes.
    pub fn values(&self, option: &'static str, classes: i64) -> Result<Vec<f64>, LossError> {
        let values = match self {
            PerClass::All(value) => vec![*value; classes as usize],
            PerClass::Each(values) => values.clone(),
            PerClass::Named(values) => {
                // Deserialisation checks that every bone has a value; a mix built in code may name fewer.
                Bone::all().filter_map(|bone| named(values, bone)).collect()
            }
        };
        let pairs = classes - bones::COUNT as i64;
        if values.len() as i64 == classes {
            Ok(values)
        } else if values.len() == bones::COUNT && (1..=MOST_PAIRS as i64).contains(&pairs) {
            let mean = values.iter().sum::<f64>() / values.len() as f64;
            Ok([values, vec![mean; pairs as usize]].concat())
        } else {
            Err(LossError::Classes { option, has: values.len(), classes })
        }
    }

    /// The value of each class as a tensor `[classes]`.
    ///
    /// # Errors
    /// As [`PerClass::values`]; [`LossError::Torch`].
    pub fn tensor(&self, option: &'static str, classes: i64, device: Device) -> Result<Tensor, LossError> {
        Ok(Tensor::f_from_slice(&self.values(option, classes)?)?.f_to_kind(Kind::Float)?.f_to_device(device)?)
    }

    /// Whether the value of every class is 0.
    pub(super) fn is_zero(&self) -> bool {
        match self {
            PerClass::All(value) => *value == 0.0,
            PerClass::Each(values) => !values.is_empty() && values.iter().all(|value| *value == 0.0),
            PerClass::Named(values) => !values.is_empty() && values.values().all(|value| *value == 0.0),
        }
    }

    /// The invalid values of the option `option`. If `classes` is known, the number of values is checked too.
    pub fn violations(&self, option: &'static str, classes: Option<i64>) -> Violations {
        let mut wrong = Violations::new();
        let given: Vec<f64> = match self {
            PerClass::All(value) => vec![*value],
            PerClass::Each(values) => values.clone(),
            PerClass::Named(values) => values.values().copied().collect(),
        };
        if let Some(value) = given.iter().find(|value| !(value.is_finite() && **value >= 0.0)) {
            wrong.refuse(option, value, "0 or more");
        }
        let classes = classes.filter(|_| !matches!(self, PerClass::All(_)));
        if let Some(Err(LossError::Classes { has, classes, .. })) = classes.map(|n| self.values(option, n)) {
            wrong.refuse(option, counted(has, "value", "values"), format!("{classes}, one per class"));
        }
        wrong
    }
}

/// The value of a bone in a table of names.
fn named(values: &BTreeMap<String, f64>, bone: Bone) -> Option<f64> {
    let own = values.get(bone.name());
    own.or_else(|| values.get(&bone.group().to_string())).or_else(|| values.get(DEFAULT)).copied()
}

impl<'de> Deserialize<'de> for PerClass {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Numbers;
        impl<'de> Visitor<'de> for Numbers {
            type Value = PerClass;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str(
                    "a number, a list with one number per class, or a table like { Pisiform = 2.0, default = 1.0 }",
                )
            }

            fn visit_f64<E>(self, value: f64) -> Result<PerClass, E> {
                Ok(PerClass::All(value))
            }

            fn visit_i64<E>(self, value: i64) -> Result<PerClass, E> {
                Ok(PerClass::All(value as f64))
            }

            fn visit_u64<E>(self, value: u64) -> Result<PerClass, E> {
                Ok(PerClass::All(value as f64))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<PerClass, A::Error> {
                let mut values = Vec::new();
                while let Some(value) = list.next_element()? {
                    values.push(value);
                }
                Ok(PerClass::Each(values))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<PerClass, A::Error> {
                let mut values = BTreeMap::new();
                while let Some((name, value)) = map.next_entry::<String, f64>()? {
                    let is_known = |bone: Bone| bone.name() == name || bone.group().to_string() == name;
                    if name != DEFAULT && !Bone::all().any(is_known) {
                        return Err(A::Error::custom(format!(
                            "unknown bone {name:?}; expected a bone or a group of `carpus list bones`, or `default`"
                        )));
                    }
                    values.insert(name, value);
                }
                match Bone::all().find(|bone| named(&values, *bone).is_none()) {
                    Some(bone) => Err(A::Error::custom(format!(
                        "{} has no value; expected one, or a value for `default`",
                        bone.name()
                    ))),
                    None => Ok(PerClass::Named(values)),
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
    fn numbers_by_class_are_read_and_written() {
        let read = |text: &str| serde_json::from_str::<PerClass>(text);
        assert_eq!(read("2").unwrap(), PerClass::All(2.0));
        assert_eq!(read("[1, 0.5]").unwrap(), PerClass::Each(vec![1.0, 0.5]));
        let named = read(r#"{"Pisiform": 0.3, "default": 0.5}"#).unwrap();
        let values = named.values("alpha", 29).unwrap();
        assert_eq!(values.iter().filter(|v| **v == 0.5).count(), 28);
        assert_eq!(values[Bone::from_name("Pisiform").unwrap().index()], 0.3);
        assert_eq!(read(&serde_json::to_string(&named).unwrap()).unwrap(), named);
        assert!(matches!(named.values("alpha", 5), Err(LossError::Classes { has: 29, classes: 5, .. })));
        // A bone's own value comes before that of its group.
        let groups = read(r#"{"Pisiform": 4, "carpal": 3, "index finger": 2, "default": 1}"#).unwrap();
        let values = groups.values("alpha", 29).unwrap();
        let of = |name: &str| values[Bone::from_name(name).unwrap().index()];
        assert_eq!(["Pisiform", "Lunate", "finger-4", "finger-8", "Ulna"].map(of), [4.0, 3.0, 2.0, 1.0, 1.0]);
    }

    #[test]
    fn errors_name_the_mistake() {
        for (text, says) in [
            (r#"{"Pissiform": 1, "default": 1}"#, "unknown bone \"Pissiform\""),
            (r#"{"Pisiform": 1}"#, "finger-1 has no value"),
            (r#""much""#, "a number, a list"),
        ] {
            let error = serde_json::from_str::<PerClass>(text).unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
        let wrong = PerClass::Each(vec![1.0, -1.0]).violations("alpha", Some(29)).to_string();
        assert!(wrong.contains("alpha is -1") && wrong.contains("alpha is 2 values; expected 29"), "{wrong}");
    }
}
