//! The points of a polygon as nearly every file holds them: `[[x, y], …]` of whole numbers.

use serde::de::SeqAccess;
use serde_json::Value;

use super::any::{Or, Usual};

/// Largest coordinate either way.
pub const MAX_COORDINATE: u32 = 1_000_000;

/// A whole number of pixels, at most [`MAX_COORDINATE`] either way.
struct Coordinate(i32);

impl Usual<'_> for Coordinate {
    fn from_integer(number: i64) -> Or<Self> {
        match i32::try_from(number) {
            Ok(pixels) if pixels.unsigned_abs() <= MAX_COORDINATE => Or::Usual(Coordinate(pixels)),
            _ => Or::Other(number.into()),
        }
    }
}

/// Two coordinates.
struct Vertex([i32; 2]);

impl<'de> Usual<'de> for Vertex {
    fn from_array<A: SeqAccess<'de>>(mut array: A) -> Result<Or<Self>, A::Error> {
        let mut xy = [0; 2];
        for i in 0..2 {
            match array.next_element()? {
                Some(Or::Usual(Coordinate(pixels))) => xy[i] = pixels,
                Some(Or::Other(other)) => return any_array(&xy[..i], other, array),
                None => return Ok(Or::Other(xy[..i].into())),
            }
        }
        match array.next_element()? {
            None => Ok(Or::Usual(Vertex(xy))),
            Some(third) => any_array(&xy, third, array),
        }
    }
}

/// Vertices `[x, y]`, at least one.
pub struct Points(pub Vec<[i32; 2]>);

impl<'de> Usual<'de> for Points {
    fn from_array<A: SeqAccess<'de>>(mut array: A) -> Result<Or<Self>, A::Error> {
        let mut points = Vec::new();
        while let Some(point) = array.next_element()? {
            match point {
                Or::Usual(Vertex(xy)) => points.push(xy),
                Or::Other(other) => return any_array(&points, other, array),
            }
        }
        Ok(if points.is_empty() { Or::Other(Value::Array(Vec::new())) } else { Or::Usual(Points(points)) })
    }
}

/// The array of what was `usual`, of what was not, and of the rest.
fn any_array<'de, T, A: SeqAccess<'de>>(
    usual: &[impl Clone + Into<Value>],
    other: Value,
    mut rest: A,
) -> Result<Or<T>, A::Error> {
    let mut values: Vec<Value> = usual.iter().cloned().map(Into::into).collect();
    values.push(other);
    while let Some(value) = rest.next_element()? {
        values.push(value);
    }
    Ok(Or::Other(Value::Array(values)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Result<Or<Points>, serde_json::Error> {
        serde_json::from_str(text)
    }

    #[test]
    fn whole_numbers_and_nothing_else() {
        let whole = |text: &str| match read(text).unwrap() {
            Or::Usual(Points(points)) => points,
            Or::Other(other) => panic!("{other}"),
        };
        assert_eq!(whole("[[1,2], [ -3 ,\n4 ]]"), [[1, 2], [-3, 4]]);
        assert_eq!(whole("[[1000000,-1000000]]"), [[1_000_000, -1_000_000]]);
    }

    #[test]
    fn any_other_value_is_kept() {
        for text in [
            "[]",
            "[[]]",
            "[[1]]",
            "[[1,2,3]]",
            "[[1,2],[3,4,5,6],[7,8]]",
            "[[1.0,2]]",
            "[[1,2],[3,4.5],[6,7]]",
            "[[1,2],3,[4,5]]",
            "[[1,\"2\"]]",
            "[[1,null]]",
            "[[1000001,0]]",
            "[[0,-9223372036854775808]]",
            "[[18446744073709551615,0]]",
            "[1,2]",
            "{\"x\":[1,2]}",
            "3",
            "true",
            "null",
            "\"[[1,2]]\"",
        ] {
            match read(text).unwrap() {
                Or::Usual(_) => panic!("{text}"),
                Or::Other(other) => assert_eq!(other.to_string(), text),
            }
        }
    }

    proptest! {
        #[test]
        fn as_a_general_parser_reads_them(text in "[\\[\\],0-9 .e-]{0,24}") {
            let general = serde_json::from_str::<Value>(&text);
            match (read(&text), general) {
                (Ok(Or::Usual(Points(points))), Ok(general)) => prop_assert_eq!(Value::from(points), general),
                (Ok(Or::Other(other)), Ok(general)) => prop_assert_eq!(other, general),
                (read, general) => prop_assert!(read.is_err() && general.is_err()),
            }
        }
    }
}
