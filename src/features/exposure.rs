use super::strips::Strips;

/// The percentiles of [`ExposureMeasures::percentiles`].
pub const PERCENTILES: [f64; 7] = [1.0, 5.0, 25.0, 50.0, 75.0, 95.0, 99.0];

/// How bright, how rich in contrast and how sharp an image is. Pixels of white strips do not count.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ExposureMeasures {
    /// Grey levels at [`PERCENTILES`], 0 to 255, interpolated linearly as numpy does by default.
    pub percentiles: [f64; 7],
    /// Standard deviation of the grey levels (denominator n): the contrast.
    pub sd: f64,
    /// Variance of the Laplacian (neighbours minus four times the pixel, as OpenCV's `Laplacian` with `ksize = 1`) over the
    /// pixels with four neighbours: low for a blurred image. It depends on the size of the image. `None` if no pixel has four
    /// neighbours.
    pub sharpness: Option<f64>,
    /// Mean grey level of the strip at the top; `None` without a strip.
    pub strip_top: Option<f64>,
    /// Mean grey level of the strip at the left, below that at the top; `None` without a strip.
    pub strip_left: Option<f64>,
}

/// Measures a row-major 8-bit image of `width` x `height` pixels. `None` if no pixel is outside the strips.
pub fn exposure(pixels: &[u8], width: usize, height: usize, strips: Strips) -> Option<ExposureMeasures> {
    let (top, left) = (strips.top_px as usize, strips.left_px as usize);
    if top >= height || left >= width {
        return None;
    }
    let rows = || pixels.chunks_exact(width).skip(top);
    let histogram = histogram(rows().map(|row| &row[left..]));
    let inside = |row: &'_ [u8]| row[left..].len();
    let n: u64 = rows().map(|row| inside(row) as u64).sum();
    let mean_of = |sum: u64, n: usize| (n > 0).then(|| sum as f64 / n as f64);
    let sum = |row: &[u8]| row.iter().map(|v| u64::from(*v)).sum::<u64>();
    let total: u64 = histogram.iter().zip(0u64..).map(|(count, level)| count * level).sum();
    let squares: u64 = histogram.iter().zip(0u64..).map(|(count, level)| count * level * level).sum();
    let mean = total as f64 / n as f64;
    Some(ExposureMeasures {
        percentiles: PERCENTILES.map(|p| percentile(&histogram, n, p)),
        sd: (squares as f64 / n as f64 - mean * mean).max(0.0).sqrt(),
        sharpness: laplacian_variance(pixels, width, [left, top]),
        strip_top: mean_of(sum(&pixels[..top * width]), top * width),
        strip_left: mean_of(rows().map(|row| sum(&row[..left])).sum(), left * (height - top)),
    })
}

/// Number of pixels of each level.
fn histogram<'a>(rows: impl Iterator<Item = &'a [u8]>) -> [u64; 256] {
    // Four tables, so that equal neighbours do not wait for each other's count.
    let mut counts = [[0u32; 256]; 4];
    let mut histogram = [0u64; 256];
    for row in rows {
        let (fours, rest) = row.as_chunks::<4>();
        for four in fours {
            for (table, level) in counts.iter_mut().zip(four) {
                table[usize::from(*level)] += 1;
            }
        }
        rest.iter().for_each(|level| histogram[usize::from(*level)] += 1);
    }
    for table in counts {
        histogram.iter_mut().zip(table).for_each(|(sum, count)| *sum += u64::from(count));
    }
    histogram
}

/// The level at a percentile of `n` pixels, interpolated between the two nearest.
fn percentile(histogram: &[u64; 256], n: u64, percent: f64) -> f64 {
    let place = percent / 100.0 * (n - 1) as f64;
    let (low, part) = (place.floor(), place.fract());
    let at = |rank: u64| {
        let mut before = 0;
        histogram
            .iter()
            .position(|count| {
                before += count;
                before > rank
            })
            .unwrap_or(255) as f64
    };
    let (below, above) = (at(low as u64), at((low as u64 + 1).min(n - 1)));
    below + part * (above - below)
}

/// Variance of the Laplacian over the pixels right of `left` and below `top` that have four neighbours there.
fn laplacian_variance(pixels: &[u8], width: usize, [left, top]: [usize; 2]) -> Option<f64> {
    let rows: Vec<&[u8]> = pixels.chunks_exact(width).skip(top).map(|row| &row[left..]).collect();
    let inner = (width - left).checked_sub(2).filter(|inner| *inner > 0)?;
    if rows.len() < 3 {
        return None;
    }
    let (mut sum, mut squares) = (0i64, 0u64);
    for three in rows.windows(3) {
        let [above, row, below] = [three[0], three[1], three[2]];
        let (mut row_sum, mut row_squares) = (0i32, 0u64);
        // Short parts, so that the sum of squares fits 32 bits.
        for from in (0..inner).step_by(1024) {
            let to = (from + 1024).min(inner);
            let mut part = 0u32;
            for x in from..to {
                let neighbours =
                    i32::from(above[x + 1]) + i32::from(below[x + 1]) + i32::from(row[x]) + i32::from(row[x + 2]);
                let value = neighbours - 4 * i32::from(row[x + 1]);
                row_sum += value;
                part += (value * value) as u32;
            }
            row_squares += u64::from(part);
        }
        sum += i64::from(row_sum);
        squares += row_squares;
    }
    let n = (inner * (rows.len() - 2)) as f64;
    let mean = sum as f64 / n;
    Some((squares as f64 / n - mean * mean).max(0.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strips_do_not_count() {
        let (w, h) = (7, 6);
        let mut pixels: Vec<u8> = (0..w * h).map(|i| (i * 37 % 91) as u8).collect();
        let plain = exposure(&pixels, w, h, Strips::default()).unwrap();
        assert_eq!((plain.strip_top, plain.strip_left), (None, None));
        let strips = Strips { top_px: 2, left_px: 1 };
        let inside = exposure(&pixels, w, h, strips).unwrap();
        let mut changed = pixels.clone();
        changed[..2 * w].fill(250);
        changed.chunks_exact_mut(w).skip(2).for_each(|row| row[0] = 240);
        let found = exposure(&changed, w, h, strips).unwrap();
        assert_eq!((found.strip_top, found.strip_left), (Some(250.0), Some(240.0)));
        assert_eq!((found.percentiles, found.sd, found.sharpness), (inside.percentiles, inside.sd, inside.sharpness));
        // numpy.percentile([1, 2, 4, 8], 75) = 5, .std() = 2.6809513…
        pixels = vec![8, 1, 4, 2];
        let four = exposure(&pixels, 4, 1, Strips::default()).unwrap();
        assert_eq!((four.percentiles[4], four.sharpness), (5.0, None));
        assert!((four.sd - 2.680951323690902).abs() < 1e-12);
        assert_eq!(exposure(&[255; 4], 2, 2, Strips { top_px: 2, left_px: 0 }), None);
    }

    #[test]
    fn a_flat_image_has_no_contrast_and_the_largest_steps_do_not_overflow() {
        let flat = exposure(&[9; 40], 8, 5, Strips::default()).unwrap();
        assert_eq!((flat.sd, flat.sharpness, flat.percentiles), (0.0, Some(0.0), [9.0; 7]));
        let (w, h) = (4100, 3);
        let board: Vec<u8> = (0..w * h).map(|i| if (i % w + i / w) % 2 == 0 { 255 } else { 0 }).collect();
        let found = exposure(&board, w, h, Strips::default()).unwrap().sharpness.unwrap();
        assert!((found - 1020.0f64.powi(2)).abs() < 1e-3, "{found}");
    }
}
