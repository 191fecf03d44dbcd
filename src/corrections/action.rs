use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::bones::Bone;
use crate::dataset::layout::Side;

/// Version that this program writes.
pub const VERSION: u32 = 1;

/// What is done. `shape` is a place in the annotation file's `annotations`, from 0, as the original file has them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum Action {
    /// Leave an image, or a patient's images, out of folds and crops.
    Exclude {},
    /// Take an earlier exclusion back.
    Include {},
    /// Give one shape another label.
    Relabel {
        /// Which shape.
        shape: usize,
        /// Label it must have now, lest the correction hits something else.
        from: String,
        /// Label it gets: one of the 29.
        to: String,
    },
    /// Exchange two labels on all shapes; both must be there.
    Swap {
        /// One label.
        a: String,
        /// The other.
        b: String,
    },
    /// Rename labels in a ring: old → new, the same labels on both sides; all must be there.
    Permute {
        /// Old label → new label.
        mapping: BTreeMap<String, String>,
    },
    /// Leave a shape out.
    DropShape {
        /// Which shape.
        shape: usize,
        /// Label it must have now.
        label: String,
    },
    /// Draw a shape anew.
    ReplacePoints {
        /// Which shape.
        shape: usize,
        /// Label it must have now.
        label: String,
        /// The new outline.
        points: Vec<[i32; 2]>,
    },
    /// State which hand it is.
    SetSide {
        /// Left or right.
        side: Side,
    },
    /// Set a cell of the patients table; for a patient.
    SetMetadata {
        /// Which column.
        field: Field,
        /// `null` empties it.
        value: Value,
    },
    /// A finding was looked at and is fine.
    Accept {
        /// Name of the check.
        check: String,
        /// Label concerned; absent for the whole image.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        label: Option<String>,
    },
}

/// A column of the patients table that can be corrected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Field {
    /// `"F"` or `"M"`.
    Sex,
    /// Years.
    Age,
    /// Centimetres.
    HeightCm,
    /// Kilograms.
    WeightKg,
    /// Text.
    Note,
}

/// Whom a correction is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Target {
    /// One image, by its id (file stem).
    Image(String),
    /// A patient, by the id of the patients table.
    Patient(String),
}

/// One line of the file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(into = "Line", try_from = "Line")]
pub struct Correction {
    /// Whom it is about.
    pub target: Target,
    /// What is done.
    pub action: Action,
    /// SHA-256 of the annotation file that was judged; where it is given and the file has changed since,
    /// the correction is not applied.
    pub annotation_sha256: Option<String>,
    /// Why.
    pub reason: String,
    /// Who decided.
    pub author: String,
    /// When: `2026-03-01`, or with a time behind it.
    pub date: String,
}

#[derive(Clone, Serialize, Deserialize)]
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
    date: String,
}

impl From<Correction> for Line {
    fn from(c: Correction) -> Line {
        let (image_id, patient_id) = match c.target {
            Target::Image(id) => (Some(id), None),
            Target::Patient(id) => (None, Some(id)),
        };
        Line {
            version: VERSION,
            image_id,
            patient_id,
            action: c.action,
            annotation_sha256: c.annotation_sha256,
            reason: c.reason,
            author: c.author,
            date: c.date,
        }
    }
}

impl TryFrom<Line> for Correction {
    type Error = String;

    fn try_from(line: Line) -> Result<Correction, String> {
        if line.version != VERSION {
            return Err(format!("version {}: this program reads version {VERSION}", line.version));
        }
        let target = match (line.image_id, line.patient_id) {
            (Some(id), None) => Target::Image(id),
            (None, Some(id)) => Target::Patient(id),
            _ => return Err("expected either image_id or patient_id".to_owned()),
        };
        let correction = Correction {
            target,
            action: line.action,
            annotation_sha256: line.annotation_sha256,
            reason: line.reason,
            author: line.author,
            date: line.date,
        };
        correction.check()?;
        Ok(correction)
    }
}

impl Correction {
    /// Whether the correction makes sense by itself; the reason where it does not.
    pub fn check(&self) -> Result<(), String> {
        let (Target::Image(id) | Target::Patient(id)) = &self.target;
        if id.is_empty() {
            return Err("the image_id or patient_id is empty".to_owned());
        }
        if !is_date(&self.date) {
            return Err(format!("date {:?}: expected YYYY-MM-DD", self.date));
        }
        let of_patient = matches!(self.target, Target::Patient(_));
        match &self.action {
            Action::Exclude {} | Action::Include {} => return Ok(()),
            Action::SetMetadata { field, value } => {
                return if of_patient { field.check(value) } else { Err("set_metadata needs a patient_id".to_owned()) };
            }
            _ if of_patient => return Err("this action needs an image_id".to_owned()),
            _ => {}
        }
        let known = |label: &String| match Bone::from_name(label) {
            Some(_) => Ok(()),
            None => Err(format!("{label:?} is none of the 29 labels; `carpus list bones` names them")),
        };
        match &self.action {
            Action::Relabel { to, .. } => known(to),
            Action::Swap { a, b } => {
                known(a)?;
                known(b)?;
                if a == b { Err(format!("swap of {a} with itself")) } else { Ok(()) }
            }
            Action::Permute { mapping } => {
                let (from, to): (BTreeSet<_>, BTreeSet<_>) = (mapping.keys().collect(), mapping.values().collect());
                if mapping.is_empty() || from != to {
                    return Err("a permutation has the same labels on both sides".to_owned());
                }
                from.into_iter().try_for_each(known)
            }
            Action::ReplacePoints { points, .. } if points.is_empty() => {
                Err("no points; drop_shape leaves a shape out".to_owned())
            }
            Action::Accept { check, .. } if check.is_empty() => Err("accept names no check".to_owned()),
            _ => Ok(()),
        }
    }
}

