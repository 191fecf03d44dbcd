//! The configuration of a chain (`carpus run`): the data folder, the folder of the artefacts, and one table per command
//! whose keys are the flags of that command.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::bounded;

use serde::{Deserialize, Deserializer};

use crate::wording::{reason_of, without_rust_types};

/// The configuration of a chain.
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
    /// Folder that all artefacts are written to.
    pub work: PathBuf,
    /// Corrections file; absent: no corrections.
    pub corrections: Option<PathBuf>,
    /// Flags of `carpus phantom`, to draw a synthetic data set first.
    pub phantom: Option<Flags>,
    /// Flags of `carpus scan`, which writes the tables.
    pub scan: Option<Flags>,
    /// Flags of `carpus split`, which writes the folds.
    pub split: Option<Flags>,
    /// Flags of `carpus clean`, which writes the crops.
    pub clean: Option<Flags>,
    /// Flags of `carpus train`: `[train]` for one model, one `[[train]]` for each member of an ensemble.
    #[serde(default, deserialize_with = "one_or_more")]
    pub train: Vec<Flags>,
    /// Flags of `carpus predict`: each model predicts masks of the held-out fold and of the test set.
    pub predict: Option<Flags>,
    /// Flags of `carpus vote`, which combines the members' masks of the test set.
    pub vote: Option<Flags>,
    /// Flags of `carpus evaluate`: Dice on the held-out fold.
    pub evaluate: Option<Flags>,
    /// Flags of `carpus audit`, which writes the findings.
    pub audit: Option<Flags>,
    /// Flags of `carpus eda`, which writes the report.
    pub eda: Option<Flags>,
}

/// Flags of a command by name, without the dashes.
pub type Flags = BTreeMap<String, toml::Value>;

fn one_or_more<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Flags>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "a table of flags, or a list of such tables")]
    enum OneOrMore {
        One(Flags),
        More(Vec<Flags>),
    }
    Ok(match OneOrMore::deserialize(deserializer)? {
        OneOrMore::One(flags) => vec![flags],
        OneOrMore::More(flags) => flags,
    })
}

/// Why a chain's configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ChainConfigError {
    /// The file cannot be read.
    #[error("--config {path}: {}", reason_of(source, "file"))]
    Io {
        /// The configuration file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// The file is not TOML, or has an unknown key or a value of another type.
    #[error("{path}: {}", without_rust_types(&source.to_string()))]
    Toml {
        /// The configuration file.
        path: PathBuf,
        /// The error of the TOML reader.
        source: Box<toml::de::Error>,
    },
    /// The value of a flag cannot be written as arguments of a command line.
    #[error(
        "{path}: [{stage}] {flag} = {value}; expected true, false, a number, a text, or a list of numbers and texts"
    )]
    Flag {
        /// The configuration file.
        path: PathBuf,
        /// The stage that has the flag.
        stage: String,
        /// The name of the flag, without the dashes.
        flag: String,
        /// The value, as TOML.
        value: String,
    },
}

impl ChainConfig {
    /// Reads the configuration from a TOML file.
    ///
    /// # Errors
    /// The file cannot be read, is not TOML, or has an unknown key or a value of another type.
    pub fn read(path: &Path) -> Result<ChainConfig, ChainConfigError> {
        let text = bounded::read_text(path, bounded::MAX_CONFIG)
            .map_err(|source| ChainConfigError::Io { path: path.into(), source })?;
        toml::from_str(&text).map_err(|source| ChainConfigError::Toml { path: path.into(), source: source.into() })
    }
}

/// Command-line arguments for the flags of a command: `folds = 5` becomes `--folds 5`, `csv = true` becomes `--csv`,
/// `false` becomes nothing, and a list repeats the flag.
///
/// # Errors
/// [`ChainConfigError::Flag`]: a value is a table, a date, or a list of something other than numbers and texts.
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

/// A value as one argument of the command line; `None` for values other than texts and numbers.
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
    fn flags_become_arguments() {
        let flags: Flags =
            toml::from_str("folds = 5\ncsv = true\nshuffle = false\nset = ['a=1', 'b=2']\nby = 'sex'").unwrap();
        let words = words(Path::new("c.toml"), "split", &flags).unwrap();
        assert_eq!(words, ["--by", "sex", "--csv", "--folds", "5", "--set", "a=1", "--set", "b=2"]);
    }

    #[test]
    fn a_table_is_not_a_flag() {
        let flags: Flags = toml::from_str("[folds]\nx = 1").unwrap();
        let error = words(Path::new("c.toml"), "split", &flags).unwrap_err().to_string();
        assert!(error.contains("c.toml") && error.contains("[split] folds"), "{error}");
    }

    #[test]
    fn train_is_one_table_or_a_list() {
        let members = |text: &str| toml::from_str::<ChainConfig>(&format!("data='d'\nwork='w'\n{text}")).unwrap().train;
        assert_eq!(members("").len(), 0);
        assert_eq!(members("[train]\nfold = 1").len(), 1);
        let several = members("[[train]]\nfold = 0\n[[train]]\nfold = 1");
        assert_eq!(several[1]["fold"].as_integer(), Some(1));
    }

    #[test]
    fn an_unknown_table_is_refused_with_its_name() {
        let error = toml::from_str::<ChainConfig>("data='d'\nwork='w'\n[spilt]\nfolds=5").unwrap_err().to_string();
        assert!(error.contains("spilt"), "{error}");
    }
}
