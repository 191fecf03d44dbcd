use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The normalisation layer in place of the batch norm of the published architectures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Norm {
    /// Batch norm, as published: `batch`.
    #[default]
    Batch,
    /// Batch norm with fixed running statistics and fixed affine weights: `frozen-batch`.
    FrozenBatch,
    /// Group norm: `group:32`. Each layer has as many groups as the greatest common divisor of this number and the layer's
    /// channels: this number where it divides the channels, 1 where they have no common divisor.
    /// It keeps the names of batch norm's affine weights, so that a checkpoint converts by dropping its statistics:
    /// [`super::Model::load`].
    Group(u32),
    /// Group norm with one group, which is layer norm over channels and pixels: `layer`.
    Layer,
}

impl fmt::Display for Norm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Norm::Batch => f.pad("batch"),
            Norm::FrozenBatch => f.pad("frozen-batch"),
            Norm::Group(groups) => f.pad(&format!("group:{groups}")),
            Norm::Layer => f.pad("layer"),
        }
    }
}

impl FromStr for Norm {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "batch" => Ok(Norm::Batch),
            "frozen-batch" => Ok(Norm::FrozenBatch),
            "layer" => Ok(Norm::Layer),
            _ => text
                .strip_prefix("group:")
                .and_then(|n| n.parse().ok())
                .filter(|n| *n >= 1)
                .map(Norm::Group)
                .ok_or_else(|| format!("unknown norm {text:?}; expected one of batch, frozen-batch, group:N, layer")),
        }
    }
}

impl Serialize for Norm {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Norm {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for norm in [Norm::Batch, Norm::FrozenBatch, Norm::Group(8), Norm::Layer] {
            assert_eq!(norm.to_string().parse(), Ok(norm));
        }
        assert!("group:0".parse::<Norm>().is_err());
    }
}
