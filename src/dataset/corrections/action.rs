use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::bones::Bone;
use crate::closed_enum::closed_enum;
use crate::dataset::Side;
use crate::dataset::annotation::MAX_COORDINATE;
use crate::dataset::metadata::{AGE, HEIGHT_CM, WEIGHT_KG};
use crate::wording::counted;

/// A correction.
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
    /// Set the side of an image.
    SetSide {
        /// Left or right.
        side: Side,
    },
    /// Set a column of the patients table for a patient.
    SetMetadata {
        /// Which column.
        field: CorrectableField,
        /// The value; `null` empties the cell.
        value: Value,
    },
    /// Accept a check's findings: they were looked at and need no correction.
    Keep {
        /// Name of the check; absent for all checks.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        check: Option<String>,
        /// Label of the finding, several joined by `|`; absent for all findings of the check.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        label: Option<String>,
    },
    /// A note; the decision's reason is its text.
    Note {
        /// Point of the image that the note is about, in its pixels.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        point: Option<[i32; 2]>,
    },
    /// Mark for checking by another person.
    Flag {
        /// As for `Keep`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        check: Option<String>,
        /// As for `Keep`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        label: Option<String>,
    },
    /// Make an earlier decision inactive. The target must be that of the earlier decision.
    Undo {
        /// Id of that decision.
        decision: String,
    },
}

/// A shape of the annotation that the decision's `annotation_sha256` identifies.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShapeRef {
    /// Its position in the original annotation, from 0; earlier decisions do not change it.
    pub index: usize,
    /// Its label when the decision is applied, that is, after all earlier decisions.
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
    /// All shapes of these labels at once. Swaps and cycles are possible.
    Labels {
        /// Old label → new label.
        labels: BTreeMap<String, String>,
        /// All shapes that have one of the old labels when the decision is applied. Without this list, a swap that two
        /// people decide would be applied twice and so have no effect.
        shapes: Vec<ShapeRef>,
    },
}

impl Relabel {
    /// The shapes that get another label, by their positions in the annotation.
    pub fn indices(&self) -> BTreeSet<usize> {
        match self {
            Relabel::Shape { shape, .. } => BTreeSet::from([shape.index]),
            Relabel::Labels { shapes, .. } => shapes.iter().map(|s| s.index).collect(),
        }
    }
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
    #[serde(default, skip_serializing_if = "Option::is_none")]
    shapes: Option<Vec<ShapeRef>>,
}

impl From<Relabel> for Fields {
    fn from(relabel: Relabel) -> Fields {
        match relabel {
            Relabel::Shape { shape, to } => Fields { shape: Some(shape), to: Some(to), labels: None, shapes: None },
            Relabel::Labels { labels, shapes } => {
                Fields { shape: None, to: None, labels: Some(labels), shapes: Some(shapes) }
            }
        }
    }
}

impl TryFrom<Fields> for Relabel {
    type Error = &'static str;

    fn try_from(fields: Fields) -> Result<Relabel, &'static str> {
        match (fields.shape, fields.to, fields.labels, fields.shapes) {
            (Some(shape), Some(to), None, None) => Ok(Relabel::Shape { shape, to }),
            (None, None, Some(labels), Some(shapes)) => Ok(Relabel::Labels { labels, shapes }),
            (None, None, Some(_), None) => Err("relabel by `labels` needs `shapes`, the shapes with these labels; \
                 add the decision again with `carpus corrections add`"),
            _ => Err("relabel needs either `shape` and `to`, or `labels` and `shapes`"),
        }
    }
}

closed_enum! {
    /// A column of the patients table that can be corrected.
    pub enum CorrectableField ("field") {
        /// `"F"` or `"M"`.
        Sex = "sex",
        /// Years.
        Age = "age",
        /// Centimetres.
        HeightCm = "height_cm",
        /// Kilograms.
        WeightKg = "weight_kg",
        /// Text.
        Note = "note",
    }
}

