//! Changes labels and points in the text of an annotation file; every other byte stays.

use std::collections::HashMap;
use std::ops::Range;

use super::{Annotation, Shape};

/// The bytes of the file from which `before` was read with the shapes of `after`: changed labels and points are replaced
/// and the entries of shapes that are gone are removed, everything else stays byte for byte. `None` if the text has no
/// entry of a changed shape, so that it is not the file of `before`.
pub fn edited(bytes: &[u8], before: &Annotation, after: &Annotation) -> Option<Vec<u8>> {
    let now: HashMap<usize, &Shape> = after.shapes.iter().map(|shape| (shape.index, shape)).collect();
    let entries = entries(bytes)?;
    let mut edits: Vec<(Range<usize>, String)> = Vec::new();
    let mut dropped = vec![false; entries.len()];
    for shape in &before.shapes {
        let entry = || entries.get(shape.index).cloned();
        match now.get(&shape.index) {
            None => *dropped.get_mut(shape.index)? = true,
            Some(new) => {
                if new.label != shape.label {
                    edits.push((member(bytes, entry()?, "label")?, serde_json::to_string(&new.label).ok()?));
                }
                if new.points != shape.points {
                    edits.push((member(bytes, entry()?, "points")?, serde_json::to_string(&new.points).ok()?));
                }
            }
        }
    }
    for (i, entry) in entries.iter().enumerate().filter(|(i, _)| dropped[*i]) {
        let is_first_kept = dropped[..i].iter().all(|dropped| *dropped);
        let range = match entries.get(i + 1) {
            Some(next) if is_first_kept => entry.start..next.start,
            None if is_first_kept => entry.clone(),
            _ => entries[i - 1].end..entry.end,
        };
        edits.push((range, String::new()));
    }
    edits.sort_by_key(|(range, _)| range.start);
    let mut text = Vec::with_capacity(bytes.len());
    let mut at = 0;
    for (range, new) in edits {
        text.extend_from_slice(bytes.get(at..range.start)?);
        text.extend_from_slice(new.as_bytes());
        at = range.end;
    }
    text.extend_from_slice(&bytes[at..]);
    Some(text)
}

/// Where the entries of the top-level array `annotations` are.
fn entries(bytes: &[u8]) -> Option<Vec<Range<usize>>> {
    let start = if bytes.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
    let array = member(bytes, start..bytes.len(), "annotations")?;
    let mut scanner = Scanner { bytes, at: array.start };
    let mut found = Vec::new();
    scanner.expect(b'[')?;
    loop {
        match scanner.peek()? {
            b']' => return Some(found),
            b',' => scanner.at += 1,
            _ => found.push(scanner.value()?),
        }
    }
}

/// Where the value of a key of the object at `object` is; the last one if the key is repeated, as readers take it.
fn member(bytes: &[u8], object: Range<usize>, key: &str) -> Option<Range<usize>> {
    let mut scanner = Scanner { bytes: &bytes[..object.end], at: object.start };
    let mut found = None;
    scanner.expect(b'{')?;
    loop {
        match scanner.peek()? {
            b'}' => return found,
            b',' => scanner.at += 1,
            _ => {
                let name = scanner.value()?;
                scanner.expect(b':')?;
                let value = scanner.value()?;
                if serde_json::from_slice::<String>(&bytes[name]).ok()? == key {
                    found = Some(value);
                }
            }
        }
    }
}

