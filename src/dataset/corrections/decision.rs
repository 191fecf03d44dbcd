use chrono::{DateTime, NaiveDate};
use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization;

use super::action::{ID_LENGTH, is_hex};
use super::{Action, image_id};
use crate::dataset::metadata::normalise_patient_id;
use crate::digest::sha256;

/// Version of the lines that this program reads and writes.
pub const VERSION: u32 = 2;

/// The image or patient that a decision is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// An image, by its id.
    Image(String),
    /// A patient, by the id of the patients table.
    Patient(String),
}

impl Target {
    /// The id of the image or patient.
    pub fn id(&self) -> &str {
        let (Target::Image(id) | Target::Patient(id)) = self;
        id
    }

    /// The target with its id normalised as in the tables: see [`image_id`] and [`normalise_patient_id`].
    fn normalised(&self) -> Target {
        match self {
            Target::Image(id) => Target::Image(image_id(id)),
            Target::Patient(id) => Target::Patient(patient_id(id)),
        }
    }
}

/// A patient's id normalised for comparison: `ID40` is `040`.
pub(super) fn patient_id(id: &str) -> String {
    let id: String = id.nfc().collect();
    normalise_patient_id(&id).unwrap_or(id)
}

/// One line of the file.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(into = "Line")]
pub struct Decision {
    /// Line of the file, from 1; 0 if it is not in a file yet. It is not written.
    pub line: usize,
    /// The image or patient that it is about.
    pub target: Target,
    /// The correction itself.
    pub action: Action,
    /// Content hash of the annotation that the decision is based on: SHA-256 in hex digits. Required for decisions
    /// about shapes.
    pub annotation_sha256: Option<String>,
    /// Reason for the decision.
    pub reason: String,
    /// Person who decided.
    pub author: String,
    /// Time of the decision: an RFC 3339 time in UTC, or a date.
    pub time: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    version: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    image_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    patient_id: Option<String>,
    action: Action,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    annotation_sha256: Option<String>,
    reason: String,
    author: String,
    time: String,
}

impl From<Decision> for Line {
    fn from(decision: Decision) -> Line {
        let (image_id, patient_id) = match decision.target {
            Target::Image(id) => (Some(id), None),
            Target::Patient(id) => (None, Some(id)),
        };
        Line {
            version: VERSION,
            image_id,
            patient_id,
            action: decision.action,
            annotation_sha256: decision.annotation_sha256,
            reason: decision.reason,
            author: decision.author,
            time: decision.time,
        }
    }
}

impl Decision {
    /// Reads one line of the file. Ids and the hash are normalised.
    ///
    /// # Errors
    /// The reason: not JSON, another version, a missing or unknown field, or one of [`Decision::check`].
    pub fn parse(text: &[u8], line: usize) -> Result<Decision, String> {
        #[derive(Deserialize)]
        struct Version {
            version: Option<u32>,
        }
        // The version is read first, because the fields of another version are unknown.
        match serde_json::from_slice::<Version>(text).map_err(message)?.version {
            None => {
                return Err(format!(
                    "no `version`; expected {VERSION}: add the decision again with `carpus corrections add`"
                ));
            }
            Some(VERSION) => {}
            Some(old) if old < VERSION => {
                return Err(format!(
                    "version {old}: this program reads version {VERSION}; add the decision again with `carpus corrections add`"
                ));
            }
            Some(new) => {
                return Err(format!(
                    "version {new}: this program reads version {VERSION}; a newer carpus wrote the line"
                ));
            }
        }
        let read: Line = serde_json::from_slice(text).map_err(message)?;
        let target = match (read.image_id, read.patient_id) {
            (Some(id), None) => Target::Image(id),
            (None, Some(id)) => Target::Patient(id),
            _ => return Err("expected either image_id or patient_id".to_owned()),
        };
        let decision = Decision {
            line,
            target: target.normalised(),
            action: read.action,
            annotation_sha256: read.annotation_sha256.map(|hash| hash.to_ascii_lowercase()),
            reason: read.reason,
            author: read.author,
            time: read.time,
        };
        decision.check()?;
        Ok(decision)
    }

