//! Small rasters for drawing bones: filling an outline, distance to its edge.

use crate::geometry::Point;

/// A window of an image with one value per pixel, row-major.
pub struct Window<T> {
    /// Column of its first pixel in the image; it may lie outside.
    pub x: i32,
    /// Row of its first pixel in the image; it may lie outside.
    pub y: i32,
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// `width * height` values.
    pub values: Vec<T>,
}

/// Fills a closed outline (even-odd, pixel centres) on a window that contains it with a margin of one pixel, cut to
/// `reach` px beyond an image of `size` px. `None` if nothing is left.
pub fn fill(outline: &[Point], size: u32, reach: f64) -> Option<Window<bool>> {
    let bound = |f: fn(f64, f64) -> f64, start: f64, v: fn(&Point) -> f64| outline.iter().map(v).fold(start, f);
    let (low, high) = (-reach, f64::from(size) + reach);
    let x0 = bound(f64::min, f64::INFINITY, |p| p.x).max(low).floor() as i32 - 1;
    let y0 = bound(f64::min, f64::INFINITY, |p| p.y).max(low).floor() as i32 - 1;
    let x1 = bound(f64::max, f64::NEG_INFINITY, |p| p.x).min(high).ceil() as i32 + 1;
    let y1 = bound(f64::max, f64::NEG_INFINITY, |p| p.y).min(high).ceil() as i32 + 1;
    if x1 <= x0 || y1 <= y0 {
        return None;
    }
    let (width, height) = ((x1 - x0 + 1) as usize, (y1 - y0 + 1) as usize);
    let mut crossings: Vec<Vec<f64>> = vec![Vec::new(); height];
    for i in 0..outline.len() {
        let (a, b) = (outline[i], outline[(i + 1) % outline.len()]);
        let (a, b) = if a.y <= b.y { (a, b) } else { (b, a) };
        let first = (a.y.ceil() as i32).max(y0);
        let last = ((b.y - 1e-12).ceil() as i32 - 1).min(y1);
        for y in first..=last {
            let t = (f64::from(y) - a.y) / (b.y - a.y);
            crossings[(y - y0) as usize].push(a.x + (b.x - a.x) * t);
        }
    }
    let mut values = vec![false; width * height];
    for (row, xs) in crossings.iter_mut().enumerate() {
        xs.sort_by(f64::total_cmp);
        for pair in xs.chunks_exact(2) {
            let from = (pair[0].ceil() as i32 - x0).max(0);
            let to = (pair[1].floor() as i32 - x0).min(width as i32 - 1);
            for x in from..=to {
                values[row * width + x as usize] = true;
            }
        }
    }
    Some(Window { x: x0, y: y0, width, height, values })
}

/// Euclidean distance of each set pixel to the nearest unset one, minus half a pixel; 0 outside. Exact
/// (Felzenszwalb and Huttenlocher, 2012).
pub fn depth(mask: &Window<bool>) -> Window<f32> {
    let (w, h) = (mask.width, mask.height);
    const FAR: f32 = 1e10;
    let mut squared: Vec<f32> = mask.values.iter().map(|&inside| if inside { FAR } else { 0.0 }).collect();
    // Columns: distance to the nearest unset pixel above and below, two sweeps.
    let mut run = vec![FAR; w];
    for y in (0..h).chain((0..h).rev()) {
        for x in 0..w {
            let at = &mut squared[y * w + x];
            run[x] = if *at == 0.0 { 0.0 } else { run[x] + 1.0 };
            *at = at.min(run[x] * run[x]);
        }
        if y == h - 1 {
            // The second sweep starts here; rows outside the window are ignored.
            run.iter_mut().zip(&squared[(h - 1) * w..]).for_each(|(r, s)| *r = s.sqrt());
        }
    }
    // Rows: lower envelope of parabolas.
    let mut row = vec![0.0f32; w];
    let mut vertex = vec![0usize; w];
    let mut border = vec![0.0f32; w + 1];
    for line in squared.chunks_exact_mut(w) {
        if line.iter().all(|&v| v == 0.0) {
            continue;
        }
        row.copy_from_slice(line);
        let mut k = 0;
        vertex[0] = 0;
        border[0] = f32::NEG_INFINITY;
        border[1] = f32::INFINITY;
        for q in 1..w {
            let meet =
                |v: usize| ((row[q] + (q * q) as f32) - (row[v] + (v * v) as f32)) / (2.0 * (q as f32 - v as f32));
            let mut s = meet(vertex[k]);
            while s <= border[k] {
                k -= 1;
                s = meet(vertex[k]);
            }
            k += 1;
            vertex[k] = q;
            border[k] = s;
            border[k + 1] = f32::INFINITY;
        }
        k = 0;
        for (q, out) in line.iter_mut().enumerate() {
            while border[k + 1] < q as f32 {
                k += 1;
            }
            let d = q as f32 - vertex[k] as f32;
            *out = d * d + row[vertex[k]];
        }
    }
    let values = squared.into_iter().map(|s| (s.sqrt() - 0.5).max(0.0)).collect();
    Window { x: mask.x, y: mask.y, width: w, height: h, values }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_equals_the_brute_force_distance() {
        let outline: Vec<Point> =
            [(3.2, 2.0), (30.0, 5.5), (24.0, 14.0), (28.0, 31.0), (9.0, 26.0)].map(|(x, y)| Point::new(x, y)).into();
        let mask = fill(&outline, 64, 8.0).unwrap();
        let field = depth(&mask);
        let (w, h) = (mask.width as i32, mask.height as i32);
        for y in 0..h {
            for x in 0..w {
                let at = (y * w + x) as usize;
                let mut best = f32::INFINITY;
                for v in 0..h {
                    for u in 0..w {
                        if !mask.values[(v * w + u) as usize] {
                            best = best.min(((u - x) as f32).hypot((v - y) as f32));
                        }
                    }
                }
                let expected = if mask.values[at] { best - 0.5 } else { 0.0 };
                assert!((field.values[at] - expected).abs() < 1e-3, "{x} {y}: {} {expected}", field.values[at]);
            }
        }
    }
}