/// Finds where values begin and end in a text that was parsed before. Words such as `NaN`, which Python writes, are
/// values.
struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Scanner<'_> {
    /// The next byte that is not white space.
    fn peek(&mut self) -> Option<u8> {
        while self.bytes.get(self.at)?.is_ascii_whitespace() {
            self.at += 1;
        }
        self.bytes.get(self.at).copied()
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    /// Skips a value and returns where it is.
    fn value(&mut self) -> Option<Range<usize>> {
        self.peek()?;
        let start = self.at;
        let mut depth = 0usize;
        loop {
            match *self.bytes.get(self.at)? {
                b'"' => self.string()?,
                b'[' | b'{' => {
                    depth += 1;
                    self.at += 1;
                }
                b']' | b'}' => {
                    depth = depth.checked_sub(1)?;
                    self.at += 1;
                }
                b',' | b':' => self.at += 1,
                byte if byte.is_ascii_whitespace() => self.at += 1,
                _ => {
                    let is_end = |byte: &u8| byte.is_ascii_whitespace() || b",:]}".contains(byte);
                    self.at += self.bytes[self.at..].iter().position(is_end).unwrap_or(self.bytes.len() - self.at);
                }
            }
            if depth == 0 {
                return Some(start..self.at);
            }
        }
    }

    fn string(&mut self) -> Option<()> {
        self.at += 1;
        loop {
            match *self.bytes.get(self.at)? {
                b'\\' => self.at += 2,
                b'"' => {
                    self.at += 1;
                    return Some(());
                }
                _ => self.at += 1,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;
    use crate::bones::Bone;
    use crate::dataset::annotation::parse;

    const FILE: &str = "\u{feff}{ \"a\": {\"annotations\": [1]},\n  \"annotations\": [ {\"id\" : \"x\\\"]\", \"type\": \"poly_seg\",\n \
        \"points\": [[1.5, 2], [3,4],[5 ,\t6]], \"label\": \"Ulna\", \"w\": NaN},\n 7, \
        {\"label\":\"Lunate\",\"label\":\"Hamate\",\"points\":[[0,0],[9,0],[0,9]],\"x\":[{\"label\":\"q\"}]} ,\n\
        {\"l\\u0061bel\": \"Radius\", \"points\": [[7,7],[8,7],[7,8]] } ], \"z\": -1e5 }\n";

    fn read(bytes: &[u8]) -> Annotation {
        parse(bytes, Path::new("a.json"), "a.json").unwrap().content
    }

    /// Applies changes and checks that the file reads as the changed annotation.
    fn changed(change: impl FnOnce(&mut Vec<Shape>)) -> String {
        let before = read(FILE.as_bytes());
        let mut after = before.clone();
        change(&mut after.shapes);
        let bytes = edited(FILE.as_bytes(), &before, &after).unwrap();
        let values = |shapes: &[Shape]| shapes.iter().map(|s| (s.label.clone(), s.points.clone())).collect::<Vec<_>>();
        assert_eq!(values(&read(&bytes).shapes), values(&after.shapes));
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn only_what_changed_is_written() {
        assert_eq!(changed(|_| {}), FILE);
        assert_eq!(changed(|shapes| shapes[1].label = "Ulna".into()), FILE.replace("\"Hamate\"", "\"Ulna\""));
        assert_eq!(changed(|shapes| shapes[2].label = "Ulna".into()), FILE.replace("\"Radius\"", "\"Ulna\""));
        let redrawn = changed(|shapes| shapes[0].points = vec![[1, 1], [2, 1], [1, 2]]);
        assert_eq!(redrawn, FILE.replace("[[1.5, 2], [3,4],[5 ,\t6]]", "[[1,1],[2,1],[1,2]]"));
        let kept = changed(|shapes| drop(shapes.remove(0)));
        assert!(
            kept.contains("\"annotations\": [ 7, {\"label\":\"Lunate\"") && kept.ends_with(&FILE[FILE.len() - 20..])
        );
        assert!(changed(|shapes| drop(shapes.pop())).contains("[{\"label\":\"q\"}]} ], \"z\""));
        assert!(changed(Vec::clear).contains("[ 7 ], \"z\""), "what is no shape stays");
    }

    #[test]
    fn another_text_is_refused() {
        let before = read(FILE.as_bytes());
        let mut after = before.clone();
        after.shapes[2].label = "Ulna".into();
        for text in
            ["", "{", "{}", "[1]", "{\"annotations\": []}", "{\"annotations\": [1,2,3,4]}", "{\"annotations\": [\""]
        {
            assert_eq!(edited(text.as_bytes(), &before, &after), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_damage_is_survived(at in 0..FILE.len(), byte in any::<u8>()) {
            let before = read(FILE.as_bytes());
            let mut after = before.clone();
            after.shapes.remove(1);
            after.shapes[0].label = Bone::ULNA.name().into();
            let mut damaged = FILE.as_bytes().to_vec();
            damaged[at] = byte;
            let _ = edited(&damaged, &before, &after);
        }
    }
}