    /// The same decision with the id normalised as in the tables.
    pub fn normalised(&self) -> Decision {
        Decision { target: self.target.normalised(), ..self.clone() }
    }

    /// The line of the file, without line end.
    pub fn to_line(&self) -> String {
        serde_json::to_string(&self.normalised()).expect("text, numbers and maps with text keys are JSON")
    }

    /// The first 12 hex digits of the SHA-256 of its line as this program writes it. It does not depend on the position
    /// of the line, so it stays the same when files are concatenated.
    pub fn id(&self) -> String {
        let mut id = sha256(self.to_line().as_bytes());
        id.truncate(ID_LENGTH);
        id
    }

    /// Checks that the decision is complete and valid, without the data.
    ///
    /// # Errors
    /// The reason: an empty id or author, a time in another format, an action that is not possible for the target, an
    /// unknown label, a decision about shapes without the annotation's hash, a note without text, …
    pub fn check(&self) -> Result<(), String> {
        if self.target.id().is_empty() {
            return Err("the image_id or patient_id is empty".to_owned());
        }
        if self.author.trim().is_empty() {
            return Err("the author is empty".to_owned());
        }
        if !is_time(&self.time) {
            return Err(format!(
                "time {:?}: expected YYYY-MM-DD or a time in UTC such as 2026-11-29T10:00:00Z",
                self.time
            ));
        }
        match (&self.target, &self.action) {
            (_, Action::Exclude {} | Action::Undo { .. }) | (Target::Patient(_), Action::SetMetadata { .. }) => {}
            (_, Action::SetMetadata { .. }) => return Err("set-metadata needs a patient_id".to_owned()),
            (Target::Patient(_), action) => return Err(format!("{} needs an image_id", action.name())),
            (Target::Image(_), _) => {}
        }
        match &self.annotation_sha256 {
            Some(hash) if hash.len() != 64 || !is_hex(hash) => {
                return Err(format!("annotation_sha256 {hash:?}: expected 64 hex digits"));
            }
            None if self.action.is_about_shapes() => {
                return Err(format!("{} needs annotation_sha256", self.action.name()));
            }
            _ => {}
        }
        if matches!(self.action, Action::Note { .. }) && self.reason.trim().is_empty() {
            return Err("a note needs a text: the reason is empty".to_owned());
        }
        self.action.check()
    }
}

/// The message without serde's `at line 1`, which readers would take for a line of the file.
fn message(error: serde_json::Error) -> String {
    if error.is_syntax() || error.is_eof() {
        return format!("not JSON (column {})", error.column());
    }
    let text = unknown_name(&error.to_string());
    match text.rsplit_once(" at line ") {
        Some((message, _)) if error.line() > 0 => format!("{message} (column {})", error.column()),
        _ => text,
    }
}

/// The message with plain words for a name that is not in serde's list: `unknown action `delete`; actions: exclude, …`.
fn unknown_name(message: &str) -> String {
    let parts = message.strip_prefix("unknown variant `").and_then(|rest| rest.split_once("`, expected "));
    let Some((name, rest)) = parts else { return message.to_owned() };
    let (known, place) = rest.rsplit_once(" at line ").unwrap_or((rest, ""));
    let known: Vec<&str> = known.split('`').skip(1).step_by(2).collect();
    let [one, many] = if known.contains(&"exclude") { ["action", "actions"] } else { ["name", "expected one of"] };
    let separator = if one == "action" { ":" } else { "" };
    let place = if place.is_empty() { String::new() } else { format!(" at line {place}") };
    format!("unknown {one} `{name}`; {many}{separator} {}{place}", known.join(", "))
}

/// `YYYY-MM-DD`, or an RFC 3339 time in UTC.
fn is_time(text: &str) -> bool {
    let is_date = || text.len() == 10 && NaiveDate::parse_from_str(text, "%Y-%m-%d").is_ok();
    DateTime::parse_from_rfc3339(text).map_or_else(|_| is_date(), |time| time.offset().local_minus_utc() == 0)
}
