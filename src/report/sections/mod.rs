//! The sections of the data report, one file per section.

mod class_areas;
mod findings;
mod folds;
mod mask_size;
mod mask_size_by_sex;
mod metadata;
mod overview;
mod problems;
mod reading;
mod rotation;
mod sex;

use polars::prelude::PolarsResult;

use super::{ReportError, Section, Study};

/// All sections, in page order.
///
/// # Errors
/// polars cannot evaluate the tables.
pub fn all(study: &Study<'_>) -> Result<Vec<Section>, ReportError> {
    let sections: [fn(&Study<'_>) -> PolarsResult<Section>; 11] = [
        overview::section,
        problems::section,
        metadata::section,
        rotation::section,
        sex::section,
        mask_size::section,
        mask_size_by_sex::section,
        class_areas::section,
        folds::section,
        findings::section,
        reading::section,
    ];
    Ok(sections.into_iter().map(|section| section(study)).collect::<PolarsResult<_>>()?)
}