impl Field {
    fn check(self, value: &Value) -> Result<(), String> {
        let good = match (self, value) {
            (_, Value::Null) => true,
            (Field::Sex, Value::String(s)) => s == "F" || s == "M",
            (Field::Note, Value::String(_)) => true,
            (Field::Age | Field::HeightCm | Field::WeightKg, Value::Number(n)) => {
                n.as_f64().is_some_and(|v| v.is_finite() && v > 0.0)
            }
            _ => false,
        };
        let expected = match self {
            Field::Sex => "\"F\", \"M\" or null",
            Field::Note => "a text or null",
            _ => "a number above 0 or null",
        };
        if good { Ok(()) } else { Err(format!("value {value}: expected {expected}")) }
    }
}

/// `YYYY-MM-DD`, alone or with `T…` behind it.
fn is_date(text: &str) -> bool {
    let (day, rest) = text.split_at_checked(10).unwrap_or(("", text));
    let shaped = day.char_indices().all(|(i, c)| if i == 4 || i == 7 { c == '-' } else { c.is_ascii_digit() });
    let within = |range: std::ops::Range<usize>, low: u32, high: u32| {
        day.get(range).and_then(|t| t.parse::<u32>().ok()).is_some_and(|v| (low..=high).contains(&v))
    };
    shaped && within(5..7, 1, 12) && within(8..10, 1, 31) && (rest.is_empty() || rest.starts_with(['T', ' ']))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(target: &str, action: &str) -> Result<Correction, String> {
        let text =
            format!(r#"{{"version":1,{target},"action":{action},"reason":"seen","author":"kim","date":"2026-03-01"}}"#);
        let read: Result<Correction, _> = serde_json::from_str(&text);
        if let Ok(correction) = &read {
            assert_eq!(serde_json::to_string(correction).unwrap(), text, "written as read");
        }
        read.map_err(|e| e.to_string())
    }

    #[test]
    fn every_action_is_read_and_written() {
        let image = r#""image_id":"image1""#;
        for action in [
            r#"{"do":"exclude"}"#,
            r#"{"do":"include"}"#,
            r#"{"do":"relabel","shape":3,"from":"finger-20","to":"finger-2"}"#,
            r#"{"do":"swap","a":"Pisiform","b":"Trapezoid"}"#,
            r#"{"do":"permute","mapping":{"Capitate":"Hamate","Hamate":"Lunate","Lunate":"Capitate"}}"#,
            r#"{"do":"drop_shape","shape":0,"label":"Ulna"}"#,
            r#"{"do":"replace_points","shape":0,"label":"Ulna","points":[[1,2],[3,-4]]}"#,
            r#"{"do":"set_side","side":"L"}"#,
            r#"{"do":"accept","check":"side"}"#,
            r#"{"do":"accept","check":"size","label":"Ulna"}"#,
        ] {
            parse(image, action).unwrap_or_else(|e| panic!("{action}: {e}"));
        }
        let patient = r#""patient_id":"040""#;
        for action in [r#"{"do":"exclude"}"#, r#"{"do":"set_metadata","field":"height_cm","value":171.5}"#] {
            parse(patient, action).unwrap_or_else(|e| panic!("{action}: {e}"));
        }
    }

    #[test]
    fn senseless_lines_are_refused_with_the_reason() {
        let image = r#""image_id":"image1""#;
        for (target, action, reason) in [
            (image, r#"{"do":"delete"}"#, "unknown variant"),
            (image, r#"{"do":"exclude","shape":3}"#, "unknown field"),
            (image, r#"{"do":"relabel","shape":3,"from":"Ulna","to":"Elbow"}"#, "none of the 29"),
            (image, r#"{"do":"swap","a":"Ulna","b":"Ulna"}"#, "itself"),
            (image, r#"{"do":"permute","mapping":{"Capitate":"Hamate"}}"#, "both sides"),
            (image, r#"{"do":"permute","mapping":{"Capitate":"Hamate","Lunate":"Hamate"}}"#, "both sides"),
            (image, r#"{"do":"replace_points","shape":0,"label":"Ulna","points":[]}"#, "no points"),
            (image, r#"{"do":"set_metadata","field":"age","value":3}"#, "patient_id"),
            (image, r#"{"do":"set_side","side":"left"}"#, "unknown variant"),
            (r#""patient_id":"1""#, r#"{"do":"swap","a":"Ulna","b":"Radius"}"#, "image_id"),
            (r#""patient_id":"1""#, r#"{"do":"set_metadata","field":"sex","value":"W"}"#, "expected \"F\""),
            (r#""patient_id":"1""#, r#"{"do":"set_metadata","field":"age","value":"3"}"#, "number above 0"),
            (r#""patient_id":"1","image_id":"a""#, r#"{"do":"exclude"}"#, "either"),
        ] {
            let error = parse(target, action).unwrap_err();
            assert!(error.contains(reason), "{action}: {error}");
        }
    }

    #[test]
    fn dates() {
        for good in ["2026-03-01", "2026-12-31T10:00:00Z", "2026-12-31 10:00"] {
            assert!(is_date(good), "{good}");
        }
        for wrong in ["", "2026-3-1", "01.03.2026", "2026-13-01", "2026-03-01x", "2026-03-0한"] {
            assert!(!is_date(wrong), "{wrong}");
        }
    }
}