/// Description and example of each action.
pub const ACTIONS: [(&str, &str); 11] = [
    ("leave out an image, or all images of a patient", r#"{"do":"exclude"}"#),
    ("give one shape another label", r#"{"do":"relabel","shape":{"index":3,"label":"finger-20"},"to":"finger-2"}"#),
    (
        "rename all shapes of these labels at once",
        r#"{"do":"relabel","labels":{"Pisiform":"Trapezoid","Trapezoid":"Pisiform"},"shapes":[{"index":16,"label":"Pisiform"},{"index":20,"label":"Trapezoid"}]}"#,
    ),
    ("leave out a shape", r#"{"do":"drop","shape":{"index":0,"label":"Ulna"}}"#),
    (
        "give a shape another outline",
        r#"{"do":"replace","shape":{"index":0,"label":"Ulna"},"points":[[10,20],[30,20],[20,40]]}"#,
    ),
    ("set the side of an image: L or R", r#"{"do":"set-side","side":"L"}"#),
    (
        "set sex, age, height_cm, weight_kg or note of a patient; null empties it",
        r#"{"do":"set-metadata","field":"height_cm","value":171.5}"#,
    ),
    (
        "mark the annotation as correct: the finding is no longer listed; without check and label: all findings of the image",
        r#"{"do":"keep","check":"size","label":"Ulna"}"#,
    ),
    ("add a note, with or without a point; the reason is its text", r#"{"do":"note","point":[120,340]}"#),
    (
        "mark for checking by another person; check and label are optional",
        r#"{"do":"flag","check":"size","label":"Ulna"}"#,
    ),
    ("undo an earlier decision, which may be an undo itself", r#"{"do":"undo","decision":"0123456789ab"}"#),
];

impl Action {
    /// Name in the file: `exclude`, `set-side`, …
    pub fn name(&self) -> String {
        serde_json::to_value(self).ok().and_then(|v| v["do"].as_str().map(str::to_owned)).unwrap_or_default()
    }

    /// Whether it changes the shapes of an annotation.
    pub fn is_about_shapes(&self) -> bool {
        matches!(self, Action::Relabel(_) | Action::Drop { .. } | Action::Replace { .. })
    }

    /// Checks that the action is valid, without the data; the error is the reason.
    pub(super) fn check(&self) -> Result<(), String> {
        match self {
            Action::Relabel(Relabel::Shape { shape, to }) if shape.label == *to => {
                Err(format!("shape {} has the label {to} already", shape.index))
            }
            Action::Relabel(Relabel::Shape { to, .. }) => check_label(to),
            Action::Relabel(Relabel::Labels { labels, shapes }) => {
                check_labels(labels).and_then(|()| check_shapes(labels, shapes))
            }
            Action::Replace { points, .. } if points.iter().collect::<BTreeSet<_>>().len() < 3 => {
                let different = counted(points.iter().collect::<BTreeSet<_>>().len(), "point", "different points");
                Err(format!("{different}: an outline has at least 3; `drop` leaves a shape out"))
            }
            Action::Replace { points, .. } => points.iter().try_for_each(check_point),
            Action::Note { point } => point.iter().try_for_each(check_point),
            Action::SetMetadata { field, value } => field.check(value),
            Action::Keep { check, label } | Action::Flag { check, label } => {
                if check.as_ref().is_some_and(String::is_empty) {
                    return Err("`check` is empty; leave it out for all checks".to_owned());
                }
                label.iter().flat_map(|l| l.split('|')).try_for_each(check_label)
            }
            Action::Undo { decision } if decision.len() != ID_LENGTH || !is_hex(decision) => {
                Err(format!("{decision:?} is no decision id; `carpus list corrections FILE` prints the ids"))
            }
            Action::Exclude {} | Action::Drop { .. } | Action::SetSide { .. } | Action::Undo { .. } => Ok(()),
        }
    }
}

/// Number of digits of a decision's id.
pub(super) const ID_LENGTH: usize = 12;

/// Whether the text consists of lower-case hex digits.
pub(super) fn is_hex(text: &str) -> bool {
    text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

fn check_label(label: &str) -> Result<(), String> {
    match Bone::from_name(label) {
        Some(_) => Ok(()),
        None => Err(unknown_label(label)),
    }
}

/// Message that a text is not the name of a bone, with the most similar name.
pub fn unknown_label(text: &str) -> String {
    let meant = Bone::read(text).or_else(|| Bone::nearest(text));
    let meant = meant.map(|bone| format!("; did you mean {bone}?")).unwrap_or_default();
    format!("{text:?} is not a bone{meant} (`carpus list bones` prints the names)")
}

/// Checks that every shape has one of the old labels and that every old label has a shape.
fn check_shapes(labels: &BTreeMap<String, String>, shapes: &[ShapeRef]) -> Result<(), String> {
    let mut indices = BTreeSet::new();
    for ShapeRef { index, label } in shapes {
        if !labels.contains_key(label) {
            return Err(format!("`shapes` contains shape {index} with the label {label:?}, which is not renamed"));
        }
        if !indices.insert(index) {
            return Err(format!("`shapes` contains shape {index} twice"));
        }
    }
    match labels.keys().find(|from| !shapes.iter().any(|s| s.label == **from)) {
        Some(from) => Err(format!("no shape is labelled {from}: `shapes` contains none")),
        None => Ok(()),
    }
}

fn check_labels(labels: &BTreeMap<String, String>) -> Result<(), String> {
    labels.values().try_for_each(|to| check_label(to))?;
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

fn check_point(point: &[i32; 2]) -> Result<(), String> {
    match point.iter().find(|v| f64::from(**v).abs() > MAX_COORDINATE) {
        Some(far) => Err(format!("coordinate {far}: expected -1,000,000 to 1,000,000 pixels")),
        None => Ok(()),
    }
}

impl CorrectableField {
    /// Its name in messages about the spreadsheet.
    pub fn word(self) -> &'static str {
        match self {
            CorrectableField::Sex => "sex",
            CorrectableField::Age => "age",
            CorrectableField::HeightCm => "height",
            CorrectableField::WeightKg => "weight",
            CorrectableField::Note => "note",
        }
    }

    /// Its valid values, for messages. Numbers have the limits of the spreadsheet.
    pub fn expected(self) -> String {
        match self.limits() {
            Some(limits) => format!("a number from {} to {}", limits.start(), limits.end()),
            None if self == CorrectableField::Sex => "F or M".to_owned(),
            None => "a text".to_owned(),
        }
    }

    fn limits(self) -> Option<RangeInclusive<f64>> {
        match self {
            CorrectableField::Age => Some(AGE),
            CorrectableField::HeightCm => Some(HEIGHT_CM),
            CorrectableField::WeightKg => Some(WEIGHT_KG),
            CorrectableField::Sex | CorrectableField::Note => None,
        }
    }

    /// Checks that the value is valid for the field.
    ///
    /// # Errors
    /// The message: field, value and the expected values.
    pub fn check(self, value: &Value) -> Result<(), String> {
        let is_valid = match (value, self.limits()) {
            (Value::Null, _) => true,
            (Value::Number(number), Some(limits)) => number.as_f64().is_some_and(|v| limits.contains(&v)),
            (Value::String(text), None) => self == CorrectableField::Note || text == "F" || text == "M",
            _ => false,
        };
        if is_valid { Ok(()) } else { Err(format!("{} {value}: expected {}, or null", self.name(), self.expected())) }
    }
}
