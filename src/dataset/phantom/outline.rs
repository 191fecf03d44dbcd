//! Outlines: converts 32 radii to a smooth closed curve, and the curve to an annotator's polygon.

use super::anatomy::BoneForm;
use super::draw::Draw;
use super::pose::BoneVariation;
use crate::geometry::Point;

/// Control points of a bone in its own frame (x right of the axis, y distal), varied and scaled.
pub fn control_points(form: &BoneForm, scale: f64, variation: &BoneVariation) -> Vec<Point> {
    form.control_points()
        .iter()
        .map(|p| {
            let angle = p.x.atan2(p.y);
            let wave: f64 = variation
                .waves
                .iter()
                .zip(2..)
                .map(|([c, s], order)| {
                    let (sin, cos) = (f64::from(order) * angle).sin_cos();
                    c * cos + s * sin
                })
                .sum();
            let factor = scale * (1.0 + wave);
            Point::new(p.x * factor * variation.width, p.y * factor * variation.length)
        })
        .collect()
}

/// As [`control_points`] for Radius and Ulna: the distal part of the table's outline, and below it a shaft with nearly
/// parallel walls of `length` px, longer than the visible part in any image. `form` is that of the straight pose (its
/// distal end is the sharper one); `distal` is the distance of the distal end from the centre in this pose.
pub fn forearm_control_points(
    form: &BoneForm,
    distal: f64,
    length: f64,
    scale: f64,
    variation: &BoneVariation,
) -> Vec<Point> {
    let lift = scale * (distal - form.radii[0]);
    let points = control_points(form, scale, variation);
    let lifted = |p: &Point| Point::new(p.x, p.y + lift);
    // Sectors 14 to 17 end at the image's lower edge, not at the bone's outline.
    let right: Vec<Point> = points[..14].iter().map(lifted).collect();
    let left: Vec<Point> = points[18..].iter().map(lifted).collect();
    let (r, l) = (right[13], left[0]);
    let (middle, half) = ((r.x + l.x) / 2.0, (r.x - l.x) / 2.0);
    let step = length / 5.0;
    let mut all = right;
    let narrowing = [0.965, 0.945, 0.935, 0.93, 0.93];
    for (i, factor) in narrowing.iter().enumerate() {
        all.push(Point::new(middle + half * factor, r.y - step * (i + 1) as f64));
    }
    for (i, factor) in narrowing.iter().enumerate().rev() {
        all.push(Point::new(middle - half * factor, l.y - step * (i + 1) as f64));
    }
    all.extend(left);
    all
}

/// A closed centripetal Catmull-Rom curve through `control`, sampled about every `step` px. Other Catmull-Rom curves
/// overshoot, because the points are close at a long bone's ends and far apart along its shaft.
pub fn smooth(control: &[Point], step: f64) -> Vec<Point> {
    let n = control.len();
    let knot = |a: Point, b: Point| a.distance(b).sqrt().max(1e-3);
    let mix = |a: Point, b: Point, t: f64| Point::new(a.x + (b.x - a.x) * t, a.y + (b.y - a.y) * t);
    let mut curve = Vec::new();
    for i in 0..n {
        let [p0, p1, p2, p3] = [control[(i + n - 1) % n], control[i], control[(i + 1) % n], control[(i + 2) % n]];
        let t1 = knot(p0, p1);
        let t2 = t1 + knot(p1, p2);
        let t3 = t2 + knot(p2, p3);
        let pieces = (p1.distance(p2) / step).ceil().clamp(1.0, 400.0) as usize;
        for piece in 0..pieces {
            let t = t1 + (t2 - t1) * piece as f64 / pieces as f64;
            let a1 = mix(p0, p1, t / t1);
            let a2 = mix(p1, p2, (t - t1) / (t2 - t1));
            let a3 = mix(p2, p3, (t - t2) / (t3 - t2));
            let b1 = mix(a1, a2, t / t2);
            let b2 = mix(a2, a3, (t - t1) / (t3 - t1));
            curve.push(mix(b1, b2, (t - t1) / (t2 - t1)));
        }
    }
    curve
}

/// The part of a closed polygon inside `0..=limit` in both directions (Sutherland and Hodgman, 1974).
pub fn clip(polygon: &[Point], limit: f64) -> Vec<Point> {
    let mut points = polygon.to_vec();
    for (horizontal, sign, bound) in [(true, 1.0, 0.0), (true, -1.0, -limit), (false, 1.0, 0.0), (false, -1.0, -limit)]
    {
        let depth = |p: &Point| sign * (if horizontal { p.x } else { p.y }) - bound;
        if points.iter().all(|p| depth(p) >= 0.0) {
            continue;
        }
        let mut kept = Vec::with_capacity(points.len() + 8);
        for i in 0..points.len() {
            let (a, b) = (points[i], points[(i + 1) % points.len()]);
            let (da, db) = (depth(&a), depth(&b));
            if da >= 0.0 {
                kept.push(a);
            }
            if (da >= 0.0) != (db >= 0.0) {
                let t = da / (da - db);
                kept.push(Point::new(a.x + (b.x - a.x) * t, a.y + (b.y - a.y) * t));
            }
        }
        points = kept;
    }
    points
}

