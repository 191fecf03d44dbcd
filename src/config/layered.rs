//! A TOML file, overridden by settings from the command line.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use toml::{Table, Value};

use super::keys;
use crate::bounded;
use crate::closed_enum::{closest, expected_one_of};
use crate::violation::Violations;
use crate::wording::{reason_of, without_rust_types};

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{}: {}", path.display(), reason_of(source, "file"))]
    Io {
        /// The configuration file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// The file is not TOML.
    #[error("{}: {source}", path.display())]
    Toml {
        /// The configuration file.
        path: PathBuf,
        /// The error of the TOML reader.
        source: Box<toml::de::Error>,
    },
    /// A key is missing, or a value has another type or an unknown name.
    #[error("{}: {reason}", path.display())]
    Shape {
        /// The configuration file.
        path: PathBuf,
        /// The key and what is wrong with it.
        reason: String,
    },
    /// An argument of `--set` has no `=`, or its key cannot have this value.
    #[error("--set {text}: {reason}")]
    Set {
        /// The argument of `--set`.
        text: String,
        /// What is wrong with the argument.
        reason: String,
    },
    /// The file or `--set` has keys that the configuration does not have.
    #[error("{}", keys.join("\n"))]
    Unknown {
        /// One sentence per key.
        keys: Vec<String>,
    },
    /// Values have the correct types, but are outside the allowed range or do not fit each other.
    #[error("{}: {violations}", path.display())]
    Values {
        /// The configuration file.
        path: PathBuf,
        /// The values and what was expected.
        violations: Violations,
    },
}

/// The keys that a configuration may have: a file and `--set` may name no others.
pub struct KnownKeys(serde_json::Value);

impl KnownKeys {
    /// The keys of a `T`.
    pub fn of<T: JsonSchema>() -> KnownKeys {
        KnownKeys(keys::schema::<T>())
    }

    /// The keys of this JSON schema.
    pub(super) fn by(schema: serde_json::Value) -> KnownKeys {
        KnownKeys(schema)
    }
}

/// Reads a TOML file as a table.
///
/// # Errors
/// The file cannot be read, is not TOML, or has unknown keys: [`ConfigError::Unknown`] names all of them.
pub fn read(path: &Path, known: &KnownKeys) -> Result<Table, ConfigError> {
    let text = bounded::read_text(path, bounded::MAX_CONFIG)
        .map_err(|source| ConfigError::Io { path: path.into(), source })?;
    let table = text.parse();
    let table =
        table.map_err(|source: toml::de::Error| ConfigError::Toml { path: path.into(), source: source.into() })?;
    refuse(keys::unknown(&known.0, &text).iter().map(|unknown| unknown.in_file(path, &text)))?;
    Ok(table)
}

fn refuse(unknown: impl Iterator<Item = String>) -> Result<(), ConfigError> {
    let keys: Vec<String> = unknown.collect();
    if keys.is_empty() { Ok(()) } else { Err(ConfigError::Unknown { keys }) }
}

/// Overrides one value of the table. `text` is KEY=VALUE: the key has its tables joined by dots, the value is TOML, or
/// a plain text where it is not TOML. Where `section` names a table and a plain text is set for the whole table, the
/// text goes to that key of it: `("data", "root")` makes `data=DIR` mean `data.root=DIR`.
///
/// # Errors
/// The text has no `=`, an unknown key, a key inside a list or inside a value that is no table, or a kind that does not
/// fit the table's other keys.
pub fn set(table: &mut Table, text: &str, sections: &[(&str, &str)], known: &KnownKeys) -> Result<(), ConfigError> {
    let wrong = |reason: String| ConfigError::Set { text: text.to_owned(), reason };
    let (key, value) =
        text.split_once('=').ok_or_else(|| wrong("expected KEY=VALUE, as in optimiser.lr=1e-3".into()))?;
    let (key, value) = (key.trim(), value.trim());
    let value = format!("v = {value}")
        .parse::<Table>()
        .ok()
        .filter(|parsed| parsed.len() == 1)
        .and_then(|mut parsed| parsed.remove("v"))
        .unwrap_or_else(|| Value::String(value.to_owned()));
    let mut parts: Vec<&str> = key.split('.').collect();
    if parts.iter().any(|p| p.is_empty()) {
        return Err(wrong(format!("{key:?} is not a key; expected names joined by dots")));
    }
    if let Some(list) = keys::list_in(&known.0, &parts) {
        return Err(wrong(format!("{list} is a list, and a list can only be replaced whole: --set '{list}=[...]'")));
    }
    refuse(keys::unknown_part(&known.0, &parts).iter().map(|unknown| unknown.as_set_key(text)))?;
    let as_toml = format!("{key} = {value}");
    refuse(keys::unknown(&known.0, &as_toml).iter().map(|unknown| unknown.in_set_value(text)))?;
    if let (Value::String(_), Some((_, inner))) = (&value, sections.iter().find(|(s, _)| *s == key)) {
        parts.push(inner);
    }
    let (last, parents) = parts.split_last().expect("a key has a part");
    let mut place = table;
    for (depth, part) in parents.iter().enumerate() {
        let next = place.entry(*part).or_insert_with(|| Value::Table(Table::new()));
        if !next.is_table() {
            return Err(wrong(format!("{} is {next}, not a table", parents[..=depth].join("."))));
        }
        place = next.as_table_mut().expect("it was checked to be a table");
    }
    if let Some(reason) = value.as_str().and_then(|kind| keys::keys_of_another_kind(&known.0, &parts, kind, place)) {
        return Err(wrong(reason));
    }
    place.insert((*last).to_owned(), value);
    Ok(())
}

