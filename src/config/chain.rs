//! The chain's configuration: where the data are, where the artefacts go, and a table a stage whose keys are
//! the flags of that stage's command.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::bounded;

use serde::{Deserialize, Deserializer};

use crate::wording::without_rust_types;

/// A chain as configured.
///
/// ```toml
/// data = "data"
/// work = "work"
/// [split]
/// by = "sex,rotated"
/// folds = 5
/// [train]
/// config = "configs/train/demo.toml"
/// ```
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChainConfig {
    /// Data folder.
    pub data: PathBuf,
    /// Folder of all artefacts.
    pub work: PathBuf,
    /// Corrections file, if there is one yet.
    pub corrections: Option<PathBuf>,
    /// Synthetic data to make first.
    pub phantom: Option<Flags>,
    /// Tables.
    pub scan: Option<Flags>,
    /// Folds.
    pub split: Option<Flags>,
    /// Crops.
    pub clean: Option<Flags>,
    /// A trained model: `[train]`; the members of an ensemble: `[[train]]`, once for each.
    #[serde(default, deserialize_with = "one_or_more")]
    pub train: Vec<Flags>,
    /// Masks of the held-out fold and of the test set, by each model.
    pub predict: Option<Flags>,
    /// Masks of the test set by the members' vote.
    pub vote: Option<Flags>,
    /// Dice of the held-out fold.
    pub evaluate: Option<Flags>,
    /// Findings.
    pub audit: Option<Flags>,
    /// Report.
    pub eda: Option<Flags>,
}

/// Flags of a command by name, without the dashes.
pub type Flags = BTreeMap<String, toml::Value>;

fn one_or_more<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Flags>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "a table of flags, or several")]
    enum Given {
        One(Flags),
        More(Vec<Flags>),
    }
    Ok(match Given::deserialize(deserializer)? {
        Given::One(flags) => vec![flags],
        Given::More(flags) => flags,
    })
}

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum ChainConfigError {
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: std::io::Error },
    #[error("{path}: {}", without_rust_types(&source.to_string()))]
    Toml { path: PathBuf, source: Box<toml::de::Error> },
    #[error("{path}: [{stage}] {flag} = {value}: a flag is true, a number, a text, or a list of these")]
    Flag { path: PathBuf, stage: String, flag: String, value: String },
}

impl ChainConfig {
    /// Reads a file.
    pub fn read(path: &Path) -> Result<ChainConfig, ChainConfigError> {
        let text = bounded::read_text(path, bounded::MAX_CONFIG)
            .map_err(|source| ChainConfigError::Io { path: path.into(), source })?;
        toml::from_str(&text).map_err(|source| ChainConfigError::Toml { path: path.into(), source: source.into() })
    }
}

/// Command-line words of a stage's flags: `folds = 5` is `--folds 5`, `csv = true` is `--csv`, `false` is
/// nothing, a list repeats the flag.
pub fn words(path: &Path, stage: &str, flags: &Flags) -> Result<Vec<String>, ChainConfigError> {
    let mut out = Vec::new();
    for (flag, value) in flags {
        let name = format!("--{flag}");
        let bad = || ChainConfigError::Flag {
            path: path.into(),
            stage: stage.into(),
            flag: flag.clone(),
            value: value.to_string(),
        };
        match value {
            toml::Value::Boolean(true) => out.push(name),
            toml::Value::Boolean(false) => {}
            toml::Value::Array(values) => {
                for v in values {
                    out.extend([name.clone(), scalar(v).ok_or_else(bad)?]);
                }
            }
            v => out.extend([name, scalar(v).ok_or_else(bad)?]),
        }
    }
    Ok(out)
}

/// Text of a value that is a single word on the command line.
pub fn scalar(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(s) => Some(s.clone()),
        toml::Value::Integer(i) => Some(i.to_string()),
        toml::Value::Float(f) => Some(f.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_become_words() {
        let flags: Flags =
            toml::from_str("folds = 5\ncsv = true\nshuffle = false\nset = ['a=1', 'b=2']\nby = 'sex'").unwrap();
        let words = words(Path::new("c.toml"), "split", &flags).unwrap();
        assert_eq!(words, ["--by", "sex", "--csv", "--folds", "5", "--set", "a=1", "--set", "b=2"]);
    }

    #[test]
    fn a_table_is_no_flag() {
        let flags: Flags = toml::from_str("[folds]\nx = 1").unwrap();
        let error = words(Path::new("c.toml"), "split", &flags).unwrap_err().to_string();
        assert!(error.contains("c.toml") && error.contains("[split] folds"), "{error}");
    }

    #[test]
    fn one_model_or_several() {
        let members = |text: &str| toml::from_str::<ChainConfig>(&format!("data='d'\nwork='w'\n{text}")).unwrap().train;
        assert_eq!(members("").len(), 0);
        assert_eq!(members("[train]\nfold = 1").len(), 1);
        let several = members("[[train]]\nfold = 0\n[[train]]\nfold = 1");
        assert_eq!(several[1]["fold"].as_integer(), Some(1));
    }

    #[test]
    fn an_unknown_stage_is_refused_with_the_place() {
        let error = toml::from_str::<ChainConfig>("data='d'\nwork='w'\n[spilt]\nfolds=5").unwrap_err().to_string();
        assert!(error.contains("spilt"), "{error}");
    }
}
