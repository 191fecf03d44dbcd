/// Perceptual difference hash of a row-major 8-bit image: 64 bits, one for each pair of horizontally
/// neighbouring cells of a 9 x 8 grid of mean grey levels, set where the left one is brighter.
/// Re-encoded or slightly brightened copies differ in few bits. Cells are averaged over every fourth row, which
/// is plenty for a mean; a general image resizer would cost more than decoding the file.
pub fn difference_hash(pixels: &[u8], width: usize, height: usize) -> u64 {
    const COLUMNS: usize = 9;
    const ROWS: usize = 8;
    if width < COLUMNS || height < ROWS {
        return 0;
    }
    let mut bits = 0u64;
    for cell_y in 0..ROWS {
        let (y0, y1) = (cell_y * height / ROWS, (cell_y + 1) * height / ROWS);
        let mut sums = [0u64; COLUMNS];
        for row in pixels[y0 * width..y1 * width].chunks_exact(width).step_by(if height >= 256 { 4 } else { 1 }) {
            for (cell_x, sum) in sums.iter_mut().enumerate() {
                let (x0, x1) = (cell_x * width / COLUMNS, (cell_x + 1) * width / COLUMNS);
                *sum += row[x0..x1].iter().map(|v| u64::from(*v)).sum::<u64>();
            }
        }
        let mean = |c: usize| sums[c] as f64 / ((c + 1) * width / COLUMNS - c * width / COLUMNS) as f64;
        for c in 0..COLUMNS - 1 {
            bits = (bits << 1) | u64::from(mean(c) > mean(c + 1));
        }
    }
    bits
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(w: usize, h: usize, f: impl Fn(f64, f64) -> f64) -> Vec<u8> {
        (0..w * h).map(|i| f((i % w) as f64 / w as f64, (i / w) as f64 / h as f64).clamp(0.0, 255.0) as u8).collect()
    }

    #[test]
    fn copies_are_near_and_others_far() {
        let a = |x: f64, y: f64| 120.0 + 80.0 * (x * 9.0 + y * 3.0).sin();
        let original = difference_hash(&picture(512, 512, a), 512, 512);
        let brighter = difference_hash(&picture(512, 512, |x, y| a(x, y) * 1.05 + 6.0), 512, 512);
        let smaller = difference_hash(&picture(256, 256, a), 256, 256);
        let other = difference_hash(&picture(512, 512, |x, y| 120.0 + 80.0 * (x * 5.0 - y * 11.0).cos()), 512, 512);
        assert!((original ^ brighter).count_ones() <= 2);
        assert!((original ^ smaller).count_ones() <= 4);
        assert!((original ^ other).count_ones() >= 16);
    }
}
