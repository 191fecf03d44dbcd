//! Enums with names (architectures, encoders, losses): one list defines the enum, its names, `ALL`, parsing with a
//! message that lists the names, serde by name, and a JSON schema.

/// A name that is not one of an enum's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown {what} {name:?}{}; expected one of {known}", self.advice())]
pub struct UnknownName {
    /// Kind of thing that the name is for: `architecture`.
    pub what: &'static str,
    /// The unknown name.
    pub name: String,
    /// The known names, joined by commas.
    pub known: String,
}

impl UnknownName {
    /// Similarity of two names, from 0 to 1, from which one is suggested for the other.
    const SIMILAR: f64 = 0.6;

    fn advice(&self) -> String {
        let name = self.name.to_lowercase();
        let similarity = |known: &str| strsim::normalized_damerau_levenshtein(&name, known);
        let known = self.known.split(", ").map(|known| (similarity(known), known));
        let best = known.max_by(|a, b| a.0.total_cmp(&b.0)).filter(|(similarity, _)| *similarity >= Self::SIMILAR);
        best.map_or(String::new(), |(_, known)| format!(" (did you mean {known}?)"))
    }
}

/// An enum whose values have names, as a column of a table holds it.
pub trait Named: Copy + 'static {
    /// The valid values of a cell, for messages: `one of F M`.
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
            /// All values, in the order of definition.
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
    use super::UnknownName;

    #[test]
    fn similar_names_are_suggested() {
        let message = |name: &str| {
            UnknownName { what: "encoder", name: name.into(), known: "resnet18, resnet34, mit-b0".into() }.to_string()
        };
        assert_eq!(
            message("resnet-18"),
            "unknown encoder \"resnet-18\" (did you mean resnet18?); expected one of resnet18, resnet34, mit-b0"
        );
        assert!(message("MIT-b0").contains("did you mean mit-b0?"));
        assert_eq!(message("vgg"), "unknown encoder \"vgg\"; expected one of resnet18, resnet34, mit-b0");
    }
}
