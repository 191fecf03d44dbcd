//! The points of polygons, read from their text. Nearly all of a file are its points, and as a tree of values each of
//! them would be an allocation; so those of the usual form are cut out of the text before anything else reads it.

use serde_json::Value;

/// Largest coordinate either way.
pub const MAX_COORDINATE: f64 = 1e6;

/// Key of an entry's vertices.
pub const POINTS: &str = "points";
/// The key as it stands in the text.
const KEY: &str = "\"points\"";
/// Beginning of the text that stands for points that were cut out; their number follows.
const MARK: &str = "points cut out, number ";

/// Points that were cut out of a text.
#[derive(Default)]
pub struct Cut(Vec<Option<Vec<[i32; 2]>>>);

impl Cut {
    /// The text with every `"points": [[x, y], …]` of whole numbers cut out, and what was cut out. A text that is no JSON is
    /// none afterwards either.
    pub fn out_of(text: &str) -> (String, Cut) {
        let (mut kept, mut cut) = (String::new(), Vec::new());
        let mut rest = text;
        while let Some(at) = rest.find(KEY) {
            let (before, after) = rest.split_at(at + KEY.len());
            kept.push_str(before);
            rest = after;
            // After a backslash the first quote is a character of some text. Else this is a whole string, which is a key
            // because a colon follows.
            let is_text = before[..at].ends_with('\\');
            if !is_text && let Some((points, after)) = value_of_key(rest) {
                kept.push_str(&format!(":\"{MARK}{}\"", cut.len()));
                cut.push(Some(points));
                rest = after;
            }
        }
        kept.push_str(rest);
        // A file that has such a text of its own, perhaps with letters as escapes, is read as it is.
        let own = kept.matches(MARK).count() != cut.len() || kept.contains("\\u00");
        if own { (text.to_owned(), Cut::default()) } else { (kept, Cut(cut)) }
    }

    /// The points that `value` stands for; null takes its place.
    pub fn take(&mut self, value: &mut Value) -> Option<Vec<[i32; 2]>> {
        let number: usize = value.as_str()?.strip_prefix(MARK)?.parse().ok()?;
        let points = self.0.get_mut(number)?.take()?;
        *value = Value::Null;
        Some(points)
    }

    /// Puts the points back everywhere in `value`.
    pub fn put_back(&mut self, value: &mut Value) {
        match value {
            Value::Array(values) => values.iter_mut().for_each(|v| self.put_back(v)),
            Value::Object(members) => members.values_mut().for_each(|v| self.put_back(v)),
            _ => {
                if let Some(points) = self.take(value) {
                    *value = points.into();
                }
            }
        }
    }
}

/// Points `: [[x, y], …]` of whole numbers at the beginning of `text`, which is what nearly every file holds, and what comes
/// after them; `None` for anything else, and for a coordinate beyond [`MAX_COORDINATE`].
fn value_of_key(text: &str) -> Option<(Vec<[i32; 2]>, &str)> {
    let mut at = Cursor { bytes: text.as_bytes() };
    let mut points = Vec::with_capacity(USUAL);
    at.expect(b':')?;
    at.expect(b'[')?;
    loop {
        at.expect(b'[')?;
        let x = at.integer()?;
        at.expect(b',')?;
        let y = at.integer()?;
        at.expect(b']')?;
        points.push([x, y]);
        match at.next()? {
            b',' => {}
            b']' => break,
            _ => return None,
        }
    }
    Some((points, &text[text.len() - at.bytes.len()..]))
}

/// Room for the points of a dense contour.
const USUAL: usize = 1024;

/// What is left of a text.
struct Cursor<'a> {
    bytes: &'a [u8],
}

