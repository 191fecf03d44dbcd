//! Recognises the format of JSON files by the arrays at their top level.

use std::fmt;
use std::fs::{self, File};
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use serde::Deserializer;
use serde::de::{DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// Maximum bytes of a file that are read to recognise it.
const MAX_READ: u64 = 1 << 30;
/// Maximum number of files and folders that are looked at to find JSON files.
const MAX_ENTRIES: usize = 20_000;
/// Maximum depth of folders that are searched.
const DEPTH: usize = 8;

/// The keys at the top level of a JSON object whose values are arrays, as far as it can be read: a truncated file has
/// those before the damage.
pub(super) fn json_arrays(path: &Path) -> Vec<String> {
    let mut keys = Vec::new();
    // Opening a pipe would wait forever.
    if !path.is_file() {
        return keys;
    }
    if let Ok(file) = File::open(path) {
        let mut json = serde_json::Deserializer::from_reader(BufReader::with_capacity(1 << 16, file.take(MAX_READ)));
        let _ = json.deserialize_map(Keys(&mut keys));
    }
    keys
}

struct Keys<'a>(&'a mut Vec<String>);

impl<'de> Visitor<'de> for Keys<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut count = 0;
        while let Some(key) = map.next_key::<String>()? {
            map.next_value_seed(ValueOf { key, arrays: &mut *self.0 })?;
            count += 1;
            if count > MAX_KEYS {
                return Err(A::Error::custom("more keys than any known format has"));
            }
        }
        Ok(())
    }
}

/// Maximum number of keys that are looked at.
const MAX_KEYS: usize = 100;

/// Adds the key to `arrays` if its value is an array.
struct ValueOf<'a> {
    key: String,
    arrays: &'a mut Vec<String>,
}

impl<'de> DeserializeSeed<'de> for ValueOf<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ValueOf<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<(), A::Error> {
        self.arrays.push(self.key);
        IgnoredAny.visit_seq(seq).map(drop)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        IgnoredAny.visit_map(map).map(drop)
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

/// The files in a folder with one of these endings, sorted; hidden files are skipped.
pub(super) fn files(folder: &Path, endings: &[&str]) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = entries(folder).into_iter().filter(|path| has_ending(path, endings)).collect();
    found.retain(|path| path.is_file());
    found.sort();
    found
}

/// Up to `most` JSON files in a folder and its subfolders.
pub(super) fn some_json(root: &Path, most: usize) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![(root.to_owned(), 0)];
    let mut seen = 0;
    while let Some((folder, depth)) = folders.pop() {
        let mut inside = entries(&folder);
        inside.sort();
        seen += inside.len();
        for path in inside {
            if has_ending(&path, &["json"]) {
                found.push(path);
            } else if depth < DEPTH && !path.is_symlink() && path.extension().is_none() && path.is_dir() {
                folders.push((path, depth + 1));
            }
            if found.len() == most || seen > MAX_ENTRIES {
                return found;
            }
        }
    }
    found
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let is_hidden = |path: &PathBuf| path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
    entries.flatten().map(|entry| entry.path()).filter(|path| !is_hidden(path)).collect()
}

fn has_ending(path: &Path, endings: &[&str]) -> bool {
    path.extension().is_some_and(|e| endings.iter().any(|known| e.eq_ignore_ascii_case(known)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_before_the_damage_are_found() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.json");
        let keys = |text: &str| {
            fs::write(&path, text).unwrap();
            json_arrays(&path)
        };
        assert_eq!(keys(r#"{"info": {}, "images": [{"id": 1}], "annotations": [1, 2"#), ["images", "annotations"]);
        assert_eq!(
            keys(r#"{"a": 1, "b": {"c": []}, "d": [], "e": "x", "f": null, "g": 0.5, "h": true, "i": -1}"#),
            ["d"]
        );
        for other in ["", "[1]", "1", "{", "{1", "\u{0}", "{\"a", "{\"a\": {\"images\": [1]}}"] {
            assert!(keys(other).is_empty(), "{other}");
        }
        fs::create_dir_all(folder.path().join("x/y")).unwrap();
        fs::write(folder.path().join("x/y/b.json"), "{}").unwrap();
        assert_eq!(some_json(folder.path(), 9).len(), 2);
        assert_eq!(some_json(folder.path(), 1).len(), 1);
        assert_eq!(files(folder.path(), &["JSON"]), [path]);
    }
}
