use serde::{Deserialize, Deserializer, Serialize};

use super::TrainError;
use crate::models::Model;

/// Weights that stay as they are: all whose name begins with `prefix`, during the epochs `from..until` of a stage. A text
/// in a config is the prefix of weights that stay for the whole stage.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Freeze {
    /// `encoder.`, `encoder._blocks.0.`, …
    pub prefix: String,
    /// First epoch of the stage that holds them, from 0.
    pub from: usize,
    /// First epoch of the stage that lets them go again; absent: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<usize>,
}

impl Freeze {
    fn holds(&self, epoch: usize) -> bool {
        epoch >= self.from && self.until.is_none_or(|until| epoch < until)
    }
}

impl<'de> Deserialize<'de> for Freeze {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Table {
            prefix: String,
            #[serde(default)]
            from: usize,
            until: Option<usize>,
        }
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "a prefix of names, or { prefix = \"encoder.\", from = 0, until = 5 }")]
        enum Given {
            Prefix(String),
            Table(Table),
        }
        Ok(match Given::deserialize(deserializer)? {
            Given::Prefix(prefix) => Freeze { prefix, from: 0, until: None },
            Given::Table(Table { prefix, from, until }) => Freeze { prefix, from, until },
        })
    }
}

/// Lets gradients reach the weights that no entry of `freezes` holds in epoch `epoch` of its stage, and stops the others.
/// `trainable` are the weights that the model itself lets learn.
pub(super) fn apply(model: &Model, trainable: &[String], freezes: &[Freeze], epoch: usize) -> Result<(), TrainError> {
    let weights = model.named_parameters();
    if let Some(freeze) = freezes.iter().find(|f| !weights.iter().any(|(name, _)| name.starts_with(&f.prefix))) {
        let mut names: Vec<String> =
            weights.iter().map(|(name, _)| name.split('.').take(2).collect::<Vec<_>>().join(".") + ".").collect();
        names.dedup();
        return Err(TrainError::NothingFrozen { prefix: freeze.prefix.clone(), names });
    }
    for name in trainable {
        let held = freezes.iter().any(|f| f.holds(epoch) && name.starts_with(&f.prefix));
        let tensor = model.parameters().get(name).expect("the model gave the name");
        let _ = tensor.f_set_requires_grad(!held)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_and_tables() {
        #[derive(Deserialize)]
        struct Config {
            freeze: Vec<Freeze>,
        }
        let config: Config =
            toml::from_str("freeze = ['encoder.', { prefix = 'decoder.', from = 1, until = 3 }]").unwrap();
        let held = |i: usize| (0..5).filter(|e| config.freeze[i].holds(*e)).collect::<Vec<_>>();
        assert_eq!((held(0), held(1)), (vec![0, 1, 2, 3, 4], vec![1, 2]));
        let error = toml::from_str::<Config>("freeze = [{ prefix = 'a', till = 3 }]").err().unwrap().to_string();
        assert!(error.contains("until = 5"), "{error}");
    }
}
