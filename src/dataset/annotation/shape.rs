//! One entry of `annotations`.

use std::collections::BTreeSet;

use serde_json::Value;

use super::Shape;
use super::entry::{AnnotationEntry, MAX_COORDINATE, Points};
use crate::bones::Bone;
use crate::dataset::ProblemSeverity;
use crate::wording::counted;

/// The only type that is read.
pub const TYPE: &str = "poly_seg";

/// Points among which three different ones are looked for; that more are all in two places is no slip of the hand.
const MOST_COMPARED: usize = 16;

/// Something to say about an entry; a problem less its file.
pub struct Remark {
    pub severity: ProblemSeverity,
    pub place: String,
    pub raw: String,
    pub reason: String,
    pub action: String,
}

const LEFT_OUT: &str = "shape left out";

/// A shape with what was put right in it, or why it cannot be used.
pub type Read = Result<(Shape, Vec<Remark>), Remark>;

/// The place of a shape's label in problems.
pub fn label_place(index: usize) -> String {
    format!("annotations[{index}].label")
}

/// About a key that an object has more than once.
pub fn twice(place: String, key: &str) -> Remark {
    Remark {
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
    let mut remarks = Vec::new();
    match &kind {
        Some(Value::String(kind)) if kind == TYPE => {}
        None | Some(Value::Null) => remarks.push(Remark {
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
        other => return Err(unusable(at(".label"), other.as_ref(), "expected the name of a class as text".into())),
    };
    let vertices = read_vertices(points, index, &mut remarks)?;
    let distinct = vertices.iter().take(MOST_COMPARED).collect::<BTreeSet<_>>().len();
    if distinct < 3 && vertices.len() <= MOST_COMPARED {
        remarks.push(Remark {
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
            let nearest = Bone::read(&label);
            remarks.push(Remark {
                severity: if nearest.is_some() { ProblemSeverity::Info } else { ProblemSeverity::Warning },
                place: at(".label"),
                raw: label.clone(),
                reason: match nearest {
                    Some(bone) => format!("spelt otherwise than the class {bone}"),
                    None => "not one of the 29 classes".into(),
                },
                action: match nearest {
                    Some(bone) => format!("read as {bone}"),
                    None => "kept as a shape of no class".into(),
                },
            });
            nearest
        }
    };
    Ok((Shape { index, label, bone, points: vertices }, remarks))
}

fn place(index: usize, key: &str) -> String {
    format!("annotations[{index}]{key}")
}

fn unusable(place: String, value: Option<&Value>, reason: String) -> Remark {
    let raw = value.map(Value::to_string).unwrap_or_default();
    Remark { severity: ProblemSeverity::Error, place, raw, reason, action: LEFT_OUT.into() }
}

/// The vertices of the entry `index`, in whole pixels.
fn read_vertices(points: Option<Points>, index: usize, remarks: &mut Vec<Remark>) -> Result<Vec<[i32; 2]>, Remark> {
    let at = |key: &str| place(index, key);
    let points = match points {
        Some(Points::Whole(points)) => return Ok(points),
        Some(Points::Other(Value::Array(points))) if points.is_empty() => {
            return Err(unusable(at(".points"), Some(&points.into()), "no point; expected at least one".into()));
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
        remarks.push(Remark {
            severity: ProblemSeverity::Info,
            place: at(".points"),
            raw: String::new(),
            reason: format!("{fractional} of {} points are fractional; pixels are whole", points.len()),
            action: "rounded, halves to even".into(),
        });
    }
    Ok(vertices)
}

fn read_point(point: &Value) -> Result<[f64; 2], &'static str> {
    let Some([x, y]) = point.as_array().map(Vec::as_slice) else { return Err("expected [x, y]") };
    let (Some(x), Some(y)) = (x.as_f64(), y.as_f64()) else { return Err("expected two numbers") };
    // A number is finite by the JSON grammar; NaN has become null.
    if x.abs().max(y.abs()) > MAX_COORDINATE {
        return Err("a coordinate beyond 1,000,000 pixels");
    }
    Ok([x, y])
}
