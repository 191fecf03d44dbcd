//! The Dice-optimal number of pixels of a class (Dai and Li, RankSEG, JMLR 24, 2023) by the reciprocal moment
//! approximation (Wang and Dai, NeurIPS 2025).

use crate::mask::RunMask;
use crate::probability::ProbabilityMap;

/// The mask of the most probable pixels, as many as maximise the expected Dice. Pixels are treated as independent; for
/// n pixels with the sum of probabilities s of a class whose expected area is m, the expected Dice is approximated by
/// 2 s / (n + m + 1): the area of the unknown mask is replaced by its expectation. The number of pixels never divides
/// pixels of equal probability, since the approximation is monotone in their number. A class is empty unless a pixel's
/// probability exceeds `least`. Equals `rankseg_rma` of the Python package `rankseg` with its multilabel output, where
/// `least` is `pruning_prob`.
pub fn ranked_mask(map: &ProbabilityMap, least: f32) -> RunMask {
    let size = map.size();
    match cut(map.levels(), least) {
        // Half a step below the level, so that rounding does not exclude it.
        Some(level) => map.mask(((f64::from(level) - 0.5) / f64::from(u16::MAX)) as f32),
        None => RunMask::empty(size.width, size.height),
    }
}

/// The least level of the mask; `None` if it is empty.
fn cut(levels: &[u16], least: f32) -> Option<u16> {
    let top = f64::from(u16::MAX);
    let mut counts = vec![0u64; usize::from(u16::MAX) + 1];
    levels.iter().for_each(|level| counts[usize::from(*level)] += 1);
    let present: Vec<(u16, u64)> =
        (1..=u16::MAX).rev().map(|l| (l, counts[usize::from(l)])).filter(|c| c.1 > 0).collect();
    if f64::from(present.first()?.0) / top <= f64::from(least) {
        return None;
    }
    let expected: u64 = present.iter().map(|(level, count)| u64::from(*level) * count).sum();
    let expected = expected as f64 / top;
    let (mut pixels, mut sum, mut best) = (0u64, 0u64, (0.0, None));
    for (level, count) in present {
        pixels += count;
        sum += u64::from(level) * count;
        let dice = 2.0 * (sum as f64 / top) / (pixels as f64 + expected + 1.0);
        if dice > best.0 {
            best = (dice, Some(level));
        }
    }
    best.1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::Size;
    use crate::probability::MapBuilder;

    fn map(row: &[f32]) -> ProbabilityMap {
        let mut builder = MapBuilder::new(Size { width: row.len() as u32, height: 1 });
        builder.push_row(row);
        builder.finish()
    }

    #[test]
    fn the_number_of_pixels_maximises_the_approximate_dice() {
        // Expected area 2.2. One pixel: 1.8/4.2 = .429; two: 3.4/5.2 = .654; three: 4.2/6.2 = .677; four: 4.4/7.2.
        let mask = ranked_mask(&map(&[0.4, 0.9, 0.8, 0.1]), 0.5);
        assert_eq!(mask.area(), 3, "a pixel below one half is set");
        assert!(!mask.contains(3, 0));
        // A threshold of one half would set two.
        assert_eq!(map(&[0.4, 0.9, 0.8, 0.1]).mask(0.5).area(), 2);
        assert!(ranked_mask(&map(&[0.4, 0.49]), 0.5).is_empty());
        assert!(ranked_mask(&map(&[0.0, 0.0]), 0.5).is_empty());
        assert_eq!(ranked_mask(&map(&[1.0, 1.0, 0.0]), 0.5).area(), 2);
    }

    #[test]
    fn pixels_of_equal_probability_stay_together() {
        let mask = ranked_mask(&map(&[0.9, 0.6, 0.6, 0.6, 0.02]), 0.5);
        assert_eq!(mask.area(), 4);
    }
}
