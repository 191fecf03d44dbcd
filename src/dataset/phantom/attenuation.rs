//! Attenuation of the beam by a bone, modelled as a tube of cortex around spongy bone, seen from above.

use super::draw::Draw;
use super::hand::{HandGeometry, TABLE_SIZE};
use super::pose::FINGERS;
use super::raster::{Window, depth, fill};
use super::texture::Noise;
use crate::bones::{Bone, BoneGroup, COUNT};
use crate::geometry::Point;

/// Half width in px of the table up to which a bone is round.
const FLAT: f32 = 52.0;

/// Structure of a bone.
#[derive(Clone, Copy)]
struct Build {
    /// Thickness of the cortex in the middle of the shaft, as a share of the half width.
    shaft: f32,
    /// Thickness of the cortex at the ends, in px of the table.
    shell: f32,
    /// Density of spongy bone relative to cortex.
    spongy: f32,
    /// Contrast of the trabeculae at the ends.
    grain: f32,
    /// Overall density.
    density: f32,
    /// Whether it has a shaft with a canal; otherwise it is spongy throughout.
    is_long: bool,
}

fn build(bone: Bone, strength: f32) -> Build {
    let carpal = Build { shaft: 0.0, shell: 4.2, spongy: 0.34, grain: 0.36, density: 0.95, is_long: false };
    let long = Build { shaft: 0.36 * strength, shell: 3.4, spongy: 0.31, grain: 0.46, density: 1.0, is_long: true };
    match bone.group() {
        BoneGroup::Carpal => carpal,
        // Distal phalanges are thin and have hardly any canal.
        BoneGroup::Finger(_) if [0, 3, 7, 11, 15].contains(&bone.index()) => Build { shaft: 0.42 * strength, ..long },
        BoneGroup::Finger(_) => long,
        BoneGroup::Forearm => Build { shaft: 0.27 * strength, shell: 4.2, density: 0.80, ..long },
    }
}

/// Adds every bone of the hand to `field` (`size * size` values), in units in which a metacarpal's shaft is
/// about 0.7. Overlapping bones add up, as shadows do.
pub fn add_bones(field: &mut [f32], hand: &HandGeometry, strength: f64, draw: &mut Draw) {
    for bone in Bone::all() {
        let shape = build(bone, (strength * draw.normal(1.0, 0.03)) as f32);
        let noise = std::array::from_fn(|_| Noise::new(draw));
        add_bone(field, hand.size, &hand.outlines[bone.index()], hand.axes[bone.index()], shape, noise);
    }
    // Sesamoid bones at the thumb's knuckle: small, round, in every hand, and never annotated.
    let (knuckle, base) = hand.axes[FINGERS[0][0]];
    let (dx, dy) = (base.x - knuckle.x, base.y - knuckle.y);
    let length = dx.hypot(dy).max(1e-9);
    // They lie on the side of the index finger.
    let index = hand.axes[FINGERS[1][0]].1;
    let towards = if dx * (index.y - knuckle.y) - dy * (index.x - knuckle.x) > 0.0 { 1.0 } else { -1.0 };
    for (along, across, size) in [(0.045, 0.135 * towards, 12.5), (0.075, -0.02 * towards, 11.0)] {
        let centre = Point::new(knuckle.x + along * dx - across * dy, knuckle.y + along * dy + across * dx);
        let (rx, ry) = (size * hand.unit, 0.8 * size * hand.unit);
        let turned = |a: f64| {
            let (s, c) = a.sin_cos();
            let (u, v) = (rx * c, ry * s);
            Point::new(centre.x + (u * dx - v * dy) / length, centre.y + (u * dy + v * dx) / length)
        };
        let outline: Vec<Point> = (0..24).map(|i| turned(f64::from(i) * std::f64::consts::TAU / 24.0)).collect();
        let shape = Build { density: 0.8, ..build(Bone::CAPITATE, 1.0) };
        let noise = std::array::from_fn(|_| Noise::new(draw));
        add_bone(field, hand.size, &outline, (turned(0.0), turned(std::f64::consts::PI)), shape, noise);
    }
    debug_assert_eq!(hand.outlines.len(), COUNT);
}

