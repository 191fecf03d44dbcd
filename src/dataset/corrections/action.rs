use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::bones::Bone;
use crate::dataset::Side;
use crate::dataset::annotation::MAX_COORDINATE;

/// What was decided.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Action {
    /// Leave out an image, or all images of a patient.
    Exclude {},
    /// Give shapes another label.
    Relabel(Relabel),
    /// Leave out a shape.
    Drop {
        /// Which shape.
        shape: ShapeRef,
    },
    /// Give a shape another outline.
    Replace {
        /// Which shape.
        shape: ShapeRef,
        /// Its vertices `[x, y]`, in pixels of the original image.
        points: Vec<[i32; 2]>,
    },
    /// State which hand an image shows.
    SetSide {
        /// Left or right.
        side: Side,
    },
    /// Set a column of the patients table; for a patient.
    SetMetadata {
        /// Which column.
        field: Field,
        /// `null` empties it.
        value: Value,
    },
    /// What a check found was looked at and is fine.
    Keep {
        /// Name of the check; absent for all checks.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        check: Option<String>,
        /// Label of the finding, several joined by `|`; absent for all findings of the check.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        label: Option<String>,
    },
    /// A remark; the reason is its text.
    Note {
        /// Where in the image, in its pixels.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        point: Option<[i32; 2]>,
    },
    /// A second reader should look.
    Flag {
        /// As for `Keep`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        check: Option<String>,
        /// As for `Keep`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        label: Option<String>,
    },
    /// Put an earlier decision out of force. It names the image or patient of that decision too.
    Undo {
        /// Id of that decision.
        decision: String,
    },
}

/// A shape of an annotation. The decision's `annotation_sha256` says of which annotation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShapeRef {
    /// Its place in the original annotation, from 0; earlier decisions do not change it.
    pub index: usize,
    /// The label it has when the decision is applied, that is after all earlier decisions.
    pub label: String,
}

/// The two forms of a relabelling.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Fields", into = "Fields")]
pub enum Relabel {
    /// One shape.
    Shape {
        /// Which shape.
        shape: ShapeRef,
        /// Its new label, one of the 29.
        to: String,
    },
    /// All shapes of these labels at once: old label → new label. Exchanges and rings are possible.
    Labels(BTreeMap<String, String>),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    shape: Option<ShapeRef>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    to: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    labels: Option<BTreeMap<String, String>>,
}

impl From<Relabel> for Fields {
    fn from(relabel: Relabel) -> Fields {
        match relabel {
            Relabel::Shape { shape, to } => Fields { shape: Some(shape), to: Some(to), labels: None },
            Relabel::Labels(labels) => Fields { shape: None, to: None, labels: Some(labels) },
        }
    }
}

impl TryFrom<Fields> for Relabel {
    type Error = &'static str;

    fn try_from(fields: Fields) -> Result<Relabel, &'static str> {
        match (fields.shape, fields.to, fields.labels) {
            (Some(shape), Some(to), None) => Ok(Relabel::Shape { shape, to }),
            (None, None, Some(labels)) => Ok(Relabel::Labels(labels)),
            _ => Err("relabel needs either `shape` and `to`, or `labels`"),
        }
    }
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

