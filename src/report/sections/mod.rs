//! The sections of the data report, one file per section.

pub(in crate::report) mod all_tests;
mod class_areas;
mod findings;
mod folds;
mod mask_size;
mod mask_size_by_sex;
mod metadata;
mod overview;
mod problems;
mod reading;
mod regression;
mod rotation;
mod scores;
mod sex;
pub(in crate::report) mod train_test;

use polars::prelude::PolarsResult;

use super::{ReportError, Section, Study};

/// All sections, in page order.
///
/// # Errors
/// polars cannot evaluate the tables.
pub fn all(study: &Study<'_>) -> Result<Vec<Section>, ReportError> {
    let sections: [fn(&Study<'_>) -> PolarsResult<Section>; 14] = [
        overview::section,
        problems::section,
        metadata::section,
        rotation::section,
        sex::section,
        train_test::section,
        mask_size::section,
        mask_size_by_sex::section,
        regression::section,
        class_areas::section,
        folds::section,
        scores::section,
        findings::section,
        reading::section,
    ];
    let mut sections: Vec<Section> = sections.into_iter().map(|section| section(study)).collect::<PolarsResult<_>>()?;
    // Before the terms, which are last.
    let tests = all_tests::section(&sections);
    sections.insert(sections.len() - 1, tests);
    Ok(sections)
}
