use serde::{Deserialize, Serialize};

use super::corrections::CorrectableField;
use crate::bones::Bone;
use crate::closed_enum::closed_enum;

closed_enum! {
    /// How much a problem matters.
    #[derive(Default)]
    pub enum ProblemSeverity ("severity") {
        #[default]
        /// Corrected without loss (a space trimmed, a number read from text).
        Info = "info",
        /// Corrected by a guess, or unusable and left out; look at it.
        Warning = "warning",
        /// Could not be used.
        Error = "error",
    }
}

/// One repair or failure found while reading the data: a row of the `problems` table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// File, relative to the data folder, with `/`.
    pub file: String,
    /// Place in the file: `ID!C17` (sheet and cell), `line 17 column sex`, `annotations[3].points`; empty for the whole
    /// file.
    pub place: String,
    /// Image that it concerns, if known.
    pub image_id: Option<String>,
    /// Patient that it concerns, if known.
    pub patient_id: Option<String>,
    /// The raw value, shortened to 200 characters.
    pub raw: String,
    /// The fault, and what was expected.
    pub reason: String,
    /// How it was handled: `read as M`, `left empty`, `image left out`.
    pub action: String,
    /// How much it matters.
    pub severity: ProblemSeverity,
    /// Metadata fields of the patient that it leaves in doubt; corrections of all of them settle it. They are in no
    /// table or file.
    #[serde(skip)]
    pub fields: Vec<CorrectableField>,
}

/// What could be read, and the problems of what could not.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WithProblems<T> {
    /// What was read.
    pub content: T,
    /// The problems, in the order in which they were met.
    pub problems: Vec<Problem>,
}

/// Longest raw value kept, in characters.
const RAW_LENGTH: usize = 200;

impl Problem {
    /// A problem of a whole file, without place, raw value, image, patient and fields; the methods below add them. If
    /// the reason begins with the file's path, as the text of an error does, the path is removed from it.
    pub fn new(
        severity: ProblemSeverity,
        file: impl Into<String>,
        reason: impl Into<String>,
        action: impl Into<String>,
    ) -> Problem {
        let (file, reason) = (file.into(), reason.into());
        Problem {
            reason: without_file(&file, &reason).to_owned(),
            file,
            place: String::new(),
            image_id: None,
            patient_id: None,
            raw: String::new(),
            action: action.into(),
            severity,
            fields: Vec::new(),
        }
    }

    /// Sets the place in the file.
    pub fn at(mut self, place: impl Into<String>) -> Problem {
        self.place = place.into();
        self
    }

    /// Sets the raw value; one longer than 200 characters is cut and ends in `…`.
    pub fn raw(mut self, raw: &str) -> Problem {
        self.raw = match raw.char_indices().nth(RAW_LENGTH) {
            None => raw.to_owned(),
            Some(_) => raw.chars().take(RAW_LENGTH - 1).chain(['…']).collect(),
        };
        self
    }

    /// Sets the file.
    pub fn of_file(mut self, file: impl Into<String>) -> Problem {
        self.file = file.into();
        self
    }

    /// Sets the image that it concerns.
    pub fn of_image(mut self, image_id: impl Into<String>) -> Problem {
        self.image_id = Some(image_id.into());
        self
    }

    /// Sets the patient that it concerns.
    pub fn of_patient(mut self, patient_id: impl Into<String>) -> Problem {
        self.patient_id = Some(patient_id.into());
        self
    }

    /// Sets the metadata fields that it leaves in doubt.
    pub fn of_fields(mut self, fields: impl IntoIterator<Item = CorrectableField>) -> Problem {
        self.fields = fields.into_iter().collect();
        self
    }
}

