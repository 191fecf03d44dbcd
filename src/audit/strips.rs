//! Reports bright strips along the top and left edges. They are common and cleaning removes them, so the severity is
//! low.
//!
//! Why it matters: preprocessing that crops a fixed margin leaves the rest of wider strips.
//!
//! Example: a white strip of 40 px along the top edge.

use polars::lazy::dsl::max_horizontal;
use polars::prelude::*;

use super::context::AuditContext;
use super::{Check, Detection, EvidenceKind, Finding, Severity};

/// Strips that are reported.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StripsThresholds {
    /// Smallest width as a share of the image's side; a single row of pixels may be bright by chance.
    pub min_share: f64,
}

impl Default for StripsThresholds {
    fn default() -> Self {
        StripsThresholds { min_share: 3.0 / 2048.0 }
    }
}

pub(super) const CHECK: Check = Check {
    name: "border_strip",
    about: "bright strips along the image's edges",
    ceiling: Severity::Low,
    evidence: EvidenceKind::Image,
    faults: &[
        ("strip_top", Detection::AnyBone),
        ("strip_left", Detection::AnyBone),
        ("border_strip", Detection::AnyBone),
    ],
    find,
};

fn find(context: &AuditContext) -> PolarsResult<Vec<Finding>> {
    let share = |px: &str, side: &str| col(px).fill_null(lit(0)).cast(DataType::Float64) / col(side).clip_min(lit(1));
    let widest = max_horizontal([share("strip_top_px", "height"), share("strip_left_px", "width")])?;
    let is_strip = widest.clone().gt_eq(lit(context.settings.strips.min_share));
    let strips = context.scored(when(is_strip).then(widest + lit(1.0)).otherwise(lit(NULL)))?.into_iter();
    let finding = |(i, score)| {
        let (top, left) = (context.image(i).strip_top_px.unwrap_or(0), context.image(i).strip_left_px.unwrap_or(0));
        let message = format!("bright strips along the edges: {top} px at the top, {left} px at the left");
        Finding::of_image(&CHECK, i, score, message, "remove the strips with `carpus clean`, or crop the image")
    };
    Ok(strips.map(finding).collect())
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
