use super::LEAST;
use super::map::{MapBuilder, ProbabilityMap, probability};
use crate::mask::MaskError;

/// How the probabilities of several models are combined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mean {
    /// Weighted mean of the probabilities (soft vote).
    Probability,
    /// Weighted mean of the logits. Probabilities are limited to [`LEAST`]/2 and 1 - [`LEAST`]/2, since smaller ones are
    /// not kept.
    Logit,
}

/// Combines maps of one size with a weight for each; weights need not sum to 1.
///
/// # Errors
/// There are no maps, or they differ in size.
///
/// # Panics
/// If there are not as many weights as maps.
pub fn combine(maps: &[&ProbabilityMap], weights: &[f64], mean: Mean) -> Result<ProbabilityMap, MaskError> {
    assert_eq!(maps.len(), weights.len(), "one weight per map");
    let size = maps.first().ok_or(MaskError::NoMasks)?.size();
    if let Some(other) = maps.iter().map(|map| map.size()).find(|other| *other != size) {
        return Err(MaskError::Size((size.width, size.height), (other.width, other.height)));
    }
    let total: f64 = weights.iter().sum();
    let values: Vec<Vec<f32>> = weights.iter().map(|weight| table(mean, weight / total)).collect();
    let absent: f32 = values.iter().map(|table| table[0]).sum();
    let mut builder = MapBuilder::new(size);
    let mut sums = vec![0.0f32; size.width as usize];
    for y in 0..size.height {
        let Some((first, end)) = extent(maps, y) else {
            builder.push_levels([]);
            continue;
        };
        let sums = &mut sums[first as usize..end as usize];
        sums.fill(absent);
        for (map, table) in maps.iter().zip(&values) {
            for (x, levels) in map.row(y) {
                let part = &mut sums[(x - first) as usize..][..levels.len()];
                part.iter_mut().zip(levels).for_each(|(sum, level)| *sum += table[usize::from(*level)] - table[0]);
            }
        }
        if mean == Mean::Logit {
            sums.iter_mut().for_each(|sum| *sum = 1.0 / (1.0 + (-*sum).exp()));
        }
        builder.push_part(first, sums);
    }
    Ok(builder.finish())
}

/// The summand of each level.
fn table(mean: Mean, weight: f64) -> Vec<f32> {
    let of = |level: u16| {
        let p = f64::from(probability(level));
        match mean {
            Mean::Probability => weight * p,
            Mean::Logit => {
                let p = p.clamp(f64::from(LEAST) / 2.0, 1.0 - f64::from(LEAST) / 2.0);
                weight * (p / (1.0 - p)).ln()
            }
        }
    };
    (0..=u16::MAX).map(|level| of(level) as f32).collect()
}

/// The first column, and one past the last, of the pixels of row `y` that any map keeps.
fn extent(maps: &[&ProbabilityMap], y: u32) -> Option<(u32, u32)> {
    let spans = maps.iter().flat_map(|map| map.row(y)).map(|(x, levels)| (x, x + levels.len() as u32));
    spans.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::geometry::Size;

    const SIZE: Size = Size { width: 6, height: 4 };

    fn map(values: &[f32]) -> ProbabilityMap {
        let mut builder = MapBuilder::new(SIZE);
        values.chunks(6).for_each(|row| builder.push_row(row));
        builder.finish()
    }

    proptest! {
        #[test]
        fn means_equal_those_of_dense_maps(
            dense in prop::collection::vec(prop::collection::vec(prop_oneof![Just(0.0f32), 0.01f32..1.0], 24), 3),
            weights in prop::array::uniform3(0.1f64..2.0),
        ) {
            let maps: Vec<ProbabilityMap> = dense.iter().map(|values| map(values)).collect();
            let maps: Vec<&ProbabilityMap> = maps.iter().collect();
            let total: f64 = weights.iter().sum();
            for mean in [Mean::Probability, Mean::Logit] {
                let combined = combine(&maps, &weights, mean).unwrap();
                for i in 0..24u32 {
                    let least = f64::from(LEAST) / 2.0;
                    let value = |m: &ProbabilityMap| {
                        let p = f64::from(m.at(i % 6, i / 6));
                        match mean {
                            Mean::Probability => p,
                            Mean::Logit => {
                                let p = p.clamp(least, 1.0 - least);
                                (p / (1.0 - p)).ln()
                            }
                        }
                    };
                    let sum: f64 = maps.iter().zip(weights).map(|(m, w)| w * value(m)).sum();
                    let expected = match mean {
                        Mean::Probability => sum / total,
                        Mean::Logit => 1.0 / (1.0 + (-sum / total).exp()),
                    };
                    let found = f64::from(combined.at(i % 6, i / 6));
                    let negligible = expected < f64::from(LEAST) + 1e-5 && found == 0.0;
                    prop_assert!(negligible || (found - expected).abs() < 2e-5, "{found} {expected}");
                }
            }
        }
    }

    #[test]
    fn maps_of_other_sizes_are_refused() {
        let other = ProbabilityMap::empty(Size::square(3));
        assert!(combine(&[&map(&[0.5; 24]), &other], &[1.0, 1.0], Mean::Probability).is_err());
        assert!(combine(&[], &[], Mean::Probability).is_err());
    }
}
