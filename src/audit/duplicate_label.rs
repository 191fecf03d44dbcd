//! Labels that occur more than once in an image. A second shape apart from the first is usually another bone
//! under the wrong name; a speck (under 2 % of the area) is a slip of the tool and only medium.

use super::context::{Context, bone};
use super::{CheckKind, Finding};
use crate::bones::COUNT;

const SPECK_SHARE: f64 = 0.02;

pub(super) fn check(context: &Context) -> Vec<Finding> {
    let mut findings = Vec::new();
    for i in context.images() {
        for row in context.bones[i].iter().filter(|r| r.n_shapes > 1 && (r.class as usize) < COUNT) {
            let b = bone(row.class as usize);
            let apart = row.minor_parts_px as f64 / row.area_px.max(1) as f64;
            let speck = row.n_parts > 1 && apart < SPECK_SHARE;
            let absent: Vec<&str> = (0..COUNT)
                .filter(|c| context.bones[i].iter().all(|r| r.class as usize != *c))
                .map(|c| bone(c).name())
                .collect();
            let suggestion = match (speck, absent.is_empty()) {
                (true, _) => "delete the speck".to_owned(),
                (false, true) => format!("delete the shape that is not {b}"),
                (false, false) => format!("one of the shapes may be {}, which is missing", absent.join(" or ")),
            };
            let message = format!("{b} is drawn {} times, in {} parts", row.n_shapes, row.n_parts.max(1));
            let score = if speck { 1.5 } else { 4.0 };
            findings.push(Finding::of_image(CheckKind::DuplicateLabel, i, score, message, suggestion).with_bones([b]));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::synthetic::{Population, found};
    use super::*;

    #[test]
    fn a_label_used_twice_is_found_and_its_missing_neighbour_suggested() {
        let mut population = Population::new(4, 3);
        population.remove(3, "Trapezoid");
        population.bone(3, "Trapezium").n_shapes = 2;
        assert_eq!(found(&population, CheckKind::DuplicateLabel), vec![(3, "Trapezium".into())]);
        let findings = population.audit();
        let duplicate = findings.iter().find(|f| f.kind == CheckKind::DuplicateLabel).unwrap();
        assert!(duplicate.suggestion.contains("Trapezoid"), "{}", duplicate.suggestion);
    }
}
