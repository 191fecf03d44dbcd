//! Bright strips along the top and the left edge. They are common and cleaning removes them, so they are low;
//! but fixed cuts remove only so much.

use super::context::Context;
use super::{Answer, Check, Evidence, Finding, Severity};

/// When a strip is worth a line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Thresholds {
    /// Least width as a share of the image's side; a pixel row may be bright by chance.
    pub least_share: f64,
}

impl Default for Thresholds {
    fn default() -> Self {
        Thresholds { least_share: 3.0 / 2048.0 }
    }
}

pub(super) const CHECK: Check = Check {
    name: "border_strip",
    about: "bright strips along the image's edges",
    ceiling: Severity::Low,
    evidence: Evidence::Image,
    faults: &[("strip_top", Answer::One), ("strip_left", Answer::One), ("border_strip", Answer::One)],
    find,
};

fn find(context: &Context) -> Vec<Finding> {
    let mut findings = Vec::new();
    for i in context.images() {
        let row = context.image(i);
        let (top, left) = (row.strip_top_px.unwrap_or(0), row.strip_left_px.unwrap_or(0));
        let share = |px: u32, side: u32| f64::from(px) / f64::from(side.max(1));
        let most = share(top, row.height).max(share(left, row.width));
        if most >= context.settings.strips.least_share {
            let message = format!("a bright strip of {top} px at the top and {left} px at the left");
            findings.push(Finding::of_image(&CHECK, i, 1.0 + most, message, "remove it when cleaning, or cut it off"));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::synthetic::{Population, found};
    use super::*;

    #[test]
    fn strips_are_found_on_either_edge() {
        let mut population = Population::new(3, 71);
        population.tables.images[1].strip_top_px = Some(40);
        population.tables.images[2].strip_left_px = Some(12);
        population.tables.images[3].strip_left_px = Some(1);
        assert_eq!(found(&population, &CHECK), vec![(1, String::new()), (2, String::new())]);
    }
}
