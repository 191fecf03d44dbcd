use std::f64::consts::TAU;

use crate::geometry::Point;

/// Number of directions.
pub const RADII: usize = 32;

/// Distances from a bone's centroid to its outline in 32 directions, in px. The first points along the bone's long axis to
/// its distal end, the others follow clockwise. The bone is described as a star around its centroid; parts of an outline
/// behind another part are not seen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Radii(pub [f64; RADII]);

impl Radii {
    /// From the closed paths around a mask (`RunMask::outlines`), its centroid, the angle of its long axis from the vertical
    /// in degrees, and the direction of the hand from the forearm to the fingers, by which the distal end is chosen. `None`
    /// without a path.
    pub fn new(paths: &[Vec<[i32; 2]>], centroid: Point, orientation_deg: f64, hand: [f64; 2]) -> Option<Radii> {
        let lean = orientation_deg.to_radians();
        let axis = [lean.sin(), -lean.cos()];
        let is_distal = axis[0] * hand[0] + axis[1] * hand[1] >= 0.0;
        // Clockwise from the vertical, with y down.
        let first = if is_distal { lean } else { lean + TAU / 2.0 };
        let sector = TAU / RADII as f64;
        let mut farthest = [None::<f64>; RADII];
        for [x, y] in paths.iter().flatten() {
            let (dx, dy) = (f64::from(*x) - centroid.x, f64::from(*y) - centroid.y);
            let turn = (dx.atan2(-dy) - first).rem_euclid(TAU);
            let at = (turn / sector).round() as usize % RADII;
            let radius = dx.hypot(dy);
            farthest[at] = Some(farthest[at].map_or(radius, |r| r.max(radius)));
        }
        filled(farthest).map(Radii)
    }

    /// The mirror image: the other hand's bone.
    pub fn mirrored(&self) -> Radii {
        Radii(std::array::from_fn(|i| self.0[(RADII - i) % RADII]))
    }

    /// Intersection over union of the two stars, each turned about its centroid so that they fit best; 0 if one has no area.
    pub fn best_iou(&self, other: &Radii) -> f64 {
        let iou = |shift: usize| {
            let pairs = (0..RADII).map(|i| (self.0[i], other.0[(i + shift) % RADII]));
            let (mut shared, mut all) = (0.0, 0.0);
            for (a, b) in pairs {
                shared += a.min(b).powi(2);
                all += a.max(b).powi(2);
            }
            if all > 0.0 { shared / all } else { 0.0 }
        };
        (0..RADII).map(iou).fold(0.0, f64::max)
    }

    /// The radii as text: numbers with one decimal, separated by spaces.
    pub fn to_text(&self) -> String {
        self.0.map(|radius| format!("{radius:.1}")).join(" ")
    }

    /// Reads [`Radii::to_text`]; `None` for other text.
    pub fn from_text(text: &str) -> Option<Radii> {
        let radii: Vec<f64> = text.split(' ').map(|n| n.parse().ok()).collect::<Option<_>>()?;
        let radii: [f64; RADII] = radii.try_into().ok()?;
        radii.iter().all(|radius| radius.is_finite() && *radius >= 0.0).then_some(Radii(radii))
    }
}

/// Fills directions without a point from their neighbours, linearly.
fn filled(farthest: [Option<f64>; RADII]) -> Option<[f64; RADII]> {
    farthest.iter().flatten().next()?;
    let near = |from: usize, step: usize| {
        (1..=RADII).find_map(|d| Some((d as f64, farthest[(from + d * step) % RADII]?))).unwrap_or((1.0, 0.0))
    };
    Some(std::array::from_fn(|i| {
        farthest[i].unwrap_or_else(|| {
            let ((after, a), (before, b)) = (near(i, 1), near(i, RADII - 1));
            (a * before + b * after) / (before + after)
        })
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The outline of an ellipse with a bulge on the right of its upper end, leaning by `degrees`.
    fn outline(degrees: f64, mirrored: bool) -> Vec<Vec<[i32; 2]>> {
        let (s, c) = degrees.to_radians().sin_cos();
        let point = |i: i32| {
            let t = f64::from(i) * TAU / 2000.0;
            let bulge = 1.0 + 0.25 * (-(t - 0.6).powi(2) * 8.0).exp();
            let (x, y) = (200.0 * t.sin() * bulge, -600.0 * t.cos() * bulge);
            let x = if mirrored { -x } else { x };
            [(c * x - s * y).round() as i32, (s * x + c * y).round() as i32]
        };
        vec![(0..2000).map(point).collect()]
    }

    fn radii(degrees: f64, mirrored: bool) -> Radii {
        Radii::new(&outline(degrees, mirrored), Point::new(0.0, 0.0), degrees, [0.1, -1.0]).unwrap()
    }

    #[test]
    fn turned_and_mirrored_bones_fit_each_other() {
        let upright = radii(0.0, false);
        // The bulge is at the distal end, a little clockwise.
        assert!((upright.0[16] - 600.0).abs() < 8.0 && upright.0[1] > 640.0 && upright.0[31] < 600.0, "{upright:?}");
        for degrees in [-50.0, 20.0, 85.0] {
            assert!(upright.best_iou(&radii(degrees, false)) > 0.97, "{degrees}");
            let other = radii(degrees, true);
            assert!(upright.best_iou(&other.mirrored()) > 0.97, "{degrees}");
            assert!(upright.best_iou(&other) < upright.best_iou(&other.mirrored()), "{degrees}");
        }
        let half = Radii(upright.0.map(|r| r / 2.0));
        assert!((upright.best_iou(&half) - 0.25).abs() < 1e-12);
        assert_eq!(upright.mirrored().mirrored(), upright);
    }

    #[test]
    fn the_first_radius_is_the_distal_one() {
        let hand_down = Radii::new(&outline(0.0, false), Point::new(0.0, 0.0), 0.0, [0.0, 1.0]).unwrap();
        let up = radii(0.0, false);
        assert!((0..RADII).all(|i| (hand_down.0[i] - up.0[(i + 16) % RADII]).abs() < 1e-9));
    }

    #[test]
    fn text_is_read_again_and_other_text_is_refused() {
        let radii = radii(10.0, false);
        let again = Radii::from_text(&radii.to_text()).unwrap();
        assert!(again.0.iter().zip(radii.0).all(|(a, b)| (a - b).abs() <= 0.05));
        for text in ["", "1 2", "x", &"1 ".repeat(32), &vec!["NaN"; 32].join(" "), &vec!["-1"; 32].join(" ")] {
            assert_eq!(Radii::from_text(text), None, "{text}");
        }
        let point = Radii::new(&[vec![[3, 3]]], Point::new(3.0, 3.0), 0.0, [0.0, -1.0]).unwrap();
        assert_eq!((point.0, point.best_iou(&point)), ([0.0; RADII], 0.0));
        assert_eq!(Radii::new(&[], Point::new(0.0, 0.0), 0.0, [0.0, -1.0]), None);
    }
}
