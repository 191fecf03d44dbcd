//! The soft tissue around the bones: a smooth union of tapered capsules, stored as a coarse signed distance.

use super::hand::{HandGeometry, TABLE_SIZE};
use super::pose::FINGERS;
use super::texture::Noise;
use crate::bones::Bone;
use crate::geometry::Point;

/// Nodes per side of the coarse grid: 8 px apart at 2048.
const NODES: usize = 258;

/// A grid over the image from which values between nodes are interpolated.
pub struct Coarse {
    values: Vec<f32>,
    per_px: f32,
}

impl Coarse {
    fn from_nodes(size: u32, value: impl Fn(f64, f64) -> f32) -> Coarse {
        let spacing = f64::from(size) / (NODES - 2) as f64;
        let values =
            (0..NODES * NODES).map(|i| value((i % NODES) as f64 * spacing, (i / NODES) as f64 * spacing)).collect();
        Coarse { values, per_px: (1.0 / spacing) as f32 }
    }

    /// Interpolates one row of the image into `out`.
    pub fn row(&self, y: u32, out: &mut [f32]) {
        let v = y as f32 * self.per_px;
        let (row, fy) = (v as usize, v.fract());
        let (top, low) = (&self.values[row * NODES..][..NODES], &self.values[(row + 1) * NODES..][..NODES]);
        let mixed: Vec<f32> = top.iter().zip(low).map(|(t, l)| t + (l - t) * fy).collect();
        for (x, out) in out.iter_mut().enumerate() {
            let u = x as f32 * self.per_px;
            let (column, fx) = (u as usize, u.fract());
            *out = mixed[column] + (mixed[column + 1] - mixed[column]) * fx;
        }
    }

    /// The grid blurred three times by a box of `radius` nodes, which is nearly Gaussian.
    pub fn blurred(&self, radius: usize) -> Coarse {
        let mut values = self.values.clone();
        for _ in 0..3 {
            values = transposed_box(&values, radius);
            values = transposed_box(&values, radius);
        }
        Coarse { values, per_px: self.per_px }
    }

    /// The grid with `f` applied to each node.
    pub fn map(&self, f: impl Fn(f32) -> f32) -> Coarse {
        Coarse { values: self.values.iter().map(|&v| f(v)).collect(), per_px: self.per_px }
    }
}

/// Box mean along rows with repeated edges. The result is transposed, so that two calls blur in both directions.
fn transposed_box(values: &[f32], radius: usize) -> Vec<f32> {
    let mut out = vec![0.0; values.len()];
    let share = 1.0 / (2 * radius + 1) as f32;
    for (y, row) in values.chunks_exact(NODES).enumerate() {
        let at = |i: isize| row[i.clamp(0, NODES as isize - 1) as usize];
        let r = radius as isize;
        let mut sum: f32 = (-r..=r).map(at).sum();
        for x in 0..NODES {
            out[x * NODES + y] = sum * share;
            sum += at(x as isize + r + 1) - at(x as isize - r);
        }
    }
    out
}

/// A line with a radius at each end.
struct Capsule {
    from: Point,
    to: Point,
    radii: (f64, f64),
}

impl Capsule {
    fn distance(&self, x: f64, y: f64) -> f64 {
        let (dx, dy) = (self.to.x - self.from.x, self.to.y - self.from.y);
        let along = dx * (x - self.from.x) + dy * (y - self.from.y);
        let t = (along / (dx * dx + dy * dy).max(1e-9)).clamp(0.0, 1.0);
        let off = (x - self.from.x - t * dx).powi(2) + (y - self.from.y - t * dy).powi(2);
        off.sqrt() - self.radii.0 - t * (self.radii.1 - self.radii.0)
    }
}

/// Half widths of each finger's soft tissue at tip, last joint, middle joint, knuckle and base, in px of the table.
const FLESH: [[f64; 5]; 5] = [
    [40.0, 56.0, 56.0, 70.0, 84.0],
    [35.0, 44.0, 57.0, 76.0, 84.0],
    [37.0, 46.0, 60.0, 78.0, 80.0],
    [36.0, 44.0, 56.0, 74.0, 78.0],
    [31.0, 38.0, 47.0, 70.0, 84.0],
];