/// What each action does, and an example of it.
pub const ACTIONS: [(&str, &str); 11] = [
    ("leave out an image, or all images of a patient", r#"{"do":"exclude"}"#),
    ("give one shape another label", r#"{"do":"relabel","shape":{"index":3,"label":"finger-20"},"to":"finger-2"}"#),
    (
        "rename all shapes of these labels at once",
        r#"{"do":"relabel","labels":{"Pisiform":"Trapezoid","Trapezoid":"Pisiform"}}"#,
    ),
    ("leave out a shape", r#"{"do":"drop","shape":{"index":0,"label":"Ulna"}}"#),
    (
        "give a shape another outline",
        r#"{"do":"replace","shape":{"index":0,"label":"Ulna"},"points":[[10,20],[30,20],[20,40]]}"#,
    ),
    ("state which hand an image shows: L or R", r#"{"do":"set-side","side":"L"}"#),
    (
        "set sex, age, height_cm, weight_kg or note of a patient; null empties it",
        r#"{"do":"set-metadata","field":"height_cm","value":171.5}"#,
    ),
    (
        "what a check found is fine; without check or label: all its findings in the image",
        r#"{"do":"keep","check":"size","label":"Ulna"}"#,
    ),
    ("a remark, with or without a point; its text is the reason", r#"{"do":"note","point":[120,340]}"#),
    ("ask for a second reader; check and label may be absent", r#"{"do":"flag","check":"size","label":"Ulna"}"#),
    ("put an earlier decision out of force, an undo too", r#"{"do":"undo","decision":"0123456789ab"}"#),
];

impl Action {
    /// As in the file: `exclude`, `set-side`, …
    pub fn name(&self) -> String {
        serde_json::to_value(self).ok().and_then(|v| v["do"].as_str().map(str::to_owned)).unwrap_or_default()
    }

    /// Whether it changes an annotation.
    pub fn is_about_shapes(&self) -> bool {
        matches!(self, Action::Relabel(_) | Action::Drop { .. } | Action::Replace { .. })
    }

    /// Whether the action is possible at all; the reason where it is not.
    pub(super) fn check(&self) -> Result<(), String> {
        match self {
            Action::Relabel(Relabel::Shape { to, .. }) => known(to),
            Action::Relabel(Relabel::Labels(labels)) => check_labels(labels),
            Action::Replace { points, .. } if points.len() < 3 => {
                Err(format!("{} points: an outline has at least 3; `drop` leaves a shape out", points.len()))
            }
            Action::Replace { points, .. } => points.iter().try_for_each(within),
            Action::Note { point } => point.iter().try_for_each(within),
            Action::SetMetadata { field, value } => field.check(value),
            Action::Keep { check, label } | Action::Flag { check, label } => {
                if check.as_ref().is_some_and(String::is_empty) {
                    return Err("`check` is empty; leave it out for all checks".to_owned());
                }
                label.iter().flat_map(|l| l.split('|')).try_for_each(known)
            }
            Action::Undo { decision } if decision.len() != ID_LENGTH || !is_hex(decision) => {
                Err(format!("{decision:?} is no id of a decision; `carpus list corrections FILE` prints the ids"))
            }
            Action::Exclude {} | Action::Drop { .. } | Action::SetSide { .. } | Action::Undo { .. } => Ok(()),
        }
    }
}

/// Digits of a decision's id.
pub(super) const ID_LENGTH: usize = 12;

/// Lower-case hex digits alone.
pub(super) fn is_hex(text: &str) -> bool {
    text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

fn known(label: &str) -> Result<(), String> {
    match Bone::from_name(label) {
        Some(_) => Ok(()),
        None => Err(format!("{label:?} is none of the 29 labels; `carpus list bones` names them")),
    }
}

fn check_labels(labels: &BTreeMap<String, String>) -> Result<(), String> {
    labels.values().try_for_each(|to| known(to))?;
    if labels.is_empty() {
        return Err("`labels` is empty".to_owned());
    }
    if let Some((same, _)) = labels.iter().find(|(from, to)| from == to) {
        return Err(format!("{same} is renamed to itself"));
    }
    let mut targets = BTreeSet::new();
    match labels.values().find(|to| !targets.insert(*to)) {
        Some(twice) => Err(format!("two labels are renamed to {twice} and would merge")),
        None => Ok(()),
    }
}

fn within(point: &[i32; 2]) -> Result<(), String> {
    match point.iter().find(|v| f64::from(**v).abs() > MAX_COORDINATE) {
        Some(far) => Err(format!("coordinate {far}: more than 1,000,000 pixels")),
        None => Ok(()),
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