fn add_bone(field: &mut [f32], size: u32, outline: &[Point], axis: (Point, Point), build: Build, noise: [Noise; 3]) {
    let k = (f64::from(size) / TABLE_SIZE) as f32;
    let Some(mask) = fill(outline, size, f64::from(60.0 * k)) else { return };
    let field_depth = softened(depth(&mask));
    let (distal, proximal) = axis;
    let length = distal.distance(proximal).max(1e-6);
    let (ux, uy) = (((distal.x - proximal.x) / length) as f32, ((distal.y - proximal.y) / length) as f32);
    let (ox, oy) = (field_depth.x as f32 - proximal.x as f32, field_depth.y as f32 - proximal.y as f32);
    let reach = profile_reach(&mask.values, mask.width, |x, y| (x as f32 + ox) * ux + (y as f32 + oy) * uy);
    let Some((low, bins)) = reach else { return };
    let along = |x: usize, y: usize| (x as f32 + ox) * ux + (y as f32 + oy) * uy;
    let across = |x: usize, y: usize| (y as f32 + oy) * ux - (x as f32 + ox) * uy;

    // Half width along the axis: the largest depth per step, widened so that the ends keep their neighbours' width and
    // their shell is visible as along the sides, then smoothed.
    let mut half = vec![0.0f32; bins];
    for (i, &d) in field_depth.values.iter().enumerate().filter(|(_, d)| **d > 0.0) {
        let bin = (along(i % mask.width, i / mask.width) - low) as usize;
        half[bin.min(bins - 1)] = half[bin.min(bins - 1)].max(d);
    }
    let half = smoothed(&widened(&half, (22.0 * k) as usize + 1), (10.0 * k) as usize + 1);

    let (window_x, window_y) = (field_depth.x, field_depth.y);
    let to_table = 1.0 / k;
    let span = (length as f32).max(1.0);
    for y in 0..mask.height {
        let row = window_y + y as i32;
        if row < 0 || row >= size as i32 {
            continue;
        }
        for x in 0..mask.width {
            let d = field_depth.values[y * mask.width + x];
            let column = window_x + x as i32;
            if d <= 0.02 || column < 0 || column >= size as i32 {
                continue;
            }
            let u = along(x, y);
            let w = half[((u - low) as usize).min(bins - 1)].max(d).max(1.0) * to_table;
            let d = d * to_table;
            // -1 at the proximal end, 1 at the distal one; the shaft is thick-walled where it is near 0.
            let q = (2.0 * u / span - 1.0).clamp(-1.0, 1.0);
            let shaft = if build.is_long { (1.0 - q * q).powf(1.35) } else { 0.0 };
            let wall = build.shell + (build.shaft * w - build.shell).max(0.0) * shaft;
            let whole = chord(d, w);
            let inner = chord(d - wall, w - wall);
            let (tu, tv) = (u * to_table, across(x, y) * to_table);
            let weave = if build.is_long {
                // Trabeculae along the axis, and fine ones across.
                let strut = noise[0].at(tu / 17.0, tv / 3.4);
                let cross = noise[1].at(tu / 4.5, tv / 7.0);
                0.75 * strut + 0.4 * cross + 0.35 * noise[2].at(tu / 38.0, tv / 22.0)
            } else {
                // A mesh: the ridges of two noise fields in different directions.
                let mesh = noise[0].at((tu + 0.5 * tv) / 4.8, (tv - 0.5 * tu) / 9.0).abs()
                    + noise[1].at((tu - 0.6 * tv) / 8.5, (tv + 0.6 * tu) / 4.5).abs();
                0.9 - 1.5 * mesh + 0.5 * noise[2].at(tu / 24.0, tv / 24.0)
            };
            let contrast = build.grain * (1.0 - 0.8 * shaft);
            let spongy = build.spongy * (1.0 - 0.5 * shaft) * (1.0 + contrast * weave);
            // Wide ends are flat: they are not as deep as they are wide.
            let flat = (FLAT / w).min(1.0).powf(0.6);
            let value = build.density * flat * 0.0205 * (whole - inner + spongy * inner);
            field[row as usize * size as usize + column as usize] += value;
        }
    }
}

/// The depth averaged over 3x3 px, which removes the outline's pixel steps.
fn softened(mut field: Window<f32>) -> Window<f32> {
    let (w, h) = (field.width, field.height);
    let mut row = vec![0.0f32; w];
    for line in field.values.chunks_exact_mut(w) {
        row.copy_from_slice(line);
        for x in 1..w - 1 {
            line[x] = 0.25 * row[x - 1] + 0.5 * row[x] + 0.25 * row[x + 1];
        }
    }
    let mut above = field.values[..w].to_vec();
    for y in 1..h - 1 {
        row.copy_from_slice(&field.values[y * w..][..w]);
        for x in 0..w {
            field.values[y * w + x] = 0.25 * above[x] + 0.5 * row[x] + 0.25 * field.values[(y + 1) * w + x];
        }
        above.copy_from_slice(&row);
    }
    field
}

/// Length of the beam's path through a cylinder of half width `w` at the distance `d` from its edge.
fn chord(d: f32, w: f32) -> f32 {
    if d <= 0.0 || w <= 0.0 {
        0.0
    } else if d >= w {
        2.0 * w
    } else {
        2.0 * (d * (2.0 * w - d)).sqrt()
    }
}

fn profile_reach(mask: &[bool], width: usize, along: impl Fn(usize, usize) -> f32) -> Option<(f32, usize)> {
    let mut low = f32::INFINITY;
    let mut high = f32::NEG_INFINITY;
    for (i, _) in mask.iter().enumerate().filter(|(_, m)| **m) {
        let u = along(i % width, i / width);
        low = low.min(u);
        high = high.max(u);
    }
    (low <= high).then(|| (low, (high - low) as usize + 2))
}

fn widened(values: &[f32], reach: usize) -> Vec<f32> {
    (0..values.len())
        .map(|i| {
            let window = &values[i.saturating_sub(reach)..(i + reach + 1).min(values.len())];
            window.iter().copied().fold(0.0, f32::max)
        })
        .collect()
}

fn smoothed(values: &[f32], reach: usize) -> Vec<f32> {
    (0..values.len())
        .map(|i| {
            let window = &values[i.saturating_sub(reach)..(i + reach + 1).min(values.len())];
            window.iter().sum::<f32>() / window.len() as f32
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tube_is_brightest_at_its_walls() {
        let w = 30.0;
        let value = |d: f32| {
            let wall = 9.0;
            chord(d, w) - chord(d - wall, w - wall) + 0.3 * chord(d - wall, w - wall)
        };
        assert!(value(9.0) > 1.2 * value(30.0));
        assert!(value(9.0) > 1.2 * value(2.0));
        assert_eq!(chord(-1.0, w), 0.0);
        assert_eq!(chord(30.0, w), 60.0);
    }
}
