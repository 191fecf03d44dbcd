use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::TrainError;
use crate::models::{Model, ModelConfig};
use crate::violation::{Violation, Violations};

/// Weights that are frozen (not trained) in the epochs `from..until` of a stage. In a configuration, a text is the
/// prefix of the names of weights that are frozen in the whole stage.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Freeze {
    /// The frozen weights.
    #[serde(flatten)]
    pub what: Frozen,
    /// First epoch of the stage in which they are frozen, from 0.
    pub from: usize,
    /// First epoch of the stage in which they are trained again; absent: they are frozen to its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<usize>,
}

/// The weights that a [`Freeze`] freezes.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Frozen {
    /// `prefix`: the weights whose names start with this text: `encoder.`, `encoder._blocks.0.`, …
    Prefix(String),
    /// `encoder-stages`: the weights of this many first stages of the encoder, see [`ModelConfig::encoder_stages`].
    EncoderStages(usize),
}

impl Frozen {
    /// The prefixes of their names in `model`.
    ///
    /// # Errors
    /// The model's encoder does not have so many stages.
    pub fn prefixes(&self, model: &ModelConfig) -> Result<Vec<String>, Violation> {
        match self {
            Frozen::Prefix(prefix) => Ok(vec![prefix.clone()]),
            Frozen::EncoderStages(count) => model.encoder_stages(*count),
        }
    }
}

impl Freeze {
    /// The values that are out of range for `model`.
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

    fn is_active(&self, epoch: usize) -> bool {
        epoch >= self.from && self.until.is_none_or(|until| epoch < until)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct FreezeTable {
    prefix: Option<String>,
    encoder_stages: Option<usize>,
    #[serde(default)]
    from: usize,
    until: Option<usize>,
}

struct FreezeVisitor;

impl<'de> Visitor<'de> for FreezeVisitor {
    type Value = Freeze;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a prefix of names, { encoder-stages = 2 }, or { prefix = \"encoder.\", from = 0, until = 5 }")
    }

    fn visit_str<E>(self, prefix: &str) -> Result<Freeze, E> {
        Ok(Freeze { what: Frozen::Prefix(prefix.to_owned()), from: 0, until: None })
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Freeze, A::Error> {
        let FreezeTable { prefix, encoder_stages, from, until } =
            FreezeTable::deserialize(MapAccessDeserializer::new(map))?;
        let what = match (prefix, encoder_stages) {
            (Some(prefix), None) => Frozen::Prefix(prefix),
            (None, Some(count)) => Frozen::EncoderStages(count),
            (None, None) => return Err(A::Error::custom("expected the key prefix or the key encoder-stages")),
            (Some(_), Some(_)) => {
                return Err(A::Error::custom(
                    "expected only one of prefix and encoder-stages; write two entries for both",
                ));
            }
        };
        Ok(Freeze { what, from, until })
    }
}

impl<'de> Deserialize<'de> for Freeze {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FreezeVisitor)
    }
}

/// Switches gradients off for the weights that an entry of `freezes` freezes in epoch `epoch` of its stage, and on for
/// the others. `trainable` are the names of the weights that the model trains where nothing is frozen.
pub(super) fn apply(model: &Model, trainable: &[String], freezes: &[Freeze], epoch: usize) -> Result<(), TrainError> {
    let weights = model.named_parameters();
    let mut frozen = Vec::new();
    for freeze in freezes {
        let prefixes =
            freeze.what.prefixes(model.config()).map_err(|wrong| TrainError::Freeze { reason: wrong.to_string() })?;
        let matches_prefix = |name: &str| prefixes.iter().any(|prefix| name.starts_with(prefix));
        if !weights.iter().any(|(name, _)| matches_prefix(name)) {
            let mut names: Vec<String> =
                weights.iter().map(|(name, _)| name.split('.').take(2).collect::<Vec<_>>().join(".") + ".").collect();
            names.dedup();
            return Err(TrainError::NothingFrozen { prefix: prefixes.join(", "), names });
        }
        if freeze.is_active(epoch) {
            frozen.extend(prefixes);
        }
    }
    for name in trainable {
        let is_frozen = frozen.iter().any(|prefix| name.starts_with(prefix));
        let tensor = model.parameters().get(name).expect("the model gave the name");
        let _ = tensor.f_set_requires_grad(!is_frozen)?;
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
    fn entries_are_texts_or_tables() {
        let text =
            "freeze = ['encoder.', { prefix = 'decoder.', from = 1, until = 3 }, { encoder-stages = 2, from = 4 }]";
        let config: Config = toml::from_str(text).unwrap();
        let held = |i: usize| (0..5).filter(|e| config.freeze[i].is_active(*e)).collect::<Vec<_>>();
        assert_eq!([held(0), held(1), held(2)], [vec![0, 1, 2, 3, 4], vec![1, 2], vec![4]]);
        let what: Vec<_> = config.freeze.iter().map(|freeze| freeze.what.clone()).collect();
        let prefix = |text: &str| Frozen::Prefix(text.into());
        assert_eq!(what, [prefix("encoder."), prefix("decoder."), Frozen::EncoderStages(2)]);
        assert_eq!(toml::from_str::<Config>(&toml::to_string(&config).unwrap()).unwrap(), config);
        let json = serde_json::to_value(&config.freeze[2]).unwrap();
        assert_eq!(json, serde_json::json!({ "encoder-stages": 2, "from": 4 }));
    }

    #[test]
    fn invalid_entries_are_named() {
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
