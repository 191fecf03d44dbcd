//! Faults of annotations; at most one is planted per image.

use super::draw::Draw;
use super::hand::{HandGeometry, TABLE_SIZE};
use crate::bones::{Bone, BoneGroup};
use crate::dataset::annotation::Shape;

/// A mistake of an annotator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LabelFault {
    /// Pisiform and Trapezoid have each other's label.
    SwappedPisiformTrapezoid,
    /// Two neighbouring bones have each other's label.
    SwappedNeighbours,
    /// The thumb's three labels are in the wrong order.
    ThumbOrder,
    /// Twelve labels on the wrong bones, as in one hand of the real data.
    Scrambled,
    /// A bone is not annotated.
    MissingLabel,
    /// A label occurs twice.
    DuplicateLabel,
    /// A label is not one of the classes.
    UnknownLabel,
    /// A polygon lies next to its bone.
    ShiftedLabel,
    /// A polygon crosses itself.
    SelfIntersection,
    /// Vertices lie outside the image.
    OutsideImage,
    /// An accidental second polygon of a few pixels.
    TinyPart,
    /// One bone drawn as two polygons with a gap.
    SeveralParts,
    /// The Pisiform's polygon lies on the Ulna.
    PisiformOverUlna,
}

use LabelFault as F;

impl LabelFault {
    /// Every kind.
    pub const ALL: [LabelFault; 13] = [
        F::SwappedPisiformTrapezoid,
        F::SwappedNeighbours,
        F::ThumbOrder,
        F::Scrambled,
        F::MissingLabel,
        F::DuplicateLabel,
        F::UnknownLabel,
        F::ShiftedLabel,
        F::SelfIntersection,
        F::OutsideImage,
        F::TinyPart,
        F::SeveralParts,
        F::PisiformOverUlna,
    ];

    /// Its kind in `truth.json`.
    pub fn kind(self) -> &'static str {
        match self {
            F::SwappedPisiformTrapezoid => "swapped_pisiform_trapezoid",
            F::SwappedNeighbours => "swapped_neighbours",
            F::ThumbOrder => "thumb_order",
            F::Scrambled => "scrambled_labels",
            F::MissingLabel => "missing_label",
            F::DuplicateLabel => "duplicate_label",
            F::UnknownLabel => "unknown_label",
            F::ShiftedLabel => "shifted_label",
            F::SelfIntersection => "self_intersection",
            F::OutsideImage => "outside_image",
            F::TinyPart => "tiny_part",
            F::SeveralParts => "several_parts",
            F::PisiformOverUlna => "pisiform_over_ulna",
        }
    }

    /// Plants the fault in the shapes of `hand` (one per bone, in channel order).
    pub fn plant(self, shapes: &mut Vec<Shape>, hand: &HandGeometry, draw: &mut Draw) -> PlantedFault {
        let k = f64::from(hand.size) / TABLE_SIZE;
        let limit = hand.size as i32 - 1;
        match self {
            F::SwappedPisiformTrapezoid => rename(shapes, &[("Pisiform", "Trapezoid"), ("Trapezoid", "Pisiform")]),
            F::SwappedNeighbours => {
                let a = any_bone(draw, |b| b.group() != BoneGroup::Forearm);
                let near: Vec<Bone> = a.neighbours().iter().copied().filter(|b| b.group() == a.group()).collect();
                let b = near[draw.below(near.len())];
                rename(shapes, &[(a.name(), b.name()), (b.name(), a.name())])
            }
            F::ThumbOrder => match draw.below(3) {
                0 => rename(shapes, &[("finger-1", "finger-3"), ("finger-3", "finger-1")]),
                1 => rename(shapes, &[("finger-1", "finger-2"), ("finger-2", "finger-3"), ("finger-3", "finger-1")]),
                _ => rename(shapes, &[("finger-1", "finger-3"), ("finger-2", "finger-1"), ("finger-3", "finger-2")]),
            },
            F::Scrambled => rename(shapes, &SCRAMBLED),
            F::MissingLabel => {
                let bone = any_bone(draw, |_| true);
                shapes.retain(|s| s.bone != Some(bone));
                PlantedFault::of_bone(bone, format!("{bone} left out"))
            }
            F::DuplicateLabel => duplicate(shapes, limit, k, draw),
            F::UnknownLabel => misspell(shapes, draw),
            F::ShiftedLabel => {
                let bone = any_bone(draw, |b| b.group() != BoneGroup::Forearm);
                let (dx, dy) = shift(&mut shapes[bone.index()], limit, k, draw);
                PlantedFault::of_bone(bone, format!("{bone} shifted by ({dx}, {dy}) px"))
            }
            F::SelfIntersection => {
                let bone = any_bone(draw, |b| b.group() != BoneGroup::Forearm);
                let points = &mut shapes[bone.index()].points;
                let n = points.len();
                // With a part of the outline in reverse order, its two connections to the rest cross.
                points[n / 8..n / 8 + n / 2].reverse();
                PlantedFault::of_bone(bone, format!("{bone}: half of the vertices in reverse order"))
            }
            F::OutsideImage => {
                let bone = if draw.chance(0.5) { Bone::RADIUS } else { Bone::ULNA };
                let beyond = (45.0 * k).ceil() as i32;
                for p in &mut shapes[bone.index()].points {
                    if p[1] >= limit {
                        p[1] += beyond;
                    }
                }
                PlantedFault::of_bone(bone, format!("{bone}: lowest vertices {beyond} px below the image"))
            }
            F::TinyPart => add_speck(shapes, limit, k, draw),
            F::SeveralParts => {
                let bone = any_bone(draw, |b| matches!(b.group(), BoneGroup::Finger(_)));
                split(shapes, hand, bone, k);
                PlantedFault::of_bone(bone, format!("{bone} drawn in two parts"))
            }
            F::PisiformOverUlna => move_pisiform_to_ulna(shapes, limit),
        }
    }
}

