use serde::{Deserialize, Serialize};

/// How much a problem matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Put right without loss (a space trimmed, a number read from text).
    Info,
    /// Put right by a guess, or of no use and left out; look at it.
    Warning,
    /// Could not be used.
    Error,
}

impl Severity {
    /// `info`, `warning`, `error`.
    pub fn name(self) -> &'static str {
        match self {
            Severity::Info => "info",
            Severity::Warning => "warning",
            Severity::Error => "error",
        }
    }

    /// The severity spelt `name`.
    pub fn from_name(name: &str) -> Option<Severity> {
        [Severity::Info, Severity::Warning, Severity::Error].into_iter().find(|s| s.name() == name)
    }
}

/// One repair or failure met while reading: a row of the `problems` table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// File, relative to the data folder, with `/`.
    pub file: String,
    /// Where in it: `ID!C17` (sheet and cell), `line 17 column sex`, `annotations[3].points`; empty for the whole file.
    pub place: String,
    /// Image it concerns, where known.
    pub image_id: Option<String>,
    /// Patient it concerns, where known.
    pub patient_id: Option<String>,
    /// The raw value, shortened to 200 characters.
    pub raw: String,
    /// What is wrong with it and what was expected.
    pub reason: String,
    /// What was done: `read as M`, `left empty`, `image left out`.
    pub action: String,
    /// How much it matters.
    pub severity: Severity,
}
