use crate::mask::{MaskError, RunMask};
use crate::probability::ProbabilityMap;

/// Number of thresholds of the grid.
pub const THRESHOLDS: usize = 255;
/// Index of the threshold 0.5.
pub const HALF: usize = 127;

/// The threshold with this index: halfway between two steps of probabilities that are written with 8 bits, so that no
/// rounding changes a mask.
pub fn threshold(index: usize) -> f64 {
    (index as f64 + 0.5) / THRESHOLDS as f64
}

/// Dice of the masks at every threshold of the grid with an annotated mask, from the numbers of pixels per step of
/// probability inside and outside it: exact, and the map is read once. 1 where both masks are empty.
///
/// # Errors
/// The masks differ in size.
pub fn dice_curve(map: &ProbabilityMap, truth: &RunMask) -> Result<Vec<f32>, MaskError> {
    let (size, own) = ((map.size().width, map.size().height), (truth.width(), truth.height()));
    if size != own {
        return Err(MaskError::Size(own, size));
    }
    let (mut all, mut inside) = ([0u64; THRESHOLDS + 1], [0u64; THRESHOLDS + 1]);
    map.levels().iter().for_each(|level| all[step(*level)] += 1);
    for (y, x_start, x_end) in truth.rows() {
        for (x, levels) in map.row(y) {
            let (from, to) = (x_start.max(x), x_end.min(x + levels.len() as u32));
            if from < to {
                levels[(from - x) as usize..(to - x) as usize].iter().for_each(|level| inside[step(*level)] += 1);
            }
        }
    }
    let truth = truth.area();
    let mut curve = vec![0.0; THRESHOLDS];
    let (mut predicted, mut common) = (0u64, 0u64);
    for index in (0..THRESHOLDS).rev() {
        predicted += all[index + 1];
        common += inside[index + 1];
        let both = predicted + truth;
        curve[index] = if both == 0 { 1.0 } else { (2.0 * common as f64 / both as f64) as f32 };
    }
    Ok(curve)
}

/// The nearest of the 256 probabilities that are written with 8 bits.
fn step(level: u16) -> usize {
    (usize::from(level) + 128) / 257
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::geometry::Size;
    use crate::probability::MapBuilder;

    proptest! {
        #[test]
        fn the_curve_is_the_dice_of_each_mask(
            values in prop::collection::vec(prop_oneof![2 => Just(0.0f32), 3 => 0.0f32..1.0, 1 => Just(1.0)], 48),
            truth in prop::collection::vec(0u8..2, 48),
            empty in any::<bool>(),
        ) {
            let mut builder = MapBuilder::new(Size { width: 8, height: 6 });
            values.chunks(8).for_each(|row| builder.push_row(row));
            let map = builder.finish();
            let truth = if empty { RunMask::empty(8, 6) } else { RunMask::from_dense(&truth, 8, 6) };
            let curve = dice_curve(&map, &truth).unwrap();
            for (index, dice) in curve.iter().enumerate() {
                let expected = map.mask(threshold(index) as f32).dice(&truth).unwrap();
                prop_assert!((f64::from(*dice) - expected).abs() < 1e-6, "{index}: {dice} {expected}");
            }
        }
    }

    #[test]
    fn the_grid_contains_one_half() {
        assert_eq!(threshold(HALF), 0.5);
        assert!(threshold(0) >= f64::from(crate::probability::LEAST));
        let other = RunMask::empty(3, 3);
        assert!(dice_curve(&ProbabilityMap::empty(Size::square(4)), &other).is_err());
    }
}