/// A table as a `T`.
///
/// # Errors
/// [`ConfigError::Shape`], which names the file and the key: a value of another type, an unknown name, or a missing
/// key.
pub fn typed<T: serde::de::DeserializeOwned>(path: &Path, table: Table) -> Result<T, ConfigError> {
    T::deserialize(Value::Table(table))
        .map_err(|e| ConfigError::Shape { path: path.into(), reason: one_line_message(&e) })
}

/// The message of the TOML reader on one line: the key first, and no names of Rust's types.
pub(super) fn one_line_message(error: &toml::de::Error) -> String {
    let text = error.to_string();
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let key = lines.last().and_then(|line| line.strip_prefix("in `")?.strip_suffix('`'));
    let reason = &lines[..lines.len() - usize::from(key.is_some())];
    let reason = without_rust_types(&with_suggestion(&reason.join(" ")));
    key.map_or(reason.clone(), |key| format!("{key}: {reason}"))
}

/// The message of serde about an unknown name with the known name that is most similar.
fn with_suggestion(message: &str) -> String {
    let parts = [("unknown variant `", "name"), ("unknown field `", "key")].iter().find_map(|(start, what)| {
        let (before, rest) = message.split_once(start)?;
        let (name, known) = rest.split_once("`, expected ")?;
        let known: Vec<&str> = known.split('`').skip(1).step_by(2).collect();
        (!known.is_empty()).then_some((before, *what, name, known))
    });
    match parts {
        Some((before, what, name, known)) => {
            let suggested = closest(name, known.iter().copied());
            format!("{before}unknown {what} `{name}`{}", expected_one_of(suggested, &known.join(", ")))
        }
        None => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default, serde::Serialize, serde::Deserialize, JsonSchema)]
    #[serde(default)]
    struct Run {
        a: u32,
        name: String,
        list: Vec<u32>,
        data: Data,
        optimiser: Optimiser,
        loss: Option<Loss>,
    }

    #[derive(Default, serde::Serialize, serde::Deserialize, JsonSchema)]
    #[serde(default)]
    struct Data {
        root: String,
        fold: u32,
    }

    #[derive(Default, serde::Serialize, serde::Deserialize, JsonSchema)]
    #[serde(default)]
    struct Optimiser {
        lr: f64,
    }

    #[derive(Default, serde::Serialize, serde::Deserialize, JsonSchema)]
    #[serde(default)]
    struct Loss {
        bce: f64,
    }

    #[test]
    fn values_are_toml_or_text() {
        let known = KnownKeys::of::<Run>();
        let mut table: Table = "a = 1\n[data]\nroot = 'x'\nfold = 2".parse().unwrap();
        for text in ["a=2", "optimiser.lr=1e-3", "name=run one", "data=phantom", "loss={bce=1.0}", "list=[1,2]"] {
            set(&mut table, text, &[("data", "root")], &known).unwrap();
        }
        assert_eq!(table["a"].as_integer(), Some(2));
        assert_eq!(table["optimiser"]["lr"].as_float(), Some(1e-3));
        assert_eq!(table["name"].as_str(), Some("run one"));
        assert_eq!((table["data"]["root"].as_str(), table["data"]["fold"].as_integer()), (Some("phantom"), Some(2)));
        assert_eq!(table["loss"]["bce"].as_float(), Some(1.0));
        let mut wrong = |text: &str| set(&mut table, text, &[], &known).unwrap_err().to_string();
        assert!(wrong("a.b=1").contains("a is 2, not a table"));
        assert!(wrong("a").contains("KEY=VALUE"));
        assert_eq!(
            wrong("optimiser.lrr=1"),
            "--set optimiser.lrr=1: unknown key; did you mean optimiser.lr? Keys of optimiser: lr"
        );
        // Keys inside a table that is set as a whole are checked too.
        assert!(
            wrong("list.0=3").contains("list is a list, and a list can only be replaced whole: --set 'list=[...]'")
        );
        assert!(wrong("list[0]=3").contains("can only be replaced whole"));
        let wrong = wrong("loss={bec=1}");
        assert!(wrong.contains("unknown key loss.bec; did you mean loss.bce?"), "{wrong}");
    }

    #[test]
    fn unknown_names_get_a_suggestion() {
        for (message, expected) in [
            (
                "unknown variant `flp`, expected one of `flip`, `warp`, `none`",
                "unknown name `flp`; did you mean flip? Expected one of flip, warp, none",
            ),
            ("unknown variant `x`, expected `black` or `reflect`", "unknown name `x`; expected one of black, reflect"),
            ("bce: unknown field `q`, expected `p`", "bce: unknown key `q`; expected one of p"),
            ("unknown field `q`, there are no fields", "unknown field `q`, there are no fields"),
            ("missing field `every`", "missing field `every`"),
        ] {
            assert_eq!(with_suggestion(message), expected);
        }
    }
}
