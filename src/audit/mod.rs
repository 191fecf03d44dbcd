//! Suspicious images and annotations: each check reads the scan's tables and returns findings. Findings are
//! ranked for a person to review, with a picture of each.
//!
//! The checks of anatomy use the hand model of `population`. It is estimated from all hands of the data with
//! robust methods, so that faulty hands hardly influence it.
//!
//! To add a check: write its file, which holds its documentation, code and messages, and add it to [`CHECKS`].

mod asymmetry;
pub mod bench;
mod bright;
mod check;
pub mod compare;
mod context;
mod dice;
mod duplicate_label;
mod evidence;
mod finding;
mod gaussian;
mod learning;
mod mask_size;
mod metadata;
mod misaligned;
mod missing;
mod near_duplicate;
mod orientation;
mod outside_image;
mod place;
mod population;
mod prior;
mod relabel;
mod same_side;
mod self_intersection;
mod several_parts;
mod severity;
mod side_order;
mod similarity;
mod size;
mod strips;
mod swaps;
mod tiny_parts;
pub mod truth;
mod unknown_label;
mod unusable;
mod write;

#[cfg(test)]
mod synthetic;

pub use check::{CHECKS, Check, Detection, EvidenceKind};
pub use context::AuditContext;
pub use dice::{DiceThresholds, LowDice, UsualDice, unused_scores};
pub use evidence::MissingPicture;
pub(crate) use evidence::check_scanned;
pub use finding::{Finding, FindingRow};
pub use population::{Assessment, HandModel, LabelChange, MeasuredHand, Verdict};
pub use severity::Severity;
pub use write::{PICTURES_PER_CHECK, Pictures, WriteError, WrittenFindings, counts, write};

use polars::prelude::PolarsResult;

use crate::scores::DiceTable;
use crate::tables::Tables;

/// Thresholds of every check. The file of each check explains its defaults.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AuditSettings {
    /// Outlines that cross themselves.
    pub self_intersection: self_intersection::SelfIntersectionThresholds,
    /// Bones drawn in several parts.
    pub several_parts: several_parts::SeveralPartsThresholds,
    /// Positions of bones.
    pub place: place::PlaceThresholds,
    /// Sizes and aspect ratios of bones.
    pub size: size::SizeThresholds,
    /// Orientations of long bones.
    pub orientation: orientation::OrientationThresholds,
    /// Images with many bright pixels.
    pub bright: bright::BrightThresholds,
    /// Bright strips along the edges.
    pub strips: strips::StripsThresholds,
    /// Area of all masks compared with the metadata.
    pub mask_size: mask_size::MaskSizeThresholds,
    /// Left hand compared with right hand.
    pub asymmetry: asymmetry::AsymmetryThresholds,
    /// Ranges of metadata.
    pub metadata: metadata::MetadataThresholds,
    /// The same picture twice.
    pub near_duplicate: near_duplicate::NearDuplicateThresholds,
    /// Dice scores.
    pub dice: dice::DiceThresholds,
    /// Outlines compared with the pixels.
    pub misaligned: misaligned::MisalignedThresholds,
}

/// Runs every check. Findings are sorted by severity and score (worst first), then by image, check and label.
/// The result does not depend on the order of the tables' rows or on the number of threads.
///
/// # Errors
/// Polars cannot process a table.
pub fn audit(tables: &Tables, scores: Option<&DiceTable>, settings: &AuditSettings) -> PolarsResult<Vec<Finding>> {
    let context = AuditContext::new(tables, settings, scores)?;
    let mut findings = Vec::new();
    for check in CHECKS {
        findings.extend((check.find)(&context)?);
    }
    let id = |f: &Finding| f.image.map_or(f.image_id.as_str(), |i| tables.images[i].image_id.as_str()).to_owned();
    findings.sort_by(|a, b| {
        (b.severity().cmp(&a.severity()))
            .then(b.score.total_cmp(&a.score))
            .then_with(|| id(a).cmp(&id(b)))
            .then_with(|| (a.check.position(), &a.bones, &a.message).cmp(&(b.check.position(), &b.bones, &b.message)))
    });
    Ok(findings)
}

#[cfg(test)]
mod tests {
    use super::synthetic::Population;
    use super::*;
    use crate::audit::FindingRow;

    fn rows(tables: &Tables) -> Vec<FindingRow> {
        audit(tables, None, &AuditSettings::default()).unwrap().iter().map(|f| f.row(tables)).collect()
    }

    fn population_with_faults() -> Population {
        let mut population = Population::new(30, 3);
        population.permute(4, &["Lunate", "Hamate"]);
        population.shift(11, "finger-6", 90.0, 10.0);
        population.remove(20, "Pisiform");
        population.mirror(33);
        population.copy_bones(8, 41);
        population.tables.images[8].image_hash = population.tables.images[41].image_hash.clone();
        population
    }

    #[test]
    fn the_order_of_rows_does_not_matter() {
        let mut population = population_with_faults();
        let findings = rows(&population.tables);
        assert!(findings.len() >= 5, "{findings:#?}");
        population.tables.images.reverse();
        population.tables.bones.reverse();
        population.tables.patients.reverse();
        assert_eq!(rows(&population.tables), findings);
    }

    #[test]
    fn the_number_of_threads_does_not_matter() {
        let population = population_with_faults();
        let with = |n| crate::threads::pool(n).unwrap().install(|| rows(&population.tables));
        assert_eq!(with(1), with(3));
    }

    #[test]
    fn findings_are_ranked_worst_first_and_scores_are_finite() {
        let population = population_with_faults();
        let findings = population.audit();
        for pair in findings.windows(2) {
            assert!(pair[0].severity() >= pair[1].severity());
            assert!(pair[0].severity() > pair[1].severity() || pair[0].score >= pair[1].score);
        }
        assert!(findings.iter().all(|f| f.score.is_finite() && f.score >= 1.0), "{findings:#?}");
    }

    #[test]
    fn invalid_tables_do_not_panic() {
        assert!(rows(&Tables::default()).is_empty());
        let mut population = Population::new(3, 8);
        for (i, bone) in population.tables.bones.iter_mut().enumerate() {
            match i % 5 {
                0 => bone.centroid_x = Some(f64::NAN),
                1 => (bone.centroid_x, bone.centroid_y) = (Some(0.0), Some(0.0)),
                2 => bone.area_px = 0,
                3 => (bone.sd_major_px, bone.orientation_deg) = (Some(f64::INFINITY), Some(f64::NAN)),
                _ => bone.class = 77,
            }
        }
        population.tables.images[2].width = 0;
        population.tables.patients[1].height_cm = Some(f64::NAN);
        assert!(rows(&population.tables).iter().all(|r| r.score.is_finite()));
        // All bones at one point; rows of images that do not exist.
        let mut population = Population::new(2, 9);
        population.tables.bones.iter_mut().for_each(|b| (b.centroid_x, b.centroid_y) = (Some(7.0), Some(7.0)));
        population.tables.images.pop();
        assert!(rows(&population.tables).iter().all(|r| r.score.is_finite()));
    }
}
