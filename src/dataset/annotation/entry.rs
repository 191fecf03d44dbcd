//! The parts of an annotation file before interpretation. A file consists almost entirely of points, so points in the
//! usual form are read directly into vertices; anything else in their place is kept as a value, for error messages.

use std::fmt;

use serde::Deserialize;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

/// Largest absolute value of a coordinate.
pub const MAX_COORDINATE: f64 = 1e6;

/// Maximum number of shapes: a hand has 29 bones.
pub const MAX_SHAPES: usize = 100_000;

/// A whole file. If a key occurs more than once, the last value is used, as in Python's `json`.
#[derive(Debug, Default, PartialEq)]
pub struct File {
    pub filename: Option<Value>,
    /// `None` without an array of this name.
    pub annotations: Option<Vec<AnnotationEntry>>,
    pub repeated: Repeated,
}

/// Keys that occur more than once.
pub type Repeated = Vec<&'static str>;

/// A member of `annotations`.
#[derive(Debug, PartialEq)]
pub enum AnnotationEntry {
    Object { kind: Option<Value>, label: Option<Value>, points: Option<Points>, repeated: Repeated },
    Other(Value),
}

/// A value of `points`.
#[derive(Clone, Debug, PartialEq)]
pub enum Points {
    /// `[[x, y], …]` of whole numbers no larger than [`MAX_COORDINATE`], at least one.
    Whole(Vec<[i32; 2]>),
    Other(Value),
}

impl Points {
    /// The same points as a value, which is checked when it is read.
    pub fn into_value(self) -> Points {
        Points::Other(self.into())
    }

    /// Points of numbers: vertices if all are whole, else a value with all of them. JSON has no NaN, which becomes null.
    pub fn of_numbers(points: Vec<[f64; 2]>) -> Points {
        let is_whole = |v: &f64| v.fract() == 0.0 && v.abs() <= MAX_COORDINATE;
        if !points.is_empty() && points.iter().flatten().all(is_whole) {
            return Points::Whole(points.into_iter().map(|p| p.map(|v| v as i32)).collect());
        }
        Points::Other(points.into_iter().map(|p| Value::from(p.to_vec())).collect())
    }
}

impl From<Points> for Value {
    fn from(points: Points) -> Value {
        match points {
            Points::Whole(points) => points.into_iter().map(|p| Value::from(p.to_vec())).collect(),
            Points::Other(value) => value,
        }
    }
}

/// A value that either has the expected type or is kept as JSON.
enum Parsed<T> {
    Expected(T),
    Other(Value),
}

/// Implements `Visitor` for all kinds of values except those that the body visits itself: they become `$other`.
macro_rules! visit_others {
    ($other:expr, map) => {
        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
            Value::deserialize(MapAccessDeserializer::new(map)).map($other)
        }
        visit_others!($other, scalars);
    };
    ($other:expr, seq) => {
        fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Self::Value, A::Error> {
            Value::deserialize(SeqAccessDeserializer::new(seq)).map($other)
        }
        visit_others!($other, scalars);
    };
    ($other:expr, scalars) => {
        fn visit_i64<E>(self, v: i64) -> Result<Self::Value, E> {
            Ok($other(v.into()))
        }
        fn visit_u64<E>(self, v: u64) -> Result<Self::Value, E> {
            Ok($other(v.into()))
        }
        visit_others!($other, text);
    };
    ($other:expr, text) => {
        fn visit_bool<E>(self, v: bool) -> Result<Self::Value, E> {
            Ok($other(v.into()))
        }
        fn visit_f64<E>(self, v: f64) -> Result<Self::Value, E> {
            Ok($other(v.into()))
        }
        fn visit_str<E>(self, v: &str) -> Result<Self::Value, E> {
            Ok($other(v.into()))
        }
        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok($other(Value::Null))
        }
        fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
            f.write_str("a value")
        }
    };
}

macro_rules! deserialize_by {
    ($visitor:ident, $type:ty) => {
        struct $visitor;
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any($visitor)
            }
        }
    };
}

/// The keys found in an object.
#[derive(Default)]
struct Keys {
    seen: Repeated,
    repeated: Repeated,
}

