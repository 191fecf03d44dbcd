//! Suspicious images and annotations: each check takes the scan's tables and gives findings; findings are
//! ranked for a person to judge, with a picture of each.
//!
//! Checks of anatomy rest on `population`: a model of the hand learnt from all hands of the data by methods
//! that the faulty ones among them cannot sway.

mod asymmetry;
mod bright;
mod check;
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

pub use check::{Answer, CHECKS, Check, EvidenceKind};
pub use context::AuditContext;
pub use evidence::MissingPicture;
pub use finding::{Finding, FindingRow};
pub use population::{HandModel, Judged, MeasuredHand, Verdict};
pub use severity::Severity;
pub use write::{PICTURES_PER_CHECK, Pictures, WriteError, WrittenFindings, counts, write};

use polars::prelude::PolarsResult;

use crate::scores::DiceTable;
use crate::tables::Tables;

/// Thresholds of every check; each type says in its file why its defaults are what they are.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AuditSettings {
    /// Outlines that cross themselves.
    pub self_intersection: self_intersection::SelfIntersectionThresholds,
    /// Bones in parts.
    pub several_parts: several_parts::SeveralPartsThresholds,
    /// Places of bones.
    pub place: place::PlaceThresholds,
    /// Sizes of bones.
    pub size: size::SizeThresholds,
    /// Leans of bones.
    pub orientation: orientation::OrientationThresholds,
    /// Bright pixels.
    pub bright: bright::BrightThresholds,
    /// Border strips.
    pub strips: strips::StripsThresholds,
    /// Size of all masks against metadata.
    pub mask_size: mask_size::MaskSizeThresholds,
    /// Left against right.
    pub asymmetry: asymmetry::AsymmetryThresholds,
    /// Metadata.
    pub metadata: metadata::MetadataThresholds,
    /// The same picture twice.
    pub near_duplicate: near_duplicate::NearDuplicateThresholds,
    /// Scores.
    pub dice: dice::DiceThresholds,
    /// Outlines against pixels.
    pub misaligned: misaligned::MisalignedThresholds,
}

/// Runs every check. Findings are ranked: worst severity first, then score, then image, check and label. The
/// order of the tables' rows and the number of threads change nothing.
///
/// # Errors
/// Those of polars.
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
            .then_with(|| (a.check.place(), &a.bones, &a.message).cmp(&(b.check.place(), &b.bones, &b.message)))
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

    fn faulty() -> Population {
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
    fn the_order_of_rows_changes_nothing() {
        let mut population = faulty();
        let findings = rows(&population.tables);
        assert!(findings.len() >= 5, "{findings:#?}");
        population.tables.images.reverse();
        population.tables.bones.reverse();
        population.tables.patients.reverse();
        assert_eq!(rows(&population.tables), findings);
    }

    #[test]
    fn the_number_of_threads_changes_nothing() {
        let population = faulty();
        let with = |n| crate::threads::pool(n).unwrap().install(|| rows(&population.tables));
        assert_eq!(with(1), with(3));
    }

    #[test]
    fn findings_are_ranked_worst_first_and_scores_are_numbers() {
        let population = faulty();
        let findings = population.audit();
        for pair in findings.windows(2) {
            assert!(pair[0].severity() >= pair[1].severity());
            assert!(pair[0].severity() > pair[1].severity() || pair[0].score >= pair[1].score);
        }
        assert!(findings.iter().all(|f| f.score.is_finite() && f.score >= 1.0), "{findings:#?}");
    }

    #[test]
    fn hostile_tables_do_not_panic() {
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
        // All bones at one point; rows of images that are not there.
        let mut population = Population::new(2, 9);
        population.tables.bones.iter_mut().for_each(|b| (b.centroid_x, b.centroid_y) = (Some(7.0), Some(7.0)));
        population.tables.images.pop();
        assert!(rows(&population.tables).iter().all(|r| r.score.is_finite()));
    }
}
