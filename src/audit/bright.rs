//! Reports images with many more bright pixels than the others.
//!
//! Why it matters: rings, implants, nail art and markers hide bones and are rare, so a model has few examples
//! to learn from.
//!
//! Example: a ring on finger-6 of one patient makes 0.070 % of the image bright; 0.001 % is usual.

use std::f64::consts::E;

use polars::lazy::dsl::min_horizontal;
use polars::prelude::*;

use super::context::AuditContext;
use super::{Check, Detection, EvidenceKind, Finding, Severity};
use crate::stats::robust;
use crate::tables::numbers;

/// Brightness that is reported. A score of 1 requires both `z` and `min_px`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BrightThresholds {
    /// Robust z score of the log of the bright area.
    pub z: f64,
    /// Smallest bright area above the median, in px of a 2048 x 2048 image: half of a narrow ring.
    pub min_px: f64,
    /// Lower limit of the spread of the log: the spread is 0 where most images have no bright pixel.
    pub min_spread: f64,
}

impl Default for BrightThresholds {
    fn default() -> Self {
        BrightThresholds { z: 3.5, min_px: 400.0, min_spread: 0.4 }
    }
}

pub(super) const CHECK: Check = Check {
    name: "bright_pixels",
    about: "unusually many bright pixels, as from rings, implants and nail art",
    ceiling: Severity::Medium,
    evidence: EvidenceKind::Image,
    faults: &[("ring", Detection::AnyBone), ("implant", Detection::AnyBone), ("nail_art", Detection::AnyBone)],
    find,
};

fn find(context: &AuditContext) -> PolarsResult<Vec<Finding>> {
    let thresholds = &context.settings.bright;
    let field = col("width").cast(DataType::Float64) * col("height").cast(DataType::Float64);
    let px = col("bright_px").cast(DataType::Float64) * lit(2048.0 * 2048.0) / field;
    let log = (px.clone() + lit(50.0)).log(lit(E));
    let centre_and_spread = robust::centre_and_spread(&numbers(&context.hands, log.clone())?);
    let Some((centre, spread)) = centre_and_spread else { return Ok(Vec::new()) };
    let usual = (centre.exp() - 50.0).max(0.0);
    let z = (log - lit(centre)) / lit(spread.max(thresholds.min_spread));
    let score = min_horizontal([z / lit(thresholds.z), (px - lit(usual)) / lit(thresholds.min_px)])?;
    let finding = |(i, score)| {
        let row = context.image(i);
        let share = row.bright_px.unwrap_or(0) as f64 / (f64::from(row.width) * f64::from(row.height));
        let message = format!(
            "{:.3} % of the image is bright (usually {:.3} %)",
            100.0 * share,
            100.0 * usual / (2048.0 * 2048.0)
        );
        Finding::of_image(&CHECK, i, score, message, "look for a ring, an implant, nail art or a marker")
    };
    Ok(context.scored(score)?.into_iter().map(finding).collect())
}

#[cfg(test)]
mod tests {
    use super::super::synthetic::{Population, found};
    use super::*;

    #[test]
    fn a_ring_is_found_among_dark_and_among_bright_images() {
        for base in [0u64, 5000] {
            let mut population = Population::new(30, 61);
            for (i, image) in population.tables.images.iter_mut().enumerate() {
                image.bright_px = Some(base + base * (i as u64 % 5) / 20);
            }
            population.tables.images[13].bright_px = Some(base * 6 + 3000);
            assert_eq!(found(&population, &CHECK), vec![(13, String::new())], "{base}");
        }
    }

    #[test]
    fn a_few_bright_pixels_are_not_reported() {
        let mut population = Population::new(30, 62);
        population.tables.images[13].bright_px = Some(200);
        assert!(found(&population, &CHECK).is_empty());
    }
}
