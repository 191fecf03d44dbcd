//! Reads one entry of `annotations`.

use std::collections::BTreeSet;

use serde_json::Value;

use super::Shape;
use super::entry::{AnnotationEntry, MAX_COORDINATE, Points};
use crate::bones::Bone;
use crate::dataset::ProblemSeverity;
use crate::wording::counted;

/// The only supported `type`.
pub const TYPE: &str = "poly_seg";

/// Start of the reason of a problem with an unknown label.
pub(crate) const UNKNOWN_LABEL: &str = "not one of the 29 classes";
/// Start of the reason of a problem with a label that is spelled differently from its class.
pub(crate) const OTHER_SPELLING: &str = "different spelling of the class";

/// Outlines with at most this many points are checked for three different ones. Longer outlines with fewer do not occur
/// by mistake.
const MOST_COMPARED: usize = 16;

/// A problem with an entry, without the file.
pub struct EntryProblem {
    pub severity: ProblemSeverity,
    pub place: String,
    pub raw: String,
    pub reason: String,
    pub action: String,
}

const LEFT_OUT: &str = "shape left out";

/// A shape with the repairs made to it, or the reason why it cannot be used.
pub type Read = Result<(Shape, Vec<EntryProblem>), EntryProblem>;

/// The place of a shape's label in problems.
pub fn label_place(index: usize) -> String {
    format!("annotations[{index}].label")
}

/// The problem of a key that occurs more than once in an object.
pub fn repeated_key(place: String, key: &str) -> EntryProblem {
    EntryProblem {
        severity: ProblemSeverity::Warning,
        place,
        raw: String::new(),
        reason: format!("the key `{key}` occurs more than once in the same object"),
        action: "the last one is read; delete the others".into(),
    }
}

/// The shape of an entry.
pub fn read(entry: AnnotationEntry, index: usize) -> Read {
    let at = |key: &str| place(index, key);
    let (kind, label, points) = match entry {
        AnnotationEntry::Object { kind, label, points, .. } => (kind, label, points),
        AnnotationEntry::Other(value) => {
            return Err(unusable(at(""), Some(&value), "expected an object with `label` and `points`".into()));
        }
    };
    let mut problems = Vec::new();
    match &kind {
        Some(Value::String(kind)) if kind == TYPE => {}
        None | Some(Value::Null) => problems.push(EntryProblem {
            severity: ProblemSeverity::Info,
            place: at(""),
            raw: String::new(),
            reason: "no `type`".into(),
            action: format!("read as {TYPE}"),
        }),
        Some(other) => return Err(unusable(at(".type"), Some(other), format!("expected the type {TYPE}"))),
    }
    let label = match label {
        Some(Value::String(label)) => label,
        None => return Err(unusable(at(""), None, "no `label`".into())),
        other => return Err(unusable(at(".label"), other.as_ref(), "expected a class name as text".into())),
    };
    let vertices = read_vertices(points, index, &mut problems)?;
    let distinct = vertices.iter().take(MOST_COMPARED).collect::<BTreeSet<_>>().len();
    if distinct < 3 && vertices.len() <= MOST_COMPARED {
        problems.push(EntryProblem {
            severity: ProblemSeverity::Warning,
            place: at(".points"),
            raw: String::new(),
            reason: format!("an outline of {} encloses no area", counted(distinct, "point", "different points")),
            action: "drawn as a point or a line; draw it again or drop the shape".into(),
        });
    }
    let bone = match Bone::from_name(&label) {
        Some(bone) => Some(bone),
        None => {
            let bone = Bone::read(&label);
            let (severity, reason, action) = match bone {
                Some(bone) => (ProblemSeverity::Info, format!("{OTHER_SPELLING} {bone}"), format!("read as {bone}")),
                None => {
                    (ProblemSeverity::Warning, UNKNOWN_LABEL.to_owned(), "kept as a shape without class".to_owned())
                }
            };
            problems.push(EntryProblem { severity, place: at(".label"), raw: label.clone(), reason, action });
            bone
        }
    };
    Ok((Shape { index, label, bone, points: vertices }, problems))
}

fn place(index: usize, key: &str) -> String {
    format!("annotations[{index}]{key}")
}

fn unusable(place: String, value: Option<&Value>, reason: String) -> EntryProblem {
    let raw = value.map(Value::to_string).unwrap_or_default();
    EntryProblem { severity: ProblemSeverity::Error, place, raw, reason, action: LEFT_OUT.into() }
}

/// The vertices of the entry `index`, in whole pixels.
fn read_vertices(
    points: Option<Points>,
    index: usize,
    problems: &mut Vec<EntryProblem>,
) -> Result<Vec<[i32; 2]>, EntryProblem> {
    let at = |key: &str| place(index, key);
    let points = match points {
        Some(Points::Whole(points)) => return Ok(points),
        Some(Points::Other(Value::Array(points))) if points.is_empty() => {
            return Err(unusable(at(".points"), Some(&points.into()), "no points; expected at least one".into()));
        }
        Some(Points::Other(Value::Array(points))) => points,
        Some(Points::Other(other)) => {
            return Err(unusable(at(".points"), Some(&other), "expected an array of [x, y]".into()));
        }
        None => return Err(unusable(at(""), None, "no `points`".into())),
    };
    let mut fractional = 0;
    let mut vertices = Vec::with_capacity(points.len());
    for (i, point) in points.iter().enumerate() {
        let xy = read_point(point)
            .map_err(|reason| unusable(at(&format!(".points[{i}]")), Some(point), reason.to_owned()))?;
        fractional += usize::from(xy.iter().any(|v| v.fract() != 0.0));
        vertices.push(xy.map(|v| v.round_ties_even() as i32));
    }
    if fractional > 0 {
        problems.push(EntryProblem {
            severity: ProblemSeverity::Info,
            place: at(".points"),
            raw: String::new(),
            reason: format!("{fractional} of {} points are fractional; expected whole pixels", points.len()),
            action: "rounded, halves to even".into(),
        });
    }
    Ok(vertices)
}

fn read_point(point: &Value) -> Result<[f64; 2], &'static str> {
    let Some([x, y]) = point.as_array().map(Vec::as_slice) else { return Err("expected [x, y]") };
    let (Some(x), Some(y)) = (x.as_f64(), y.as_f64()) else { return Err("expected two numbers") };
    // In JSON every number is finite; NaN was replaced by null.
    if x.abs().max(y.abs()) > MAX_COORDINATE {
        return Err("expected coordinates from -1,000,000 to 1,000,000 pixels");
    }
    Ok([x, y])
}
