use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Change, Geometry, SampleView, Step};
use crate::geometry::Affine;
use crate::violation::Violations;

/// Rotation by 0, 90, 180 or 270 degrees with equal probability, as albumentations' `RandomRotate90`. No pixel is
/// interpolated. An image that is not square keeps its size: it is rotated by 0 or 180 degrees.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Rotate90 {
    /// Probability of the step, 0 to 1; a quarter of the rotations (half, for images that are not square) are by 0
    /// degrees. Default 0.5.
    pub p: f64,
}

impl Default for Rotate90 {
    fn default() -> Self {
        Rotate90 { p: 0.5 }
    }
}

impl Step for Rotate90 {
    fn p(&self) -> f64 {
        self.p
    }

    fn draw(&self, view: &SampleView, rng: &mut ChaCha8Rng) -> Option<Change> {
        let size = view.size();
        let [right, bottom] = [size.width, size.height].map(|side| f64::from(side) - 1.0);
        let turns = if right == bottom { rng.random_range(0..4) } else { 2 * rng.random_range(0..2) };
        // Counter-clockwise.
        let map = match turns {
            0 => return None,
            1 => [0.0, -1.0, right, 1.0, 0.0, 0.0],
            2 => [-1.0, 0.0, right, 0.0, -1.0, bottom],
            _ => [0.0, 1.0, 0.0, -1.0, 0.0, bottom],
        };
        Some(Change::Geometry { source_from_target: Geometry::Affine(Affine::new(map)), border: None })
    }

    fn draws_from_size_alone(&self) -> bool {
        true
    }

    fn violations(&self) -> Violations {
        Violations::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::augment::list::tests::drawn_for;
    use crate::augment::{LabelledImage, Warp};
    use crate::geometry::Size;

    /// How often each result occurs.
    fn results(size: Size) -> std::collections::BTreeMap<Vec<u32>, usize> {
        let words: Vec<u32> = (0..size.pixels() as u32).collect();
        let image = LabelledImage::new(size, words.iter().map(|w| *w as f32).collect(), words.clone());
        let mut counts = std::collections::BTreeMap::new();
        for seed in 0..2000 {
            let mut warp = Warp::default();
            if let Some(Change::Geometry { source_from_target, border }) = drawn_for(&Rotate90 { p: 1.0 }, &image, seed)
            {
                assert_eq!(border, None);
                warp.push(source_from_target, border);
            }
            let result = warp.sample(image.clone());
            assert!(result.levels.iter().zip(&result.words).all(|(v, w)| *v == *w as f32));
            *counts.entry(result.words).or_default() += 1;
        }
        counts
    }

    #[test]
    fn every_turn_is_equally_frequent_and_exact() {
        let square = results(Size::square(2));
        let expected = [vec![0, 1, 2, 3], vec![1, 3, 0, 2], vec![2, 0, 3, 1], vec![3, 2, 1, 0]];
        assert_eq!(square.keys().cloned().collect::<Vec<_>>(), expected);
        // Four standard deviations about 500.
        assert!(square.values().all(|n| (422..=578).contains(n)), "{square:?}");
        let wide = results(Size { width: 3, height: 1 });
        assert_eq!(wide.keys().cloned().collect::<Vec<_>>(), [vec![0, 1, 2], vec![2, 1, 0]]);
        assert!(wide.values().all(|n| (910..=1090).contains(n)), "{wide:?}");
    }
}