fn capsules(hand: &HandGeometry, fat: f64) -> Vec<Capsule> {
    let unit = hand.unit;
    let between = |a: Point, b: Point, t: f64| Point::new(a.x + (b.x - a.x) * t, a.y + (b.y - a.y) * t);
    let axis = |b: usize| hand.axes[b];
    let mut all = Vec::new();
    let mut add = |from: Point, to: Point, r0: f64, r1: f64| {
        all.push(Capsule { from, to, radii: (r0 * unit * fat, r1 * unit * fat) });
    };
    for (f, chain) in FINGERS.iter().enumerate() {
        let flesh = FLESH[f];
        let phalanges: Vec<usize> = chain[1..].iter().rev().copied().collect();
        let (tip, base) = axis(phalanges[0]);
        // The pulp extends beyond the bone's tip by its radius minus the bone's end.
        add(between(tip, base, 0.12), base, flesh[0], flesh[1]);
        let widths = if f == 0 { vec![(flesh[1], flesh[3])] } else { vec![(flesh[1], flesh[2]), (flesh[2], flesh[3])] };
        for (&bone, (r0, r1)) in phalanges[1..].iter().zip(widths) {
            let (distal, proximal) = axis(bone);
            // A finger is narrower between its joints.
            let waist = between(distal, proximal, 0.5);
            let narrow = 0.93 * (r0 + r1) / 2.0;
            add(distal, waist, r0, narrow);
            add(waist, proximal, narrow, r1);
        }
        let (distal, proximal) = axis(chain[0]);
        add(distal, proximal, flesh[3], flesh[4]);
    }
    // Web and ball of the thumb, and ball of the little finger.
    let (thumb, index) = (axis(FINGERS[0][0]), axis(FINGERS[1][0]));
    add(between(thumb.0, thumb.1, 0.35), between(index.0, index.1, 0.45), 52.0, 70.0);
    add(between(thumb.0, thumb.1, 0.65), between(index.0, index.1, 0.8), 88.0, 88.0);
    let little = axis(FINGERS[4][0]);
    let pisiform = between(axis(26).0, axis(26).1, 0.5);
    add(between(little.0, little.1, 0.5), pisiform, 78.0, 92.0);
    // Wrist and forearm.
    let centre = |b: Bone| between(axis(b.index()).0, axis(b.index()).1, 0.5);
    let (radius, ulna) = (axis(Bone::RADIUS.index()), axis(Bone::ULNA.index()));
    let wrist = between(radius.0, ulna.0, 0.45);
    add(centre(Bone::CAPITATE), wrist, 172.0, 196.0);
    let lower = between(radius.1, ulna.1, 0.45);
    let far = Point::new(wrist.x + 4.0 * (lower.x - wrist.x), wrist.y + 4.0 * (lower.y - wrist.y));
    add(wrist, far, 198.0, 232.0);
    all
}

/// Distance to the skin in px of the table, positive inside.
pub fn depth(hand: &HandGeometry, fat: f64) -> Coarse {
    let capsules = capsules(hand, fat);
    let to_table = TABLE_SIZE / f64::from(hand.size);
    // Width over which neighbouring capsules blend.
    let blend = 15.0 * f64::from(hand.size) / TABLE_SIZE;
    Coarse::from_nodes(hand.size, |x, y| {
        let mut near = f64::INFINITY;
        let mut distances = [0.0; 40];
        for (capsule, d) in capsules.iter().zip(&mut distances) {
            *d = capsule.distance(x, y);
            near = near.min(*d);
        }
        let sum: f64 = distances[..capsules.len()]
            .iter()
            .filter(|d| **d < near + 5.0 * blend)
            .map(|d| ((near - d) / blend).exp())
            .sum();
        ((blend * sum.ln() - near) * to_table) as f32
    })
}

/// Thickness of the soft tissue relative to the palm's maximum, by distance from the skin in px of the table. It is
/// steep near the skin, where the surface is round, and flat in the palm.
pub fn thickness(depth: f32) -> f32 {
    if depth <= 0.0 { 0.0 } else { (1.0 - (-depth / 75.0).exp()).sqrt() }
}

/// Smooth density variations of the soft tissue (muscles, fat, veins), relative; about ±0.1 in the palm.
pub fn mottle(hand: &HandGeometry, noise: [Noise; 2]) -> Coarse {
    let per = TABLE_SIZE / f64::from(hand.size);
    let mut muscles = Vec::new();
    let middle = |b: usize, t: f64| {
        let (d, p) = hand.axes[b];
        Point::new(d.x + (p.x - d.x) * t, d.y + (p.y - d.y) * t)
    };
    let (thumb, index, little) = (middle(2, 0.6), middle(6, 0.75), middle(18, 0.6));
    muscles.push((Point::new((2.0 * thumb.x + index.x) / 3.0, (2.0 * thumb.y + index.y) / 3.0), 110.0, 0.20));
    muscles.push((little, 90.0, 0.12));
    let unit = hand.unit;
    Coarse::from_nodes(hand.size, |x, y| {
        let (u, v) = ((x * per) as f32, (y * per) as f32);
        let slow = noise[0].at(u / 95.0, v / 95.0) * 0.06 + noise[1].at(u / 34.0, v / 46.0) * 0.035;
        let belly: f64 = muscles
            .iter()
            .map(|(at, reach, gain)| {
                let d = at.distance(Point::new(x, y)) / (reach * unit);
                gain * (-d * d).exp()
            })
            .sum();
        slow + belly as f32
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coarse_rows_interpolate_linearly() {
        for size in [256, 1000, 2048] {
            let plane = Coarse::from_nodes(size, |x, y| (0.5 * x - 0.25 * y) as f32);
            let mut row = vec![0.0; size as usize];
            for y in [0, size / 3, size - 1] {
                plane.row(y, &mut row);
                for x in [0usize, 7, size as usize - 1] {
                    let expected = 0.5 * x as f32 - 0.25 * y as f32;
                    assert!((row[x] - expected).abs() < 0.01, "{} {expected}", row[x]);
                }
            }
        }
    }

    #[test]
    fn thickness_rises_from_the_skin() {
        assert_eq!(thickness(-3.0), 0.0);
        assert!(thickness(5.0) > 0.2 && thickness(60.0) > 0.7 && thickness(400.0) <= 1.0);
    }
}