/// Area and centroid of a polygon; `None` if it has no area.
pub fn centroid(polygon: &[Point]) -> Option<(f64, Point)> {
    let (mut twice, mut x, mut y) = (0.0, 0.0, 0.0);
    for i in 0..polygon.len() {
        let (a, b) = (polygon[i], polygon[(i + 1) % polygon.len()]);
        let cross = a.x * b.y - b.x * a.y;
        twice += cross;
        x += (a.x + b.x) * cross;
        y += (a.y + b.y) * cross;
    }
    (twice.abs() > 1e-9).then(|| (twice.abs() / 2.0, Point::new(x / (3.0 * twice), y / (3.0 * twice))))
}

fn rounded(p: Point, limit: f64) -> [i32; 2] {
    [p.x.clamp(0.0, limit).round() as i32, p.y.clamp(0.0, limit).round() as i32]
}

fn without_repeats(mut points: Vec<[i32; 2]>) -> Vec<[i32; 2]> {
    points.dedup();
    while points.len() > 1 && points.first() == points.last() {
        points.pop();
    }
    points
}

/// A contour with about one vertex per pixel, as produced by tracing tools.
pub fn dense_polygon(curve: &[Point], limit: f64) -> Vec<[i32; 2]> {
    let mut points = Vec::new();
    for i in 0..curve.len() {
        let (a, b) = (curve[i], curve[(i + 1) % curve.len()]);
        let pieces = a.distance(b).ceil().max(1.0) as usize;
        for piece in 0..pieces {
            let t = piece as f64 / pieces as f64;
            points.push(rounded(Point::new(a.x + (b.x - a.x) * t, a.y + (b.y - a.y) * t), limit));
        }
    }
    without_repeats(points)
}

/// A manually clicked polygon with about `vertices` vertices, denser where the outline bends. `tremor` is the standard
/// deviation of each vertex in px.
pub fn sparse_polygon(curve: &[Point], vertices: usize, tremor: f64, limit: f64, draw: &mut Draw) -> Vec<[i32; 2]> {
    let n = curve.len();
    let mut length = 0.0;
    let mut effort = Vec::with_capacity(n + 1);
    let perimeter: f64 = (0..n).map(|i| curve[i].distance(curve[(i + 1) % n])).sum();
    effort.push(0.0);
    for i in 0..n {
        let (a, b, c) = (curve[i], curve[(i + 1) % n], curve[(i + 2) % n]);
        let bend = ((c.y - b.y).atan2(c.x - b.x) - (b.y - a.y).atan2(b.x - a.x)).sin().abs();
        length += a.distance(b) + 0.12 * perimeter * bend;
        effort.push(length);
    }
    let start = draw.uniform(0.0, 1.0);
    let mut at = 0;
    let mut points: Vec<[i32; 2]> = (0..vertices)
        .map(|v| {
            let goal = (v as f64 + start) / vertices as f64 * length;
            while at + 1 < n && effort[at + 1] <= goal {
                at += 1;
            }
            let t = ((goal - effort[at]) / (effort[at + 1] - effort[at]).max(1e-9)).clamp(0.0, 1.0);
            let (a, b) = (curve[at], curve[(at + 1) % n]);
            let x = a.x + (b.x - a.x) * t + draw.normal(0.0, tremor);
            let y = a.y + (b.y - a.y) * t + draw.normal(0.0, tremor);
            rounded(Point::new(x, y), limit)
        })
        .collect();
    points = without_repeats(points);
    points
}

#[cfg(test)]
mod tests {
    use super::*;

    fn circle(r: f64) -> Vec<Point> {
        (0..32)
            .map(|k| f64::from(k) * std::f64::consts::TAU / 32.0)
            .map(|a| Point::new(100.0 + r * a.sin(), 100.0 + r * a.cos()))
            .collect()
    }

    #[test]
    fn smooth_curve_contains_its_control_points() {
        let control = circle(60.0);
        let curve = smooth(&control, 2.0);
        for p in &control {
            assert!(curve.iter().any(|q| q.distance(*p) < 1e-9));
        }
        let (area, c) = centroid(&curve).unwrap();
        assert!((area / (std::f64::consts::PI * 3600.0) - 1.0).abs() < 0.01);
        assert!((c.x - 100.0).abs() < 0.01 && (c.y - 100.0).abs() < 0.01);
    }

    #[test]
    fn clipping_keeps_the_inside() {
        let curve = smooth(&circle(60.0), 1.0);
        let cut = clip(&curve, 100.0);
        let (area, _) = centroid(&cut).unwrap();
        assert!((area / (std::f64::consts::PI * 900.0) - 1.0).abs() < 0.01, "{area}");
        assert!(cut.iter().all(|p| p.x <= 100.0 && p.y <= 100.0));
        assert_eq!(clip(&curve, 400.0), curve);
    }

    #[test]
    fn polygons_follow_the_curve() {
        let curve = smooth(&circle(60.0), 1.0);
        let dense = dense_polygon(&curve, 2047.0);
        assert!(dense.len() > 300);
        assert!(dense.windows(2).all(|w| (w[0][0] - w[1][0]).abs() <= 1 && (w[0][1] - w[1][1]).abs() <= 1));
        let sparse = sparse_polygon(&curve, 24, 0.5, 2047.0, &mut Draw::new(1, "polygon", 0));
        assert_eq!(sparse.len(), 24);
        for p in sparse {
            let r = Point::new(100.0, 100.0).distance(Point::new(f64::from(p[0]), f64::from(p[1])));
            assert!((r - 60.0).abs() < 3.0);
        }
    }
}