/// A reason without its values, which differ between problems of one kind: numbers, names of bones and quoted texts are
/// replaced by `…`. `height 52 and weight 171 look swapped` becomes `height … and weight … look swapped`.
pub fn kind_of_problem(reason: &str) -> String {
    let mut kind = String::with_capacity(reason.len());
    let mut quoted = reason.split('"');
    kind += &without_numbers(quoted.next().unwrap_or_default());
    let mut is_inside = true;
    for part in quoted {
        match is_inside {
            true => kind += "\"…\"",
            false => kind += &without_numbers(part),
        }
        is_inside = !is_inside;
    }
    kind
}

/// The text with `…` for each word that is the name of a bone, and for each number.
fn without_numbers(text: &str) -> String {
    let word = |word: &str| {
        let name = word.trim_matches(|c: char| !c.is_alphanumeric());
        if !name.is_empty() && Bone::from_name(name).is_some() {
            return word.replace(name, "…");
        }
        let mut out = String::new();
        let mut in_number = false;
        let mut chars = word.chars().peekable();
        while let Some(c) = chars.next() {
            let goes_on = in_number && matches!(c, '.' | ',') && chars.peek().is_some_and(char::is_ascii_digit);
            if c.is_ascii_digit() || goes_on {
                if !in_number {
                    out.push('…');
                }
                in_number = true;
            } else {
                out.push(c);
                in_number = false;
            }
        }
        out
    };
    text.split(' ').map(word).collect::<Vec<_>>().join(" ")
}

/// `reason` without the file's path at its beginning; the data folder may precede the path.
fn without_file<'a>(file: &str, reason: &'a str) -> &'a str {
    let rest = reason.find(file).filter(|at| !file.is_empty() && (*at == 0 || reason[..*at].ends_with('/')));
    let rest = rest.filter(|at| !reason[..*at].contains(": ")).map(|at| &reason[at + file.len()..]);
    rest.and_then(|rest| rest.strip_prefix(": ").or(rest.strip_prefix(' '))).unwrap_or(reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_names_its_file_once() {
        let reason = |file: &str, reason: &str| Problem::new(ProblemSeverity::Error, file, reason, "left out").reason;
        assert_eq!(reason("train/a.json", "my data/train/a.json line 2 column 0: EOF"), "line 2 column 0: EOF");
        assert_eq!(reason("meta.xlsx", "data/meta.xlsx: no workbook"), "no workbook");
        assert_eq!(reason("a.json", "a.json: no array"), "no array");
        for kept in ["the same as data/a.json", "no ID: a.json has none", "data/aa.json: no array", ""] {
            assert_eq!((reason("a.json", kept), reason("", kept)), (kept.to_owned(), kept.to_owned()));
        }
    }

    #[test]
    fn raw_values_are_shortened_by_characters() {
        let problem = |raw: &str| Problem::new(ProblemSeverity::Info, "f", "r", "a").raw(raw).raw;
        assert_eq!(problem(&"손".repeat(200)), "손".repeat(200));
        let long = problem(&"손".repeat(201));
        assert_eq!(long.chars().count(), 200);
        assert!(long.ends_with("손…"));
    }

    #[test]
    fn kinds_of_problems_have_no_values() {
        let kind = kind_of_problem;
        assert_eq!(kind("height 52 and weight 171.25 look swapped"), "height … and weight … look swapped");
        assert_eq!(kind("label \"finger-20\" is unknown"), "label \"…\" is unknown");
        assert_eq!(kind("the outline of Pisiform (1,200 points)."), "the outline of … (… points).");
        assert_eq!(kind("the outline of finger-12 ends"), kind("the outline of Ulna ends"));
        assert_ne!(kind("no ID"), kind("no age"));
        assert_eq!((kind(""), kind("\"open")), (String::new(), "\"…\"".into()));
    }

    #[test]
    fn severities_have_names() {
        for severity in ProblemSeverity::ALL.iter().copied() {
            assert_eq!(ProblemSeverity::from_name(severity.name()), Some(severity));
        }
        assert_eq!(ProblemSeverity::from_name("fatal"), None);
        assert!(ProblemSeverity::Info < ProblemSeverity::Warning && ProblemSeverity::Warning < ProblemSeverity::Error);
    }
}
