//! Outlines that are no simple shape inside the image.

use super::context::{Context, bone};
use super::duplicate_label::in_parts;
use super::{CheckKind, Finding};
use crate::bones::{Bone, COUNT};
use crate::wording::counted;

/// When an outline is worth a look.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Thresholds {
    /// Vertices up to which an outline was drawn by hand. A crossing among few long edges cuts a piece out of
    /// the mask; among thousands of pixel steps it is a trace doubling back on itself and harmless.
    pub sparse_vertices: u32,
    /// Share of a bone's area in its minor parts from which they are parts of it and not specks.
    pub part_share: f64,
}

impl Default for Thresholds {
    fn default() -> Self {
        Thresholds { sparse_vertices: 200, part_share: 0.01 }
    }
}

pub(super) fn check(context: &Context) -> Vec<Finding> {
    let thresholds = &context.settings.polygons;
    let mut findings = Vec::new();
    for i in context.images() {
        let any_missing = context.bones[i].iter().filter(|r| r.area_px > 0).count() < COUNT;
        for row in context.bones[i].iter().filter(|r| (r.class as usize) < COUNT) {
            let b = bone(row.class as usize);
            let mut add = |kind, score: f64, message: String, suggestion: &str| {
                findings.push(Finding::of_image(kind, i, score, message, suggestion).with_bones([b]));
            };
            if row.n_crossings > 0 {
                let sparse = row.n_vertices <= thresholds.sparse_vertices;
                let score = if sparse { 1.4 + 0.1 * f64::from(row.n_crossings.min(10)) } else { 1.0 };
                add(
                    CheckKind::SelfIntersection,
                    score,
                    format!("the outline of {b} crosses itself {}", times(row.n_crossings)),
                    "redraw the outline where it crosses; what lies between is cut out of the mask",
                );
            }
            if row.n_outside > 0 {
                // Forearm bones leave the picture by nature; their outlines may run a pixel past the edge.
                let forearm = b == Bone::RADIUS || b == Bone::ULNA;
                add(
                    CheckKind::OutsideImage,
                    if forearm { 1.0 } else { 1.5 },
                    format!(
                        "{} of {} vertices of {b} {} outside the image",
                        row.n_outside,
                        row.n_vertices,
                        if row.n_outside == 1 { "lies" } else { "lie" }
                    ),
                    "check the outline against the image; it may belong to a picture of another size",
                );
            }
            if row.n_parts > 1 && (row.n_shapes <= 1 || in_parts(row, any_missing)) {
                let share = row.minor_parts_px as f64 / row.area_px.max(1) as f64;
                if share >= thresholds.part_share {
                    let message = format!("{b} is in {} parts; {:.1} % of it is apart", row.n_parts, 100.0 * share);
                    add(CheckKind::SeveralParts, 1.4 + share, message, "join the parts or delete what is not the bone");
                } else {
                    let message =
                        format!("{b} has {} next to it", counted(row.n_parts as usize - 1, "speck", "specks"));
                    add(CheckKind::TinyParts, 1.0, message, "delete the specks");
                }
            }
        }
    }
    findings
}

fn times(n: u32) -> String {
    if n == 1 { "once".to_owned() } else { format!("{n} times") }
}

#[cfg(test)]
mod tests {
    use super::super::Severity;
    use super::super::synthetic::{Population, found};
    use super::*;

    #[test]
    fn crossings_outside_vertices_and_parts_are_told_apart() {
        let mut population = Population::new(4, 5);
        population.bone(0, "Hamate").n_crossings = 2;
        population.bone(1, "Lunate").n_outside = 1;
        let area = population.bone(2, "Scaphoid").area_px;
        (population.bone(2, "Scaphoid").n_parts, population.bone(2, "Scaphoid").minor_parts_px) = (2, area / 20);
        (population.bone(3, "Scaphoid").n_parts, population.bone(3, "Scaphoid").minor_parts_px) = (2, area / 500);
        assert_eq!(found(&population, CheckKind::SelfIntersection), vec![(0, "Hamate".into())]);
        assert_eq!(found(&population, CheckKind::OutsideImage), vec![(1, "Lunate".into())]);
        assert_eq!(found(&population, CheckKind::SeveralParts), vec![(2, "Scaphoid".into())]);
        assert_eq!(found(&population, CheckKind::TinyParts), vec![(3, "Scaphoid".into())]);
    }

    #[test]
    fn a_crossing_matters_less_in_a_dense_outline() {
        let severity = |vertices| {
            let mut population = Population::new(3, 5);
            let bone = population.bone(0, "Radius");
            (bone.n_crossings, bone.n_vertices) = (1, vertices);
            let findings = population.audit();
            findings.iter().find(|f| f.kind == CheckKind::SelfIntersection).unwrap().severity()
        };
        assert_eq!((severity(40), severity(1400)), (Severity::Medium, Severity::Low));
    }
}
