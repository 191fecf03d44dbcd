//! Closed sets of named things (architectures, encoders, losses): one list gives the enum, its names, `ALL`,
//! parsing with an error that lists the known names, serde by name, and a schema that lists them.

/// A name that is not one of an enum's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown {what} {name:?}{}", expected_one_of(closest(name, known.split(", ")), known))]
pub struct UnknownName {
    /// The kind of thing that the name stands for: `architecture`.
    pub what: &'static str,
    /// The unknown name.
    pub name: String,
    /// The known names, joined by commas.
    pub known: String,
}

/// Least similarity, from 0 to 1, of a known name that is suggested for an unknown one.
const LEAST_SIMILARITY: f64 = 0.6;

/// Similarity of two names from 0 to 1, by their edit distance; upper and lower case are the same.
pub(crate) fn similarity(a: &str, b: &str) -> f64 {
    strsim::normalized_damerau_levenshtein(&a.to_lowercase(), &b.to_lowercase())
}

/// The end of a message about an unknown name: the suggested name, if there is one, and the known names.
pub(crate) fn expected_one_of(suggested: Option<&str>, known: &str) -> String {
    match suggested {
        Some(name) => format!("; did you mean {name}? Expected one of {known}"),
        None => format!("; expected one of {known}"),
    }
}

/// The known name that is most similar to `given`, the first of several; `None` where none is similar.
pub(crate) fn closest<'a>(given: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let mut best = None;
    for name in known {
        let similarity = similarity(given, name);
        if similarity >= LEAST_SIMILARITY && best.is_none_or(|(most, _)| similarity > most) {
            best = Some((similarity, name));
        }
    }
    best.map(|(_, name)| name)
}

/// A closed set of named values, as a table's column holds it.
pub trait Named: Copy + 'static {
    /// The allowed values, for messages: `one of F M`.
    const EXPECTED: &'static str;
    /// All names, in the order of definition.
    fn names() -> Vec<&'static str>;
    /// The name of this value.
    fn text(self) -> &'static str;
    /// The value with exactly this name.
    fn named(name: &str) -> Option<Self>;
}

/// Defines an enum whose variants have names: `ALL`, `name`, `from_name`, `Display`, `FromStr`, serde, schema.
macro_rules! closed_enum {
    (
        $(#[$meta:meta])*
        pub enum $Name:ident ($what:literal) {
            $($(#[$vmeta:meta])* $Variant:ident = $text:literal,)+
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $Name { $($(#[$vmeta])* $Variant,)+ }

        impl $Name {
            /// Every value, in the order of definition.
            pub const ALL: &'static [$Name] = &[$($Name::$Variant,)+];

            /// The name in configurations, on the command line and in listings.
            pub fn name(self) -> &'static str {
                match self { $($Name::$Variant => $text,)+ }
            }

            /// The value with exactly this name.
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $($text => Some($Name::$Variant),)+ _ => None }
            }
        }

        impl $crate::closed_enum::Named for $Name {
            const EXPECTED: &'static str = concat!("one of", $(" ", $text),+);
            fn names() -> Vec<&'static str> {
                vec![$($text),+]
            }
            fn text(self) -> &'static str {
                self.name()
            }
            fn named(name: &str) -> Option<Self> {
                Self::from_name(name)
            }
        }

        impl std::fmt::Display for $Name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.name())
            }
        }

        impl std::str::FromStr for $Name {
            type Err = $crate::closed_enum::UnknownName;
            fn from_str(name: &str) -> Result<Self, Self::Err> {
                Self::from_name(name).ok_or_else(|| $crate::closed_enum::UnknownName {
                    what: $what,
                    name: name.to_owned(),
                    known: [$($text,)+].join(", "),
                })
            }
        }

        impl serde::Serialize for $Name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.name())
            }
        }

        impl schemars::JsonSchema for $Name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($Name).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": "string", "enum": [$($text),+] })
            }
        }

        impl<'de> serde::Deserialize<'de> for $Name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let name = String::deserialize(deserializer)?;
                name.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

pub(crate) use closed_enum;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_similar_name_is_suggested() {
        let error = |name: &str| {
            UnknownName { what: "encoder", name: name.into(), known: "resnet18, resnet34, mit_b0".into() }.to_string()
        };
        assert_eq!(
            error("resnet-18"),
            "unknown encoder \"resnet-18\"; did you mean resnet18? Expected one of resnet18, resnet34, mit_b0"
        );
        assert_eq!(error("vgg"), "unknown encoder \"vgg\"; expected one of resnet18, resnet34, mit_b0");
        assert_eq!(closest("fpm", ["unet", "fpn", "pan"]), Some("fpn"));
        assert_eq!(closest("ResNet34", ["resnet18", "resnet34"]), Some("resnet34"));
    }
}
