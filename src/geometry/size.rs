use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::{Error as _, SeqAccess, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::Point;

/// Width and height of an image in pixels. In files a square is one number, its side; any other size is
/// `[width, height]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(into = "SideOrSides")]
pub struct Size {
    /// Number of columns.
    pub width: u32,
    /// Number of rows.
    pub height: u32,
}

/// How files write a size.
#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
enum SideOrSides {
    Side(u32),
    Sides([u32; 2]),
}

impl From<Size> for SideOrSides {
    fn from(size: Size) -> Self {
        match size {
            Size { width, height } if width == height => SideOrSides::Side(width),
            Size { width, height } => SideOrSides::Sides([width, height]),
        }
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Sides;
        impl<'de> Visitor<'de> for Sides {
            type Value = Size;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a number of pixels, or [width, height]")
            }

            fn visit_u64<E: serde::de::Error>(self, side: u64) -> Result<Size, E> {
                let wrong = |_| E::invalid_value(Unexpected::Unsigned(side), &self);
                u32::try_from(side).map(Size::square).map_err(wrong)
            }

            fn visit_i64<E: serde::de::Error>(self, side: i64) -> Result<Size, E> {
                let wrong = |_| E::invalid_value(Unexpected::Signed(side), &self);
                u32::try_from(side).map(Size::square).map_err(wrong)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut sides: A) -> Result<Size, A::Error> {
                let (Some(width), Some(height)) = (sides.next_element()?, sides.next_element()?) else {
                    return Err(A::Error::invalid_length(1, &self));
                };
                match sides.next_element::<u32>()? {
                    Some(_) => Err(A::Error::invalid_length(3, &self)),
                    None => Ok(Size { width, height }),
                }
            }
        }
        deserializer.deserialize_any(Sides)
    }
}

impl JsonSchema for Size {
    fn schema_name() -> Cow<'static, str> {
        "Size".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        SideOrSides::json_schema(generator)
    }
}

impl Size {
    /// A square of side `side`.
    pub const fn square(side: u32) -> Self {
        Size { width: side, height: side }
    }

    /// Number of pixels.
    pub const fn pixels(self) -> usize {
        self.width as usize * self.height as usize
    }

    /// Width and height.
    pub const fn sides(self) -> [u32; 2] {
        [self.width, self.height]
    }

    /// Whether `is` holds for width and height.
    pub fn both(self, is: impl Fn(u32) -> bool) -> bool {
        is(self.width) && is(self.height)
    }

    /// The place between the outermost pixels' centres.
    pub fn centre(self) -> Point {
        Point::new((f64::from(self.width) - 1.0) / 2.0, (f64::from(self.height) - 1.0) / 2.0)
    }

    /// The shape of an image's tensor: rows, columns.
    pub fn shape(self) -> [i64; 2] {
        [self.height.into(), self.width.into()]
    }

    /// As a value in TOML: `512` or `[768, 512]`.
    pub fn setting(self) -> String {
        match self.sides() {
            [width, height] if width == height => width.to_string(),
            [width, height] => format!("[{width}, {height}]"),
        }
    }
}

/// `512` for a square, else `768x512`: width and height.
impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.sides() {
            [width, height] if width == height => write!(f, "{width}"),
            [width, height] => write!(f, "{width}x{height}"),
        }
    }
}

/// A text that is no size.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no size; expected a number of pixels for a square, or WIDTHxHEIGHT as in 768x512")]
pub struct SizeError(String);

impl FromStr for Size {
    type Err = SizeError;

    fn from_str(text: &str) -> Result<Self, SizeError> {
        let side = |side: &str| side.parse::<u32>().ok().filter(|side| *side > 0);
        let size = match text.split_once(['x', 'X', '×']) {
            Some((width, height)) => side(width).zip(side(height)).map(|(width, height)| Size { width, height }),
            None => side(text).map(Size::square),
        };
        size.ok_or_else(|| SizeError(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_square_is_one_number_in_every_form() {
        let (square, wide) = (Size::square(512), Size { width: 768, height: 512 });
        for (size, json, text) in [(square, "512", "512"), (wide, "[768,512]", "768x512")] {
            assert_eq!(serde_json::to_string(&size).unwrap(), json);
            assert_eq!(serde_json::from_str::<Size>(json).unwrap(), size);
            assert_eq!((size.to_string().as_str(), text.parse::<Size>().unwrap()), (text, size));
        }
        assert_eq!((square.setting(), wide.setting()), ("512".into(), "[768, 512]".into()));
        assert_eq!(serde_json::from_str::<Size>("[64,64]").unwrap(), Size::square(64));
        for wrong in ["", "0", "-3", "3.5", "12x", "x12", "0x4", "1x2x3", "a", "99999999999"] {
            assert!(wrong.parse::<Size>().unwrap_err().to_string().contains("768x512"), "{wrong}");
        }
        for (wrong, says) in [
            ("-1", "-1"),
            ("1.5", "1.5"),
            ("\"a\"", "\"a\""),
            ("[1]", "1"),
            ("[1,2,3]", "3"),
            ("5000000000", "5000000000"),
        ] {
            let error = serde_json::from_str::<Size>(wrong).unwrap_err().to_string();
            assert!(
                error.contains("a number of pixels, or [width, height]") && error.contains(says),
                "{wrong}: {error}"
            );
        }
        assert!(serde_json::from_str::<Size>("[1,-2]").is_err() && serde_json::from_str::<Size>("null").is_err());
    }
}
