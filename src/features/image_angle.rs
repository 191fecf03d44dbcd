use super::outline::UprightLevels;
use super::strips::Strips;

/// About this many points along the longer side are read: the axis of a hand needs no more.
const POINTS: usize = 256;
/// Smallest share of the image that a hand covers.
const MIN_SHARE: f64 = 0.02;

/// An estimate of a hand's angle from its image alone, in degrees: the angle between the vertical and the long axis of the
/// bright region (hand and forearm), in (-90, 90], positive if the upper end leans to the right. `None` if no region of the
/// image is bright enough or has a long axis.
///
/// The region is everything above Otsu's threshold, outside the white strips and connected to its largest part. Its axis is
/// not the line from the Ulna to finger-16 by which [`super::angle_deg`] measures annotated hands: the two differ by a
/// constant for each side, which the report estimates from annotated hands.
pub fn image_angle_deg(picture: UprightLevels<'_>, strips: Strips) -> Option<f64> {
    let (width, height) = (picture.width as usize, picture.height as usize);
    let step = (width.max(height) / POINTS).max(1);
    let (left, top) = (strips.left_px as usize, strips.top_px as usize);
    let columns: Vec<usize> = (left..width).step_by(step).collect();
    let rows: Vec<usize> = (top..height).step_by(step).collect();
    let grid: Vec<u8> = rows.iter().flat_map(|y| columns.iter().map(move |x| picture.levels[y * width + x])).collect();
    let threshold = otsu(&grid)?;
    let bright: Vec<bool> = grid.iter().map(|level| *level > threshold).collect();
    let region = largest_region(&bright, columns.len());
    if (region.len() as f64) < MIN_SHARE * grid.len() as f64 {
        return None;
    }
    lean_of(region.iter().map(|at| ((at % columns.len()) as f64, (at / columns.len()) as f64)))
}

/// Otsu's threshold: levels above it are the brighter of two classes with the greatest variance between them. `None` if all
/// levels are equal.
fn otsu(levels: &[u8]) -> Option<u8> {
    let mut histogram = [0u64; 256];
    levels.iter().for_each(|level| histogram[usize::from(*level)] += 1);
    let (n, sum) = (levels.len() as f64, levels.iter().map(|l| f64::from(*l)).sum::<f64>());
    let (mut best, mut threshold) = (0.0, None);
    let (mut below, mut below_sum) = (0.0, 0.0);
    for (level, count) in (0u8..=254).zip(histogram) {
        below += count as f64;
        below_sum += count as f64 * f64::from(level);
        let above = n - below;
        if below == 0.0 || above == 0.0 {
            continue;
        }
        let between = below * above * (below_sum / below - (sum - below_sum) / above).powi(2);
        if between > best {
            (best, threshold) = (between, Some(level));
        }
    }
    threshold
}

/// The points of the largest 4-connected region of a row-major grid.
fn largest_region(bright: &[bool], columns: usize) -> Vec<usize> {
    let mut seen = vec![false; bright.len()];
    let mut largest = Vec::new();
    for start in 0..bright.len() {
        if !bright[start] || seen[start] {
            continue;
        }
        seen[start] = true;
        let mut region = vec![start];
        let mut next = 0;
        while next < region.len() {
            let at = region[next];
            next += 1;
            let (x, row_above) = (at % columns, at >= columns);
            let neighbours = [
                (x > 0).then(|| at - 1),
                (x + 1 < columns).then_some(at + 1),
                row_above.then(|| at - columns),
                (at + columns < bright.len()).then_some(at + columns),
            ];
            for neighbour in neighbours.into_iter().flatten().filter(|n| bright[*n]) {
                if !std::mem::replace(&mut seen[neighbour], true) {
                    region.push(neighbour);
                }
            }
        }
        if region.len() > largest.len() {
            largest = region;
        }
    }
    largest
}

/// The angle of the long axis of points from the vertical, as [`crate::geometry::Moments::orientation_deg`].
fn lean_of(points: impl Iterator<Item = (f64, f64)> + Clone) -> Option<f64> {
    let n = points.clone().count() as f64;
    let (sx, sy) = points.clone().fold((0.0, 0.0), |(sx, sy), (x, y)| (sx + x, sy + y));
    let (mx, my) = (sx / n, sy / n);
    let (mut xx, mut xy, mut yy) = (0.0, 0.0, 0.0);
    for (x, y) in points {
        let (dx, dy) = (x - mx, y - my);
        xx += dx * dx;
        xy += dx * dy;
        yy += dy * dy;
    }
    // A region without a long axis, such as a square, has none to measure.
    if ((xx - yy) / 2.0).hypot(xy) < 0.02 * (xx + yy) {
        return None;
    }
    let lean = 0.5 * (2.0 * xy).atan2(xx - yy).to_degrees() + 90.0;
    Some(if lean > 90.0 { lean - 180.0 } else { lean })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A bright bar of 60 x 300 px on a dark image, leaning by `degrees`, and a white strip at the left.
    fn bar(degrees: f64, background: u8) -> Vec<u8> {
        let (s, c) = degrees.to_radians().sin_cos();
        (0..512 * 512)
            .map(|i| {
                let (x, y) = ((i % 512) as f64 - 256.0, (i / 512) as f64 - 256.0);
                let (along, across) = (x * s - y * c, x * c + y * s);
                let is_strip = i % 512 < 20;
                if is_strip || along.abs() <= 150.0 && across.abs() <= 30.0 { 200 } else { background }
            })
            .collect()
    }

    #[test]
    fn the_angle_of_a_bar_is_found() {
        let strips = Strips { top_px: 0, left_px: 20 };
        for degrees in [-60.0, -30.0, 0.0, 12.5, 45.0, 80.0] {
            let levels = bar(degrees, 20);
            let picture = UprightLevels { levels: &levels, width: 512, height: 512 };
            let found = image_angle_deg(picture, strips).unwrap();
            assert!((found - degrees).abs() < 1.0, "{degrees}: {found}");
        }
    }

    #[test]
    fn images_without_a_long_region_have_no_angle() {
        let flat = vec![7u8; 64 * 64];
        let picture = UprightLevels { levels: &flat, width: 64, height: 64 };
        assert_eq!(image_angle_deg(picture, Strips::default()), None);
        let square: Vec<u8> = (0..64 * 64)
            .map(|i| if (16..48).contains(&(i % 64)) && (16..48).contains(&(i / 64)) { 200 } else { 0 })
            .collect();
        assert_eq!(image_angle_deg(UprightLevels { levels: &square, ..picture }, Strips::default()), None);
        let mut dot = vec![0u8; 64 * 64];
        dot[64 * 20 + 20] = 255;
        assert_eq!(image_angle_deg(UprightLevels { levels: &dot, ..picture }, Strips::default()), None);
        let strips = Strips { top_px: 64, left_px: 0 };
        assert_eq!(image_angle_deg(picture, strips), None);
    }
}
