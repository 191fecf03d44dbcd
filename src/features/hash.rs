//! Perceptual difference hash: 64 bits, one per pair of horizontally neighbouring cells of a 9 x 8 grid of mean grey
//! levels. A bit is set if the left cell is brighter. Cells are averaged over every fourth row, which is enough for a
//! mean.

use super::bytes::total;

const COLUMNS: usize = 9;
const ROWS: usize = 8;

/// Sums of grey levels per cell.
pub struct HashCells {
    height: usize,
    /// First column of each cell, then the width.
    edges: [usize; COLUMNS + 1],
    /// Every `step`-th row of a cell is used.
    step: usize,
    sums: [[u64; COLUMNS]; ROWS],
    /// The current row of cells.
    cell_y: usize,
    /// The row of the image at which the next row of cells begins.
    next: usize,
}

impl HashCells {
    pub fn new(width: usize, height: usize) -> Self {
        HashCells {
            height,
            edges: std::array::from_fn(|c| c * width / COLUMNS),
            step: if height >= 256 { 4 } else { 1 },
            sums: [[0; COLUMNS]; ROWS],
            cell_y: 0,
            next: height / ROWS,
        }
    }

    /// Adds row `y`; rows must be added in order. Returns the sum of the row if the row is used.
    pub fn add(&mut self, y: usize, row: &[u8]) -> Option<u64> {
        while y >= self.next && self.cell_y + 1 < ROWS {
            self.cell_y += 1;
            self.next = (self.cell_y + 1) * self.height / ROWS;
        }
        if !(y - self.cell_y * self.height / ROWS).is_multiple_of(self.step) {
            return None;
        }
        let mut row_sum = 0;
        for (cell, sum) in self.sums[self.cell_y].iter_mut().enumerate() {
            let of_cell = total(&row[self.edges[cell]..self.edges[cell + 1]]);
            *sum += of_cell;
            row_sum += of_cell;
        }
        Some(row_sum)
    }

    /// The hash; 0 for an image with fewer columns or rows than the grid.
    pub fn hash(&self) -> u64 {
        if self.edges[COLUMNS] < COLUMNS || self.height < ROWS {
            return 0;
        }
        let mut bits = 0;
        for sums in &self.sums {
            let mean = |c: usize| sums[c] as f64 / (self.edges[c + 1] - self.edges[c]) as f64;
            for c in 0..COLUMNS - 1 {
                bits = (bits << 1) | u64::from(mean(c) > mean(c + 1));
            }
        }
        bits
    }
}

#[cfg(test)]
mod tests {
    use crate::features::levels;

    fn hash(w: usize, h: usize, f: impl Fn(f64, f64) -> f64) -> u64 {
        let level = |i: usize| f((i % w) as f64 / w as f64, (i / w) as f64 / h as f64).clamp(0.0, 255.0) as u8;
        levels(&(0..w * h).map(level).collect::<Vec<_>>(), w, h, 240).difference_hash
    }

    #[test]
    fn hashes_of_copies_are_similar_and_of_other_images_are_not() {
        let a = |x: f64, y: f64| 120.0 + 80.0 * (x * 9.0 + y * 3.0).sin();
        let original = hash(512, 512, a);
        let brighter = hash(512, 512, |x, y| a(x, y) * 1.05 + 6.0);
        let smaller = hash(256, 256, a);
        let other = hash(512, 512, |x, y| 120.0 + 80.0 * (x * 5.0 - y * 11.0).cos());
        assert!((original ^ brighter).count_ones() <= 2);
        assert!((original ^ smaller).count_ones() <= 4);
        assert!((original ^ other).count_ones() >= 16);
        assert_eq!(hash(8, 50, a), 0);
    }

    #[test]
    fn one_bit_per_pair_of_cells() {
        // Nine columns of three pixels, brighter to the right, except for one step in the last row of cells.
        let falls = |x: f64, y: f64| if y >= 7.0 / 8.0 && x >= 8.0 / 9.0 { 0.0 } else { 10.0 + (x * 9.0).floor() };
        assert_eq!(hash(27, 16, falls), 1);
        // In a large image only the sampled rows count.
        let rows = |_: f64, y: f64| if ((y * 256.0) as usize).is_multiple_of(4) { 50.0 } else { 200.0 };
        assert_eq!(hash(27, 256, rows), 0);
    }
}
