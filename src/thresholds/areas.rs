use std::collections::HashSet;

use rayon::prelude::*;

use super::ThresholdError;
use crate::bones;
use crate::dataset::{Dataset, ImageEntry};
use crate::tables::BoneRow;

/// Share of the least annotated area that `min-area = "auto"` sets.
pub const AUTO_SHARE: f64 = 0.5;

/// As [`least_areas`], with the areas of the annotated masks of `entries`; entries without annotation are skipped.
///
/// # Errors
/// An annotation or the size of its image cannot be read.
pub fn least_annotated_areas(
    dataset: &Dataset,
    entries: &[&ImageEntry],
    share: f64,
) -> Result<Vec<f64>, ThresholdError> {
    let areas = |entry: &&ImageEntry| -> Result<Option<Vec<u64>>, ThresholdError> {
        let Some(read) = dataset.annotation(entry)? else { return Ok(None) };
        let (width, height) = dataset.dimensions(entry)?;
        let masks = read.annotation.masks(width, height);
        Ok(Some(masks.iter().map(|(_, mask)| mask.area()).collect()))
    };
    let images: Vec<Option<Vec<u64>>> = entries.par_iter().map(areas).collect::<Result<_, _>>()?;
    let mut least = vec![f64::INFINITY; bones::COUNT];
    for image in images.iter().flatten() {
        least.iter_mut().zip(image).filter(|(_, area)| **area > 0).for_each(|(l, area)| *l = l.min(*area as f64));
    }
    Ok(shares(least, share))
}

/// The share of each least area, rounded down; 0 for a class without one.
fn shares(least: Vec<f64>, share: f64) -> Vec<f64> {
    least.into_iter().map(|area| if area.is_finite() { (share * area).floor() } else { 0.0 }).collect()
}

/// Per class, a share of the least annotated area in px among the images with these ids, rounded down; 0 for a class
/// that is annotated in none of them. Components that are smaller are hardly a bone.
pub fn least_areas(rows: &[BoneRow], images: &HashSet<&str>, share: f64) -> Vec<f64> {
    let mut least = vec![f64::INFINITY; bones::COUNT];
    for row in rows.iter().filter(|row| row.area_px > 0 && images.contains(row.image_id.as_str())) {
        let least = &mut least[row.class as usize];
        *least = least.min(row.area_px as f64);
    }
    shares(least, share)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_area_of_the_named_images() {
        let row =
            |image: &str, class, area_px| BoneRow { image_id: image.into(), class, area_px, ..Default::default() };
        let rows = [row("a", 0, 100), row("b", 0, 61), row("c", 0, 10), row("a", 28, 0)];
        let areas = least_areas(&rows, &HashSet::from(["a", "b"]), 0.5);
        assert_eq!((areas[0], areas[28], areas.len()), (30.0, 0.0, 29));
    }
}
