//! Filling holes, by the components of the background.

use super::components::{Neighbours, Piece, connected};
use super::runs::{RunBuilder, RunMask};

impl RunMask {
    /// The mask with its holes filled: background pixels from which no path of pixels that share a side leads to the
    /// image's edge. Equals `scipy.ndimage.binary_fill_holes`.
    pub fn filled(&self) -> RunMask {
        let gaps = self.gaps();
        let roots = connected(&gaps, Neighbours::Four);
        // Background at the edge of the mask's box is connected to the image's edge, or lies on it.
        let Some(bounds) = self.bounding_box() else { return self.clone() };
        let mut open = vec![false; gaps.len()];
        for (&(y, x_start, x_end), &root) in gaps.iter().zip(&roots) {
            let at_side = x_start == bounds.x_min || x_end == bounds.x_max + 1;
            open[root] |= at_side || y == bounds.y_min || y == bounds.y_max;
        }
        let mut holes = RunBuilder::default();
        for (&(y, x_start, x_end), &root) in gaps.iter().zip(&roots) {
            if !open[root] {
                holes.push(y * self.width() + x_start, y * self.width() + x_end);
            }
        }
        let holes = RunMask::from_maximal_runs(self.width(), self.height(), holes.finish());
        self.union(&holes).expect("both have the mask's size")
    }

    /// The background within the mask's box, row by row.
    fn gaps(&self) -> Vec<Piece> {
        let Some(bounds) = self.bounding_box() else { return Vec::new() };
        let (left, right) = (bounds.x_min, bounds.x_max + 1);
        let mut pieces = self.rows().peekable();
        let mut gaps = Vec::new();
        for y in bounds.y_min..=bounds.y_max {
            let mut from = left;
            while let Some((_, x_start, x_end)) = pieces.next_if(|piece| piece.0 == y) {
                if x_start > from {
                    gaps.push((y, from, x_start));
                }
                from = x_end;
            }
            if from < right {
                gaps.push((y, from, right));
            }
        }
        gaps
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Holes filled by flooding the background from the image's edge, pixel by pixel.
    fn flooded(dense: &[u8], width: usize) -> Vec<u8> {
        let height = dense.len() / width;
        let mut outside = vec![false; dense.len()];
        let edge =
            |i: &usize| i.is_multiple_of(width) || i % width == width - 1 || i / width == 0 || i / width == height - 1;
        let mut open: Vec<usize> = (0..dense.len()).filter(edge).collect();
        while let Some(i) = open.pop() {
            if dense[i] == 0 && !std::mem::replace(&mut outside[i], true) {
                open.extend((i % width > 0).then(|| i - 1));
                open.extend((i % width < width - 1).then_some(i + 1));
                open.extend((i >= width).then(|| i - width));
                open.extend((i + width < dense.len()).then_some(i + width));
            }
        }
        outside.iter().map(|outside| u8::from(!outside)).collect()
    }

    proptest! {
        #[test]
        fn holes_are_the_background_that_no_path_connects_to_the_edge(
            width in 1usize..12,
            dense in prop::collection::vec(prop_oneof![2 => Just(1u8), 1 => Just(0u8)], 12..120),
        ) {
            let dense = &dense[..dense.len() / width * width];
            let mask = RunMask::from_dense(dense, width as u32, (dense.len() / width) as u32);
            prop_assert_eq!(mask.filled().to_dense(), flooded(dense, width));
        }
    }

    #[test]
    fn a_diagonal_ring_closes_its_hole() {
        let ring = RunMask::from_dense(&[0, 1, 0, 1, 0, 1, 0, 1, 0], 3, 3);
        assert_eq!(ring.filled().area(), 5);
        assert_eq!(RunMask::empty(3, 3).filled(), RunMask::empty(3, 3));
    }
}