impl Keys {
    fn add(&mut self, key: &'static str) {
        let list = if self.seen.contains(&key) { &mut self.repeated } else { &mut self.seen };
        if !list.contains(&key) {
            list.push(key);
        }
    }
}

deserialize_by!(FileVisitor, File);
deserialize_by!(EntryVisitor, AnnotationEntry);
deserialize_by!(EntriesVisitor, Parsed<Vec<AnnotationEntry>>);
deserialize_by!(PointsVisitor, Points);
deserialize_by!(PointVisitor, Parsed<[i32; 2]>);
deserialize_by!(CoordinateVisitor, Parsed<i32>);

impl<'de> Visitor<'de> for FileVisitor {
    type Value = File;

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<File, A::Error> {
        let mut file = File::default();
        let mut keys = Keys::default();
        while let Some(key) = map.next_key::<std::borrow::Cow<str>>()? {
            match &*key {
                "filename" => {
                    keys.add("filename");
                    file.filename = Some(map.next_value()?);
                }
                "annotations" => {
                    keys.add("annotations");
                    file.annotations = match map.next_value()? {
                        Parsed::Expected(entries) => Some(entries),
                        Parsed::Other(_) => None,
                    }
                }
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        file.repeated = keys.repeated;
        Ok(file)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<File, A::Error> {
        IgnoredAny.visit_seq(seq).map(|_| File::default())
    }
    visit_others!(|_: Value| File::default(), scalars);
}

impl<'de> Visitor<'de> for EntriesVisitor {
    type Value = Parsed<Vec<AnnotationEntry>>;

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = seq.next_element()? {
            if entries.len() == MAX_SHAPES {
                let reason = format!("more than {MAX_SHAPES} shapes; expected about 29, one per bone");
                return Err(Error::custom(reason));
            }
            entries.push(entry);
        }
        Ok(Parsed::Expected(entries))
    }
    visit_others!(Parsed::Other, map);
}

impl<'de> Visitor<'de> for EntryVisitor {
    type Value = AnnotationEntry;

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<AnnotationEntry, A::Error> {
        let (mut kind, mut label, mut points) = (None, None, None);
        let mut keys = Keys::default();
        while let Some(key) = map.next_key::<std::borrow::Cow<str>>()? {
            match &*key {
                "type" => {
                    keys.add("type");
                    kind = Some(map.next_value()?);
                }
                "label" => {
                    keys.add("label");
                    label = Some(map.next_value()?);
                }
                "points" => {
                    keys.add("points");
                    points = Some(map.next_value()?);
                }
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(AnnotationEntry::Object { kind, label, points, repeated: keys.repeated })
    }
    visit_others!(AnnotationEntry::Other, seq);
}

impl<'de> Visitor<'de> for PointsVisitor {
    type Value = Points;

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Points, A::Error> {
        // Enough for a dense contour.
        let mut whole: Vec<[i32; 2]> = Vec::with_capacity(1024);
        while let Some(point) = seq.next_element()? {
            match point {
                Parsed::Expected(point) => whole.push(point),
                Parsed::Other(value) => {
                    let Value::Array(mut all) = Value::from(Points::Whole(whole)) else { unreachable!("an array") };
                    all.push(value);
                    while let Some(value) = seq.next_element()? {
                        all.push(value);
                    }
                    return Ok(Points::Other(all.into()));
                }
            }
        }
        // Otherwise a file of many small shapes would take hundreds of times its size in memory.
        whole.shrink_to_fit();
        Ok(if whole.is_empty() { Points::Other(Value::Array(Vec::new())) } else { Points::Whole(whole) })
    }
    visit_others!(Points::Other, map);
}

impl<'de> Visitor<'de> for PointVisitor {
    type Value = Parsed<[i32; 2]>;

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let (mut point, mut found) = ([0; 2], 0);
        let mut all = loop {
            match seq.next_element()? {
                None if found == 2 => return Ok(Parsed::Expected(point)),
                None => break point[..found].iter().map(|v| Value::from(*v)).collect(),
                Some(Parsed::Expected(value)) if found < 2 => {
                    point[found] = value;
                    found += 1;
                }
                Some(other) => {
                    let mut all: Vec<Value> = point[..found].iter().map(|v| Value::from(*v)).collect();
                    all.push(match other {
                        Parsed::Expected(value) => value.into(),
                        Parsed::Other(value) => value,
                    });
                    break all;
                }
            }
        };
        while let Some(value) = seq.next_element()? {
            all.push(value);
        }
        Ok(Parsed::Other(all.into()))
    }
    visit_others!(Parsed::Other, map);
}

impl<'de> Visitor<'de> for CoordinateVisitor {
    type Value = Parsed<i32>;

    fn visit_i64<E: Error>(self, v: i64) -> Result<Self::Value, E> {
        Ok(if v.unsigned_abs() <= MAX_COORDINATE as u64 { Parsed::Expected(v as i32) } else { Parsed::Other(v.into()) })
    }
    fn visit_u64<E: Error>(self, v: u64) -> Result<Self::Value, E> {
        Ok(if v <= MAX_COORDINATE as u64 { Parsed::Expected(v as i32) } else { Parsed::Other(v.into()) })
    }
    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        Value::deserialize(MapAccessDeserializer::new(map)).map(Parsed::Other)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Self::Value, A::Error> {
        Value::deserialize(SeqAccessDeserializer::new(seq)).map(Parsed::Other)
    }
    visit_others!(Parsed::Other, text);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn points(text: &str) -> Points {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn whole_numbers_are_vertices_and_anything_else_is_kept() {
        assert_eq!(points("[[1,2], [ -3 ,\n4 ]]"), Points::Whole(vec![[1, 2], [-3, 4]]));
        assert_eq!(points("[[1000000,-1000000]]"), Points::Whole(vec![[1_000_000, -1_000_000]]));
        for other in [
            "[]",
            "[[]]",
            "[[1]]",
            "[[1,2,3]]",
            "[[1,2],[3,4,[5]],[6,7]]",
            "[[1.0,2]]",
            "[[1,2e1]]",
            "[[0,1000001]]",
            "[[1,2],{\"x\":1},[3,4]]",
            "[1,2]",
            "{}",
            "3",
            "null",
            "\"a\"",
        ] {
            assert_eq!(points(other), Points::Other(serde_json::from_str(other).unwrap()), "{other}");
        }
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            (-2_000_000i64..2_000_000).prop_map(Value::from),
            (-9.0f64..9.0).prop_map(Value::from),
            "[a-z\"\\\\]{0,3}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 4, |inner| {
            let key = prop::sample::select(vec!["points", "label", "type", "annotations", "filename", "x"]);
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::vec([-9..=3000i32, -9..=3000i32], 0..4)
                    .prop_map(|points| points.into_iter().map(|p| Value::from(p.to_vec())).collect()),
                prop::collection::vec((key, inner), 0..4)
                    .prop_map(|members| members.into_iter().map(|(k, v)| (k.to_owned(), v)).collect()),
            ]
        })
    }

    proptest! {
        /// Each part has the value that a general JSON parser reads.
        #[test]
        fn values_equal_those_of_a_general_parser(whole in value()) {
            let text = whole.to_string();
            let (file, whole): (File, Value) = (serde_json::from_str(&text).unwrap(), serde_json::from_str(&text).unwrap());
            prop_assert_eq!(&file.filename, &whole.get("filename").cloned());
            let entries = whole.get("annotations").and_then(Value::as_array);
            prop_assert_eq!(file.annotations.as_ref().map(Vec::len), entries.map(Vec::len));
            for (found, expected) in file.annotations.into_iter().flatten().zip(entries.into_iter().flatten()) {
                match found {
                    AnnotationEntry::Other(value) => prop_assert_eq!(&value, expected),
                    AnnotationEntry::Object { kind, label, points, repeated } => {
                        prop_assert!(repeated.is_empty());
                        prop_assert_eq!(kind.as_ref(), expected.get("type"));
                        prop_assert_eq!(label.as_ref(), expected.get("label"));
                        prop_assert_eq!(points.map(Value::from), expected.get("points").cloned());
                    }
                }
            }
        }
    }
}
