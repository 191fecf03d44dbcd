//! Closed sets of named things (architectures, encoders, losses): one list gives the enum, its names, `ALL`,
//! parsing with a message that says what there is, serde by name, and a schema that lists them.

/// A name that is not in a closed set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no {what} {name:?}; there is {known}")]
pub struct UnknownName {
    /// What was to be named: `architecture`.
    pub what: &'static str,
    /// The name given.
    pub name: String,
    /// The names there are, joined by commas.
    pub known: String,
}

/// A closed set of named values, as a table's column holds it.
pub trait Named: Copy + 'static {
    /// What a cell may hold, for messages: `one of F M`.
    const EXPECTED: &'static str;
    /// Every name, in the order of definition.
    fn names() -> Vec<&'static str>;
    /// The name of this one.
    fn text(self) -> &'static str;
    /// The one called exactly `name`.
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
            /// Every one, in the order of definition.
            pub const ALL: &'static [$Name] = &[$($Name::$Variant,)+];

            /// The name used in configs, on the command line and in listings.
            pub fn name(self) -> &'static str {
                match self { $($Name::$Variant => $text,)+ }
            }

            /// The one called exactly `name`.
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
