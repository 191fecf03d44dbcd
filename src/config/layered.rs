//! A TOML file with settings laid over it from the command line.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use toml::{Table, Value};

use super::keys::{self, Unknown};
use crate::bounded;
use crate::violation::Violations;
use crate::wording::without_rust_types;

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum ConfigError {
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: std::io::Error },
    #[error("{}: {source}", path.display())]
    Toml { path: PathBuf, source: Box<toml::de::Error> },
    #[error("{}: {reason}", path.display())]
    Shape { path: PathBuf, reason: String },
    #[error("--set {text}: {reason}")]
    Set { text: String, reason: String },
    #[error("{}", keys.join("\n"))]
    Unknown { keys: Vec<String> },
    #[error("{}: {violations}", path.display())]
    Values { path: PathBuf, violations: Violations },
}

/// The keys that a configuration may have: what `--set` and a file are held against.
pub struct KnownKeys(serde_json::Value);

impl KnownKeys {
    /// Those of a `T`.
    pub fn of<T: JsonSchema>() -> KnownKeys {
        KnownKeys(keys::schema::<T>())
    }

    /// Those of this schema.
    pub(super) fn by(schema: serde_json::Value) -> KnownKeys {
        KnownKeys(schema)
    }
}

/// Reads a TOML file as a table.
pub fn read(path: &Path, known: &KnownKeys) -> Result<Table, ConfigError> {
    let text = bounded::read_text(path, bounded::MAX_CONFIG)
        .map_err(|source| ConfigError::Io { path: path.into(), source })?;
    let table = text.parse();
    let table =
        table.map_err(|source: toml::de::Error| ConfigError::Toml { path: path.into(), source: source.into() })?;
    refuse(keys::unknown(&known.0, &text), |unknown| unknown.in_file(path, &text))?;
    Ok(table)
}

fn refuse(unknown: Vec<Unknown>, line: impl Fn(&Unknown) -> String) -> Result<(), ConfigError> {
    if unknown.is_empty() { Ok(()) } else { Err(ConfigError::Unknown { keys: unknown.iter().map(line).collect() }) }
}

/// Lays `key=value` over the table: the key dotted, the value TOML, or text where it is no TOML. Where `section` names
/// a key and text is set on the whole section, the text goes to that key: `("data", "root")` makes `data=DIR` mean
/// `data.root=DIR`.
pub fn set(table: &mut Table, text: &str, sections: &[(&str, &str)], known: &KnownKeys) -> Result<(), ConfigError> {
    let wrong = |reason: String| ConfigError::Set { text: text.to_owned(), reason };
    let (key, value) =
        text.split_once('=').ok_or_else(|| wrong("expected KEY=VALUE, as in optimiser.lr=1e-3".into()))?;
    let value = value.trim();
    let value = format!("v = {value}")
        .parse::<Table>()
        .ok()
        .filter(|parsed| parsed.len() == 1)
        .and_then(|mut parsed| parsed.remove("v"))
        .unwrap_or_else(|| Value::String(value.to_owned()));
    let mut parts: Vec<&str> = key.trim().split('.').collect();
    if parts.iter().any(|p| p.is_empty()) {
        return Err(wrong(format!("{key:?} is no key; expected names joined by dots")));
    }
    let unknown = keys::unknown_part(&known.0, &parts);
    refuse(unknown.into_iter().collect(), |unknown| format!("--set {text}: unknown key{}", unknown.advice))?;
    refuse(keys::unknown(&known.0, text), |unknown| {
        format!("--set {text}: unknown key {}{}", unknown.path, unknown.advice)
    })?;
    if let (Value::String(_), Some((_, inner))) = (&value, sections.iter().find(|(s, _)| *s == key.trim())) {
        parts.push(inner);
    }
    let last = parts.pop().expect("a key has a part");
    let mut place = table;
    for part in &parts {
        let next = place.entry(*part).or_insert_with(|| Value::Table(Table::new()));
        if !next.is_table() {
            return Err(wrong(format!("{part} is {next}, not a table")));
        }
        place = next.as_table_mut().expect("it was checked to be a table");
    }
    place.insert(last.to_owned(), value);
    Ok(())
}

/// A table as `T`; an error names the file and the key.
pub fn typed<T: serde::de::DeserializeOwned>(path: &Path, table: Table) -> Result<T, ConfigError> {
    T::deserialize(Value::Table(table))
        .map_err(|e| ConfigError::Shape { path: path.into(), reason: one_line_message(&e) })
}

/// What the reader of TOML says, on a line and without Rust's names of types.
pub(super) fn one_line_message(error: &toml::de::Error) -> String {
    without_rust_types(&error.to_string().split_whitespace().collect::<Vec<_>>().join(" "))
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
            "--set optimiser.lrr=1: unknown key; did you mean optimiser.lr? optimiser has lr"
        );
        // A table of the command line's own making is no way around.
        let wrong = wrong("loss={bec=1}");
        assert!(wrong.contains("unknown key loss.bec; did you mean loss.bce?"), "{wrong}");
    }
}