/// Description of a deliberate fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlantedFault {
    /// Labels that are wrong as written.
    pub labels: Vec<String>,
    /// The change, in words.
    pub detail: String,
}

impl PlantedFault {
    fn of_bone(bone: Bone, detail: impl Into<String>) -> PlantedFault {
        PlantedFault { labels: vec![bone.name().to_owned()], detail: detail.into() }
    }
}

/// Label of each bone and its wrong label in [`LabelFault::Scrambled`].
const SCRAMBLED: [(&str, &str); 12] = [
    ("finger-1", "finger-3"),
    ("finger-3", "finger-1"),
    ("Trapezium", "Hamate"),
    ("Hamate", "Trapezium"),
    ("Trapezoid", "Capitate"),
    ("Capitate", "Trapezoid"),
    ("Pisiform", "Scaphoid"),
    ("Scaphoid", "Triquetrum"),
    ("Triquetrum", "Lunate"),
    ("Lunate", "Pisiform"),
    ("Radius", "Ulna"),
    ("Ulna", "Radius"),
];

/// Draws a bone twice, slightly shifted, or gives its neighbour the same label.
fn duplicate(shapes: &mut Vec<Shape>, limit: i32, k: f64, draw: &mut Draw) -> PlantedFault {
    let bone = any_bone(draw, |b| b.group() != BoneGroup::Forearm);
    if draw.chance(0.5) {
        let mut again = shapes[bone.index()].clone();
        again.index = shapes.len();
        let d = (5.0 * k).ceil() as i32;
        again.points.iter_mut().for_each(|p| *p = [(p[0] + d).min(limit), (p[1] + d).min(limit)]);
        shapes.push(again);
        PlantedFault::of_bone(bone, format!("{bone} drawn twice"))
    } else {
        let near = bone.neighbours();
        let other = near[draw.below(near.len())];
        relabel(&mut shapes[other.index()], bone.name());
        let labels = vec![bone.name().to_owned(), other.name().to_owned()];
        PlantedFault { labels, detail: format!("{other} labelled {bone}, in addition to the {bone} itself") }
    }
}

/// Gives a bone an unknown label.
fn misspell(shapes: &mut [Shape], draw: &mut Draw) -> PlantedFault {
    let bone = any_bone(draw, |_| true);
    let name = bone.name();
    let wrong = match draw.below(4) {
        0 => format!("{name}2"),
        1 => name.to_uppercase(),
        2 => "finger-20".to_owned(),
        _ => name.chars().rev().collect(),
    };
    relabel(&mut shapes[bone.index()], &wrong);
    PlantedFault { labels: vec![wrong.clone()], detail: format!("{bone} labelled {wrong:?}") }
}

/// Adds a second tiny polygon of a bone, as from an accidental click.
fn add_speck(shapes: &mut Vec<Shape>, limit: i32, k: f64, draw: &mut Draw) -> PlantedFault {
    let bone = any_bone(draw, |b| b.group() != BoneGroup::Forearm);
    let [x, y] = shapes[bone.index()].points[0];
    let away = (30.0 * k).ceil() as i32;
    let (x, y) = (if x > limit / 2 { x - away } else { x + away }, if y > limit / 2 { y - away } else { y + away });
    let size = (3.0 * k).ceil() as i32;
    let points = vec![[x, y], [x + size, y], [x, y + size]];
    shapes.push(Shape { index: shapes.len(), label: bone.name().to_owned(), bone: Some(bone), points });
    PlantedFault::of_bone(bone, format!("{bone}: a second polygon of three vertices at ({x}, {y})"))
}