impl Cursor<'_> {
    /// The next byte that is no space.
    fn next(&mut self) -> Option<u8> {
        loop {
            let (first, rest) = self.bytes.split_first()?;
            self.bytes = rest;
            if !matches!(first, b' ' | b'\n' | b'\r' | b'\t') {
                return Some(*first);
            }
        }
    }

    fn expect(&mut self, wanted: u8) -> Option<()> {
        (self.next()? == wanted).then_some(())
    }

    /// A number without fraction or exponent, of at most seven digits.
    fn integer(&mut self) -> Option<i32> {
        let mut first = self.next()?;
        let negative = first == b'-';
        if negative {
            // No space between the sign and its digits.
            (first, self.bytes) = self.bytes.split_first().map(|(first, rest)| (*first, rest))?;
        }
        let digit = |b: u8| b.is_ascii_digit().then(|| i32::from(b - b'0'));
        let mut value = digit(first)?;
        // A zero at the front stands alone.
        let most = if value == 0 { 1 } else { 7 };
        let mut digits = 1;
        while let Some(next) = self.bytes.first().and_then(|b| digit(*b)) {
            value = value * 10 + next;
            self.bytes = &self.bytes[1..];
            digits += 1;
            if digits > most {
                return None;
            }
        }
        // A fraction or an exponent follows, or the number is out of range: the general reader says what is wrong.
        let ends = !matches!(self.bytes.first(), Some(b'.' | b'e' | b'E'));
        (ends && f64::from(value) <= MAX_COORDINATE).then_some(if negative { -value } else { value })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The points where `text` is cut whole.
    fn whole(text: &str) -> Option<Vec<[i32; 2]>> {
        let member = format!("{{\"points\" : {text}}}");
        let (kept, mut cut) = Cut::out_of(&member);
        if cut.0.is_empty() {
            assert_eq!(kept, member);
            return None;
        }
        let mut value: Value = serde_json::from_str(&kept).unwrap();
        let points = cut.take(&mut value["points"]);
        assert_eq!(value.to_string(), "{\"points\":null}");
        points
    }

    #[test]
    fn whole_numbers_and_nothing_else() {
        assert_eq!(whole("[[1,2], [ -3 ,\n4 ]]").unwrap(), [[1, 2], [-3, 4]]);
        assert_eq!(whole("[[1000000,-1000000]]").unwrap(), [[1_000_000, -1_000_000]]);
        assert_eq!(whole("[[0,-0]]").unwrap(), [[0, 0]]);
        for other in [
            "[]",
            "[[]]",
            "[[1]]",
            "[[1,2,3]]",
            "[[1.0,2]]",
            "[[1,2e1]]",
            "[[1000001,0]]",
            "[[01,2]]",
            "[[- 1,2]]",
            "[1,2]",
            "{}",
            "3",
            "",
        ] {
            assert_eq!(whole(other), None, "{other}");
        }
    }

    #[test]
    fn points_in_any_place_are_put_back() {
        for text in [
            r#"{"points":[[1,2]],"a":[{"points":[[3,4],[5,6]]},{"points":[[1.5,2]]}],"b":"points"}"#,
            r#"{"a":"\"points\":[[1,2]]","b":["points",[[1,2]]],"points":"points"}"#,
            r#"{"points":[[1,2]],"b":"points cut out, number 0"}"#,
            r#"{"points":[[1,2]],"b":"\u0070oints cut out, number 0"}"#,
            r#""points""#,
        ] {
            let (kept, mut cut) = Cut::out_of(text);
            let mut value: Value = serde_json::from_str(&kept).unwrap();
            cut.put_back(&mut value);
            assert_eq!(value, serde_json::from_str::<Value>(text).unwrap());
        }
    }

    proptest! {
        #[test]
        fn as_a_general_parser_reads_them(points in prop::collection::vec([-1_000_000..=1_000_000i32, -9..=3000i32], 1..50)) {
            let text = serde_json::to_string(&points).unwrap();
            prop_assert_eq!(whole(&text), Some(points.clone()));
            let wide = serde_json::to_string_pretty(&points).unwrap();
            prop_assert_eq!(whole(&wide), Some(points));
        }

        #[test]
        fn what_it_accepts_a_general_parser_accepts(text in "\\[\\[[0-9 .e-]{1,3},[0-9 .e-]{1,3}[\\[\\],0-9 .e-]{0,6}\\]\\]") {
            if let Some((points, rest)) = value_of_key(&format!(":{text}")) && rest.is_empty() {
                // As floats: -0 is no whole number to the general parser.
                let points = points.into_iter().map(|point| point.map(f64::from)).collect();
                prop_assert_eq!(serde_json::from_str::<Vec<[f64; 2]>>(&text).ok(), Some(points));
            }
        }

        /// Whatever is cut, the rest is JSON if and only if the whole was, and with the points put back it is the whole.
        #[test]
        fn nothing_is_lost(pieces in prop::collection::vec(prop::sample::select(vec![
            "\"points\"", ":", "[[1,2]]", "[", "]", "{", "}", ",", "\"", "\\", "\\\\", "points", "3", "\"a\"", " ", "{\"points\":[[1,2],[3,4]]}",
        ]), 0..12)) {
            let text = pieces.concat();
            let (kept, mut cut) = Cut::out_of(&text);
            let whole = serde_json::from_str::<Value>(&text).ok();
            let read = serde_json::from_str::<Value>(&kept).ok().map(|mut value| {
                cut.put_back(&mut value);
                value
            });
            prop_assert_eq!(read, whole);
        }
    }
}
