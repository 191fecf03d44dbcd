use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::TrainError;
use crate::models::{Model, ModelConfig};
use crate::violation::{Violation, Violations};

/// Weights that stay as they are during the epochs `from..until` of a stage. A text in a config is the prefix of weights
/// that stay for the whole stage.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Freeze {
    /// Which.
    #[serde(flatten)]
    pub what: Frozen,
    /// First epoch of the stage that holds them, from 0.
    pub from: usize,
    /// First epoch of the stage that lets them go again; absent: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<usize>,
}

/// Which weights a [`Freeze`] holds.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Frozen {
    /// `prefix`: those whose name begins so: `encoder.`, `encoder._blocks.0.`, …
    Prefix(String),
    /// `encoder-stages`: those of the encoder's first stages, by [`ModelConfig::encoder_stages`].
    EncoderStages(usize),
}

impl Frozen {
    /// What their names begin with in `model`.
    ///
    /// # Errors
    /// It has no such stages.
    pub fn prefixes(&self, model: &ModelConfig) -> Result<Vec<String>, Violation> {
        match self {
            Frozen::Prefix(prefix) => Ok(vec![prefix.clone()]),
            Frozen::EncoderStages(count) => model.encoder_stages(*count),
        }
    }
}

impl Freeze {
    /// What cannot be, in `model`.
    pub fn violations(&self, model: &ModelConfig) -> Violations {
        let mut wrong = Violations::new();
        if let Some(until) = self.until.filter(|until| *until <= self.from) {
            wrong.refuse("until", until, format!("an epoch after `from`, which is {}", self.from));
        }
        if let Err(violation) = self.what.prefixes(model) {
            wrong.push(violation);
        }
        wrong
    }

    fn holds(&self, epoch: usize) -> bool {
        epoch >= self.from && self.until.is_none_or(|until| epoch < until)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Table {
    prefix: Option<String>,
    encoder_stages: Option<usize>,
    #[serde(default)]
    from: usize,
    until: Option<usize>,
}

struct Given;

impl<'de> Visitor<'de> for Given {
    type Value = Freeze;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a prefix of names, { encoder-stages = 2 }, or { prefix = \"encoder.\", from = 0, until = 5 }")
    }

    fn visit_str<E>(self, prefix: &str) -> Result<Freeze, E> {
        Ok(Freeze { what: Frozen::Prefix(prefix.to_owned()), from: 0, until: None })
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Freeze, A::Error> {
        let Table { prefix, encoder_stages, from, until } = Table::deserialize(MapAccessDeserializer::new(map))?;
        let what = match (prefix, encoder_stages) {
            (Some(prefix), None) => Frozen::Prefix(prefix),
            (None, Some(count)) => Frozen::EncoderStages(count),
            (None, None) => return Err(A::Error::custom("freeze: either prefix or encoder-stages says which weights")),
            (Some(_), Some(_)) => {
                return Err(A::Error::custom("freeze: prefix and encoder-stages are entries of their own"));
            }
        };
        Ok(Freeze { what, from, until })
    }
}

impl<'de> Deserialize<'de> for Freeze {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Given)
    }
}

/// Lets gradients reach the weights that no entry of `freezes` holds in epoch `epoch` of its stage, and stops the others.
/// `trainable` are the weights that the model itself lets learn.
pub(super) fn apply(model: &Model, trainable: &[String], freezes: &[Freeze], epoch: usize) -> Result<(), TrainError> {
    let weights = model.named_parameters();
    let mut held = Vec::new();
    for freeze in freezes {
        let prefixes =
            freeze.what.prefixes(model.config()).map_err(|wrong| TrainError::Freeze { reason: wrong.to_string() })?;
        let begins = |name: &str| prefixes.iter().any(|prefix| name.starts_with(prefix));
        if !weights.iter().any(|(name, _)| begins(name)) {
            let mut names: Vec<String> =
                weights.iter().map(|(name, _)| name.split('.').take(2).collect::<Vec<_>>().join(".") + ".").collect();
            names.dedup();
            return Err(TrainError::NothingFrozen { prefix: prefixes.join(", "), names });
        }
        if freeze.holds(epoch) {
            held.extend(prefixes);
        }
    }
    for name in trainable {
        let held = held.iter().any(|prefix| name.starts_with(prefix));
        let tensor = model.parameters().get(name).expect("the model gave the name");
        let _ = tensor.f_set_requires_grad(!held)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Config {
        freeze: Vec<Freeze>,
    }

    #[test]
    fn texts_and_tables() {
        let text =
            "freeze = ['encoder.', { prefix = 'decoder.', from = 1, until = 3 }, { encoder-stages = 2, from = 4 }]";
        let config: Config = toml::from_str(text).unwrap();
        let held = |i: usize| (0..5).filter(|e| config.freeze[i].holds(*e)).collect::<Vec<_>>();
        assert_eq!([held(0), held(1), held(2)], [vec![0, 1, 2, 3, 4], vec![1, 2], vec![4]]);
        let what: Vec<_> = config.freeze.iter().map(|freeze| freeze.what.clone()).collect();
        let prefix = |text: &str| Frozen::Prefix(text.into());
        assert_eq!(what, [prefix("encoder."), prefix("decoder."), Frozen::EncoderStages(2)]);
        assert_eq!(toml::from_str::<Config>(&toml::to_string(&config).unwrap()).unwrap(), config);
        let json = serde_json::to_value(&config.freeze[2]).unwrap();
        assert_eq!(json, serde_json::json!({ "encoder-stages": 2, "from": 4 }));
    }

    #[test]
    fn what_is_no_entry_is_named() {
        for (entry, says) in [
            ("{ prefix = 'a', till = 3 }", vec!["till", "encoder-stages", "until"]),
            ("{ encoder-stages = -1 }", vec!["-1"]),
            ("{ encoder-stages = 'two' }", vec!["two"]),
            ("{ from = 1 }", vec!["prefix", "encoder-stages"]),
            ("{ prefix = 'a', encoder-stages = 1 }", vec!["prefix", "encoder-stages"]),
            ("2", vec!["a prefix of names", "encoder-stages = 2"]),
        ] {
            let error = toml::from_str::<Config>(&format!("freeze = [{entry}]")).unwrap_err().to_string();
            for part in says {
                assert!(error.contains(part), "{entry}: {error}");
            }
        }
    }
}