fn move_pisiform_to_ulna(shapes: &mut [Shape], limit: i32) -> PlantedFault {
    let [pisiform, ulna] = [25 + 1, Bone::ULNA.index()];
    let ([px, py], [ux, uy]) = (middle(&shapes[pisiform].points), middle(&shapes[ulna].points));
    let top = shapes[ulna].points.iter().map(|p| p[1]).min().unwrap_or(uy);
    let (dx, dy) = (ux - px, top + (uy - top) / 3 - py);
    shapes[pisiform].points.iter_mut().for_each(|p| *p = [p[0] + dx, (p[1] + dy).min(limit)]);
    PlantedFault { labels: vec!["Pisiform".to_owned()], detail: "Pisiform drawn over the Ulna".to_owned() }
}

fn any_bone(draw: &mut Draw, is_allowed: impl Fn(Bone) -> bool) -> Bone {
    let bones: Vec<Bone> = Bone::all().filter(|b| is_allowed(*b)).collect();
    bones[draw.below(bones.len())]
}

fn relabel(shape: &mut Shape, label: &str) {
    shape.label = label.to_owned();
    shape.bone = Bone::from_name(label);
}

/// Gives each shape labelled `from` the label `to`, for all pairs at once.
fn rename(shapes: &mut [Shape], pairs: &[(&str, &str)]) -> PlantedFault {
    for shape in shapes {
        if let Some((_, to)) = pairs.iter().find(|(from, _)| *from == shape.label) {
            relabel(shape, to);
        }
    }
    let detail: Vec<String> = pairs.iter().map(|(from, to)| format!("{from} labelled {to}")).collect();
    PlantedFault { labels: pairs.iter().map(|(from, _)| (*from).to_owned()).collect(), detail: detail.join("; ") }
}

fn middle(points: &[[i32; 2]]) -> [i32; 2] {
    let n = points.len().max(1) as i64;
    let sum = points.iter().fold([0i64; 2], |s, p| [s[0] + i64::from(p[0]), s[1] + i64::from(p[1])]);
    [(sum[0] / n) as i32, (sum[1] / n) as i32]
}

/// Moves a shape by more than half its length in a direction that keeps it in the image.
fn shift(shape: &mut Shape, limit: i32, k: f64, draw: &mut Draw) -> (i32, i32) {
    let range = |i: usize| {
        let values = shape.points.iter().map(|p| p[i]);
        (values.clone().min().unwrap_or(0), values.max().unwrap_or(0))
    };
    let ((x0, x1), (y0, y1)) = (range(0), range(1));
    let extent = f64::from(x1 - x0).hypot(f64::from(y1 - y0));
    let reach = (0.6 * extent).max(60.0 * k);
    let start = draw.uniform(0.0, std::f64::consts::TAU);
    // Try directions until it fits; towards the image's middle it always does.
    let (dx, dy) = (0..16)
        .map(|turn| start + f64::from(turn) * std::f64::consts::TAU / 16.0)
        .map(|a| ((reach * a.cos()).round() as i32, (reach * a.sin()).round() as i32))
        .find(|(dx, dy)| x0 + dx >= 0 && y0 + dy >= 0 && x1 + dx <= limit && y1 + dy <= limit)
        .unwrap_or((0, reach as i32));
    shape.points.iter_mut().for_each(|p| *p = [p[0] + dx, p[1] + dy]);
    (dx, dy)
}

/// Replaces a bone's polygon by its parts on both sides of a gap across its axis.
fn split(shapes: &mut Vec<Shape>, hand: &HandGeometry, bone: Bone, k: f64) {
    let (distal, proximal) = hand.axes[bone.index()];
    let length = distal.distance(proximal).max(1e-9);
    let (ux, uy) = ((distal.x - proximal.x) / length, (distal.y - proximal.y) / length);
    let along = |p: &[i32; 2]| {
        (f64::from(p[0]) - (distal.x + proximal.x) / 2.0) * ux + (f64::from(p[1]) - (distal.y + proximal.y) / 2.0) * uy
    };
    let half_gap = (5.0 * k).max(1.5);
    let points = shapes[bone.index()].points.clone();
    let part = |sign: f64| {
        let depth = |p: &[i32; 2]| sign * along(p) - half_gap;
        let mut kept = Vec::new();
        for i in 0..points.len() {
            let (a, b) = (points[i], points[(i + 1) % points.len()]);
            let (da, db) = (depth(&a), depth(&b));
            if da >= 0.0 {
                kept.push(a);
            }
            if (da >= 0.0) != (db >= 0.0) {
                let t = da / (da - db);
                let mix = |i: usize| (f64::from(a[i]) + t * f64::from(b[i] - a[i])).round() as i32;
                kept.push([mix(0), mix(1)]);
            }
        }
        kept.dedup();
        kept
    };
    let (upper, lower) = (part(1.0), part(-1.0));
    shapes[bone.index()].points = upper;
    shapes.push(Shape { index: shapes.len(), label: bone.name().to_owned(), bone: Some(bone), points: lower });
}
