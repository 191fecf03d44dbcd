use std::collections::HashSet;

use crate::bones;
use crate::tables::BoneRow;

/// Per class, a share of the least annotated area in px among the images with these ids, rounded down; 0 for a class
/// that is annotated in none of them. Components that are smaller are hardly a bone.
pub fn least_areas(rows: &[BoneRow], images: &HashSet<&str>, share: f64) -> Vec<f64> {
    let mut least = vec![f64::INFINITY; bones::COUNT];
    for row in rows.iter().filter(|row| row.area_px > 0 && images.contains(row.image_id.as_str())) {
        let least = &mut least[row.class as usize];
        *least = least.min(row.area_px as f64);
    }
    least.into_iter().map(|area| if area.is_finite() { (share * area).floor() } else { 0.0 }).collect()
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
