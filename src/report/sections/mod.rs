//! The sections of the data report, one file per section.

mod alerts;
pub(in crate::report) mod all_tests;
mod bone_positions;
mod class_areas;
pub(super) mod class_overlap;
mod findings;
mod fold_methods;
mod folds;
pub(super) mod image_noise;
mod left_right;
mod mask_size;
mod mask_size_by_sex;
mod metadata;
mod metadata_quality;
mod overview;
mod privacy;
mod problems;
mod reading;
mod recommendations;
mod regression;
mod rotation;
mod rotation_modes;
mod scores;
mod sex;
mod table1;
pub(in crate::report) mod train_test;

use polars::prelude::PolarsResult;
use rayon::prelude::*;

use super::{ReportError, Section, Study};

/// All sections, in page order.
///
/// # Errors
/// polars cannot evaluate the tables.
pub fn all(study: &Study<'_>) -> Result<Vec<Section>, ReportError> {
    let sections: [fn(&Study<'_>) -> PolarsResult<Section>; 25] = [
        alerts::section,
        overview::section,
        problems::section,
        metadata_quality::section,
        table1::section,
        metadata::section,
        rotation::section,
        rotation_modes::section,
        sex::section,
        train_test::section,
        mask_size::section,
        mask_size_by_sex::section,
        regression::section,
        class_areas::section,
        class_overlap::section,
        bone_positions::section,
        left_right::section,
        image_noise::section,
        folds::section,
        fold_methods::section,
        scores::section,
        findings::section,
        recommendations::section,
        privacy::section,
        reading::section,
    ];
    let mut sections: Vec<Section> = sections.par_iter().map(|section| section(study)).collect::<PolarsResult<_>>()?;
    // Before the terms, which are last.
    let tests = all_tests::section(&sections);
    sections.insert(sections.len() - 1, tests);
    Ok(sections)
}
