//! The configuration of a chain (`carpus run`): the data folder, the folder of the artefacts, and one table per command
//! whose keys are the flags of that command.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};

use crate::bounded;
use crate::ensemble::{EnsembleConfig, EnsembleList, EnsembleMember, EnsembleMethod};
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
    /// Flags of `carpus train`: `[train]` for one model, one `[[train]]` for each member of an ensemble. `name` names the
    /// model, also as a member of ensembles; a table `predict` has flags of `carpus predict` for this model alone.
    #[serde(default, deserialize_with = "one_or_more")]
    pub train: Vec<Flags>,
    /// Flags of `carpus predict`: each model predicts masks of the held-out fold and of the test set.
    pub predict: Option<Flags>,
    /// Flags of `carpus vote`, which combines the members' masks of the test set.
    pub vote: Option<Flags>,
    /// Ensembles of the models' predictions of the test set, in order: `[ensemble]` for one, or one `[[ensemble]]` for each.
    /// The masks of the last one are those of the test set.
    #[serde(default, deserialize_with = "one_or_more")]
    pub ensemble: Vec<ChainEnsemble>,
    /// Flags of `carpus ensemble`, such as `decision`.
    #[serde(rename = "ensemble-options")]
    pub ensemble_options: Option<Flags>,
    /// Flags of `carpus evaluate`: Dice on the held-out fold.
    pub evaluate: Option<Flags>,
    /// Flags of `carpus audit`, which writes the findings.
    pub audit: Option<Flags>,
    /// Flags of `carpus eda`, which writes the report.
    pub eda: Option<Flags>,
}

/// Flags of a command by name, without the dashes.
pub type Flags = BTreeMap<String, toml::Value>;

/// An ensemble of a chain: as [`EnsembleConfig`], with defaults.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ChainEnsemble {
    /// Its name; by default `ensemble`, or with several `ensemble-1`, `ensemble-2`, …
    pub name: Option<String>,
    /// As in [`EnsembleConfig`].
    pub method: EnsembleMethod,
    /// Names of models (`train-2`, or their `name`) and of ensembles above, and what [`EnsembleConfig`] takes; by default all
    /// models.
    pub members: Option<Vec<EnsembleMember>>,
    /// As in [`EnsembleConfig`].
    pub weights: Option<Vec<f64>>,
    /// As in [`EnsembleConfig`].
    pub class_weights: Option<BTreeMap<String, Vec<f64>>>,
    /// As in [`EnsembleConfig`].
    pub at_least: Option<usize>,
}

impl ChainConfig {
    /// The ensembles with their members: `stored` gives the place of a model's predictions by the model's name, `models` are
    /// the names of all models.
    pub fn ensembles(&self, models: &[String], stored: impl Fn(&str) -> Option<PathBuf>) -> EnsembleList {
        let place = |member: &EnsembleMember| match member {
            EnsembleMember::Named(name) => {
                let path = stored(name).map(|path| path.display().to_string());
                EnsembleMember::Named(path.unwrap_or_else(|| name.clone()))
            }
            EnsembleMember::Run(_) => member.clone(),
        };
        let all: Vec<EnsembleMember> = models.iter().map(|name| EnsembleMember::Named(name.clone())).collect();
        let of = |(i, ensemble): (usize, &ChainEnsemble)| EnsembleConfig {
            name: ensemble.name.clone().unwrap_or_else(|| match self.ensemble.len() {
                1 => "ensemble".into(),
                _ => format!("ensemble-{}", i + 1),
            }),
            method: ensemble.method,
            members: ensemble.members.as_ref().unwrap_or(&all).iter().map(place).collect(),
            weights: ensemble.weights.clone(),
            class_weights: ensemble.class_weights.clone(),
            at_least: ensemble.at_least,
        };
        EnsembleList { ensemble: self.ensemble.iter().enumerate().map(of).collect() }
    }
}

fn one_or_more<'de, D: Deserializer<'de>, T: DeserializeOwned>(deserializer: D) -> Result<Vec<T>, D::Error> {
    let value = toml::Value::deserialize(deserializer)?;
    let read = |value: toml::Value| value.try_into().map_err(D::Error::custom);
    match value {
        toml::Value::Array(tables) => tables.into_iter().map(read).collect(),
        table @ toml::Value::Table(_) => Ok(vec![read(table)?]),
        other => Err(D::Error::custom(format!("expected a table, or a list of tables, found {other}"))),
    }
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
    fn ensembles_name_models_paths_and_ensembles_above() {
        let text = "data='d'\nwork='w'\n[[ensemble]]\nmethod='soft'\n[[ensemble]]\nname='final'\nmethod='hard'\n\
                    members=['ensemble-1','a','c.csv']";
        let chain: ChainConfig = toml::from_str(text).unwrap();
        let models = ["a".to_owned(), "b".to_owned()];
        let list =
            chain.ensembles(&models, |name| models.iter().any(|m| m == name).then(|| format!("p/{name}").into()));
        let names = |i: usize| list.ensemble[i].members.iter().map(EnsembleMember::name).collect::<Vec<_>>();
        assert_eq!(
            (list.ensemble[0].name.as_str(), names(0)),
            ("ensemble-1", vec!["p/a".to_owned(), "p/b".to_owned()])
        );
        assert_eq!(
            (list.ensemble[1].name.as_str(), names(1)),
            ("final", ["ensemble-1", "p/a", "c.csv"].map(str::to_owned).to_vec())
        );
        let one: ChainConfig = toml::from_str("data='d'\nwork='w'\n[ensemble]\nmethod='logit'").unwrap();
        assert_eq!(one.ensembles(&models, |_| None).ensemble[0].name, "ensemble");
        let error = toml::from_str::<ChainConfig>("data='d'\nwork='w'\n[ensemble]\nmethod='soft-vote'").unwrap_err();
        assert!(error.to_string().contains("unknown method \"soft-vote\""), "{error}");
    }

    #[test]
    fn an_unknown_table_is_refused_with_its_name() {
        let error = toml::from_str::<ChainConfig>("data='d'\nwork='w'\n[spilt]\nfolds=5").unwrap_err().to_string();
        assert!(error.contains("spilt"), "{error}");
    }
}
