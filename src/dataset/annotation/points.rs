//! The points of a polygon, read from their text.

/// Largest coordinate either way.
pub const MAX_COORDINATE: f64 = 1e6;

/// Points `[[x, y], …]` of whole numbers, which is what nearly every file holds; `None` for anything else, and for a
/// coordinate beyond [`MAX_COORDINATE`].
pub fn whole(text: &str) -> Option<Vec<[i32; 2]>> {
    let mut at = Cursor { bytes: text.as_bytes() };
    // "[1,2]," is the shortest point.
    let mut points = Vec::with_capacity(text.len() / 8);
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
    Some(points)
}

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
            first = self.next()?;
        }
        let digit = |b: u8| b.is_ascii_digit().then(|| i32::from(b - b'0'));
        let mut value = digit(first)?;
        let mut digits = 1;
        while let Some(next) = self.bytes.first().and_then(|b| digit(*b)) {
            value = value * 10 + next;
            self.bytes = &self.bytes[1..];
            digits += 1;
            if digits > 7 {
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

    #[test]
    fn whole_numbers_and_nothing_else() {
        assert_eq!(whole("[[1,2], [ -3 ,\n4 ]]").unwrap(), [[1, 2], [-3, 4]]);
        assert_eq!(whole("[[1000000,-1000000]]").unwrap(), [[1_000_000, -1_000_000]]);
        for other in
            ["[]", "[[]]", "[[1]]", "[[1,2,3]]", "[[1.0,2]]", "[[1,2e1]]", "[[1000001,0]]", "[1,2]", "{}", "3", ""]
        {
            assert_eq!(whole(other), None, "{other}");
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
        fn what_it_accepts_a_general_parser_accepts(text in "[\\[\\],0-9 .e-]{0,24}") {
            if let Some(points) = whole(&text) {
                prop_assert_eq!(serde_json::from_str::<Vec<[i32; 2]>>(&text).ok(), Some(points));
            }
        }
    }
}
