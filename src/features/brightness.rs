use super::Strips;

/// Grey levels of a radiograph.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Brightness {
    /// Pixels at or above the threshold outside the border strips: rings, nail art, implants.
    pub bright_px: u64,
    /// Mean grey level of the whole image, 0 to 255.
    pub mean_grey: f64,
}

/// Counts bright pixels and averages grey levels of a row-major 8-bit image of `width` columns.
pub fn brightness(pixels: &[u8], width: usize, threshold: u8, strips: Strips) -> Brightness {
    if pixels.is_empty() {
        return Brightness::default();
    }
    let (mut bright_px, mut sum) = (0u64, 0u64);
    for (y, row) in pixels.chunks_exact(width).enumerate() {
        // Sums and counts over short pieces fit small integers, of which a register holds many; each piece is
        // read once.
        let left = if y >= strips.top_px as usize { (strips.left_px as usize).min(width) } else { width };
        let (strip, inner) = row.split_at(left);
        sum += strip.iter().map(|v| u64::from(*v)).sum::<u64>();
        for piece in inner.chunks(128) {
            sum += u64::from(piece.iter().map(|v| u16::from(*v)).sum::<u16>());
            bright_px += u64::from(piece.iter().map(|v| u8::from(*v >= threshold)).sum::<u8>());
        }
    }
    Brightness { bright_px, mean_grey: sum as f64 / pixels.len() as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strips_are_left_out_of_the_bright_count() {
        let (w, h) = (300, 10);
        let mut pixels = vec![10u8; w * h];
        pixels[..w].fill(255);
        pixels.chunks_exact_mut(w).for_each(|r| r[0] = 250);
        pixels[5 * w + 7] = 240;
        pixels[5 * w + 8] = 239;
        let all = brightness(&pixels, w, 240, Strips::default());
        assert_eq!(all.bright_px, (w + h - 1 + 1) as u64);
        let inner = brightness(&pixels, w, 240, Strips { top_px: 1, left_px: 1 });
        assert_eq!(inner.bright_px, 1);
        assert_eq!(inner.mean_grey, pixels.iter().map(|v| f64::from(*v)).sum::<f64>() / pixels.len() as f64);
    }
}
