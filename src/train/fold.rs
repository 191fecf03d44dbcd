use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The fold that a run holds out for validation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fold {
    /// The images of the fold with this number are held out.
    Number(u32),
    /// No image is held out: all images of the folds file are trained, and no epoch is scored. `none`.
    None,
}

/// The text of [`Fold::None`].
const NONE: &str = "none";

impl fmt::Display for Fold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fold::Number(fold) => write!(f, "{fold}"),
            Fold::None => f.write_str(NONE),
        }
    }
}

impl FromStr for Fold {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            NONE => Ok(Fold::None),
            "all" => Err("\"all\"; expected a fold's number, or none to train all images without validation \
                          (--folds all trains each fold in turn)"
                .into()),
            _ => text.parse().map(Fold::Number).map_err(|_| format!("{text:?}; expected a fold's number, or none")),
        }
    }
}

impl Serialize for Fold {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Fold::Number(fold) => fold.serialize(serializer),
            Fold::None => NONE.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Fold {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "a fold's number, or \"none\"")]
        enum NumberOrText {
            Number(u32),
            Text(String),
        }
        match NumberOrText::deserialize(deserializer)? {
            NumberOrText::Number(fold) => Ok(Fold::Number(fold)),
            NumberOrText::Text(text) => text.parse().map_err(serde::de::Error::custom),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fold_is_a_number_or_none() {
        for (text, fold) in [("3", Fold::Number(3)), ("none", Fold::None)] {
            assert_eq!((text.parse(), fold.to_string()), (Ok(fold), text.to_owned()));
            let json = serde_json::to_string(&fold).unwrap();
            assert_eq!(serde_json::from_str::<Fold>(&json).unwrap(), fold);
        }
        assert!("all".parse::<Fold>().unwrap_err().contains("--folds all trains each fold in turn"));
        let error = serde_json::from_str::<Fold>("\"non\"").unwrap_err().to_string();
        assert!(error.contains("\"non\"; expected a fold's number, or none"), "{error}");
        assert!(serde_json::from_str::<Fold>("-1").unwrap_err().to_string().contains("a fold's number, or \"none\""));
    }
}
