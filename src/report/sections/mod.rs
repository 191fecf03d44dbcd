//! The sections of the report, one file each.

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

use super::{Section, Study};

/// Every section, in the order of the page.
pub fn all(study: &Study<'_>) -> Vec<Section> {
    let sections: [fn(&Study<'_>) -> Section; 11] = [
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
    sections.into_iter().map(|section| section(study)).collect()
}
