use super::bytes::{count, total};
use super::hash::HashCells;
use super::strips::{StripCounts, Strips};

/// Measures of the grey levels of a radiograph that need no masks.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LevelStatistics {
    /// White strips at the upper and left edge.
    pub strips: Strips,
    /// Number of pixels at or above the threshold outside the strips: rings, nail art, implants.
    pub bright_px: u64,
    /// Mean grey level of the whole image, 0 to 255.
    pub mean_grey: f64,
    /// Perceptual hash: the 64 bits of re-encoded or slightly brightened copies differ in few places.
    pub difference_hash: u64,
}

/// Measures a row-major 8-bit image of `width` x `height` pixels in one pass. `bright` is the grey level from which a
/// pixel counts as bright.
pub fn levels(pixels: &[u8], width: usize, height: usize, bright: u8) -> LevelStatistics {
    if width == 0 || height == 0 {
        return LevelStatistics::default();
    }
    let (mut counts, mut cells) = (StripCounts::new(width, height), HashCells::new(width, height));
    let mut sum = 0;
    let mut bright_in_row = Vec::with_capacity(height);
    for (y, row) in pixels.chunks_exact(width).enumerate() {
        counts.add(row);
        sum += cells.add(y, row).unwrap_or_else(|| total(row));
        bright_in_row.push(count(row, |v| v >= bright));
    }
    let strips = counts.strips(pixels);
    let (top, left) = (strips.top_px as usize, strips.left_px as usize);
    let mut bright_px: u64 = bright_in_row[top..].iter().sum();
    if left > 0 {
        let below = pixels.chunks_exact(width).skip(top);
        bright_px -= below.map(|row| count(&row[..left], |v| v >= bright)).sum::<u64>();
    }
    LevelStatistics { strips, bright_px, mean_grey: sum as f64 / pixels.len() as f64, difference_hash: cells.hash() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bright_pixels_of_strips_do_not_count() {
        let (w, h) = (300, 40);
        let mut pixels = vec![10u8; w * h];
        pixels[..w].fill(255);
        pixels.chunks_exact_mut(w).for_each(|r| r[..2].fill(250));
        pixels[5 * w + 7] = 240;
        pixels[5 * w + 8] = 239;
        let found = levels(&pixels, w, h, 240);
        assert_eq!(found.strips, Strips { top_px: 1, left_px: 2 });
        assert_eq!(found.bright_px, 1);
        assert_eq!(found.mean_grey, pixels.iter().map(|v| f64::from(*v)).sum::<f64>() / pixels.len() as f64);
        // A bright line that is too short for a strip counts.
        pixels[..w].fill(10);
        pixels[..w / 2].fill(255);
        pixels.chunks_exact_mut(w).for_each(|r| r[..2].fill(10));
        let found = levels(&pixels, w, h, 240);
        assert_eq!((found.strips, found.bright_px), (Strips::default(), (w / 2 - 2 + 1) as u64));
        assert_eq!(levels(&[], 0, 0, 240), LevelStatistics::default());
    }
}
