//! Places the 29 bones: fingers as chains of joints, carpals in two rows, the forearm below.

use super::anatomy::{Anatomy, BoneForm};
use super::draw::Draw;
use crate::bones::{Bone, COUNT};
use crate::geometry::Point;

/// Channels of each finger from the metacarpal to the distal phalanx, thumb first.
pub const FINGERS: [&[usize]; 5] = [&[2, 1, 0], &[6, 5, 4, 3], &[10, 9, 8, 7], &[14, 13, 12, 11], &[18, 17, 16, 15]];
/// Trapezium to Hamate, which move with the hand.
const DISTAL_ROW: [usize; 4] = [19, 20, 21, 22];
/// Scaphoid to Pisiform, which move half as much as the hand.
const PROXIMAL_ROW: [usize; 4] = [23, 24, 25, 26];

/// Deviation of one bone from the mean bone.
#[derive(Clone, Copy, Debug)]
pub struct BoneVariation {
    /// Factor along the axis.
    pub length: f64,
    /// Factor across the axis.
    pub width: f64,
    /// Smooth waves of the outline: cosine and sine of the second to fourth order, relative to the radius.
    pub waves: [[f64; 2]; 3],
}

/// Position of one bone in a right hand, relative to the Capitate, in px at 2048, x right, y down.
#[derive(Clone, Copy, Debug)]
pub struct Placed {
    /// Centre; for Radius and Ulna, the centre in the table.
    pub centre: Point,
    /// Lean of the axis from vertical, degrees.
    pub axis_deg: f64,
}

impl Placed {
    /// Converts a point from the bone's frame (x right of the axis, y distal) to the hand's.
    pub fn to_hand(self, p: Point) -> Point {
        let (s, c) = self.axis_deg.to_radians().sin_cos();
        Point::new(self.centre.x + p.y * s + p.x * c, self.centre.y - p.y * c + p.x * s)
    }

    fn turned(self, pivot: Point, degrees: f64) -> Placed {
        Placed { centre: turn(self.centre, pivot, degrees), axis_deg: self.axis_deg + degrees }
    }
}

/// Rotates `p` clockwise (as seen in the image) about `pivot`.
fn turn(p: Point, pivot: Point, degrees: f64) -> Point {
    let (s, c) = degrees.to_radians().sin_cos();
    let (x, y) = (p.x - pivot.x, p.y - pivot.y);
    Point::new(pivot.x + c * x - s * y, pivot.y + s * x + c * y)
}

/// Deviations of one hand's joints from the mean pose, in degrees and px.
#[derive(Clone, Debug)]
pub struct Joints {
    /// Rotation of each finger at its base and at the joints up to its tip.
    finger: [[f64; 4]; 5],
    /// Width of the joint spaces along each finger.
    gap: [[f64; 3]; 5],
    /// Shift and rotation of each carpal bone.
    carpal: [(Point, f64); COUNT],
    /// Rotation of the forearm about the wrist.
    forearm_deg: f64,
}

impl Joints {
    /// Draws the deviation shared by a patient's hands from `patient` and the hand's own deviation from `image`.
    pub fn draw(rotated: bool, patient: &mut Draw, image: &mut Draw) -> Joints {
        let forms = Anatomy::get().pose(rotated);
        // Half of the variance is shared by the patient's hands, half is the hand's own.
        let mut both = |sd: f64| patient.normal(0.0, 0.7 * sd) + image.normal(0.0, 0.7 * sd);
        let splay = both(1.6);
        let finger = std::array::from_fn(|f| {
            if f == 0 {
                [both(3.6), both(4.0), both(5.0), 0.0]
            } else {
                [both(0.9), both(1.7) + splay * (f as f64 - 2.4), both(1.2), both(1.8)]
            }
        });
        let gap = std::array::from_fn(|_| std::array::from_fn(|_| 3.5 + both(1.2)));
        let carpal = std::array::from_fn(|b| {
            let form = &forms[b];
            let shift = Point::new(both(0.55 * form.centre_sd.x.min(14.0)), both(0.55 * form.centre_sd.y.min(14.0)));
            (shift, both(0.5 * form.axis_sd.min(10.0)))
        });
        Joints { finger, gap, carpal, forearm_deg: both(1.5) }
    }
}

/// Positions of the bones of a right hand with the scale `scale`, bent by `bend_deg` more than in the table.
pub fn place(
    rotated: bool,
    scale: f64,
    variation: &[BoneVariation; COUNT],
    joints: &Joints,
    bend_deg: f64,
) -> [Placed; COUNT] {
    let forms = Anatomy::get().pose(rotated);
    let scaled = |p: Point| Point::new(p.x * scale, p.y * scale);
    let mut placed: [Placed; COUNT] =
        std::array::from_fn(|b| Placed { centre: scaled(forms[b].centre), axis_deg: forms[b].axis_deg });
    for (finger, chain) in FINGERS.iter().enumerate() {
        place_finger(&mut placed, chain, forms, scale, variation, &joints.gap[finger]);
        bend_finger(&mut placed, chain, forms, scale, variation, &joints.finger[finger]);
    }
    let middle = Point::default();
    for finger in FINGERS {
        for &bone in finger {
            placed[bone] = placed[bone].turned(middle, bend_deg);
        }
    }
    for (row, share) in [(DISTAL_ROW, 1.0), (PROXIMAL_ROW, 0.5)] {
        for bone in row {
            let (shift, turn) = joints.carpal[bone];
            let moved = placed[bone].turned(middle, share * bend_deg);
            let centre = Point::new(moved.centre.x + scale * shift.x, moved.centre.y + scale * shift.y);
            placed[bone] = Placed { centre, axis_deg: moved.axis_deg + turn };
        }
    }
    let wrist = scaled(Point::new(20.0, 130.0));
    for bone in [Bone::RADIUS, Bone::ULNA] {
        let at = &mut placed[bone.index()];
        *at = at.turned(wrist, joints.forearm_deg);
    }
    placed
}

/// The distal and proximal end of a bone's axis, in the hand's frame.
pub fn ends(at: Placed, form: &BoneForm, scale: f64, variation: &BoneVariation) -> (Point, Point) {
    let distal = (form.radii[0] + form.radii[31]) / 2.0;
    let proximal = (form.radii[15] + form.radii[16]) / 2.0;
    let length = scale * variation.length;
    (at.to_hand(Point::new(0.0, distal * length)), at.to_hand(Point::new(0.0, -proximal * length)))
}

/// Places the phalanges end to end from the metacarpal on, with the table's lateral offsets and a joint space of at
/// least `gap`, so that a longer bone shifts the rest of the finger outwards.
fn place_finger(
    placed: &mut [Placed; COUNT],
    chain: &[usize],
    forms: &[BoneForm; COUNT],
    scale: f64,
    variation: &[BoneVariation; COUNT],
    gap: &[f64; 3],
) {
    const MEAN: BoneVariation = BoneVariation { length: 1.0, width: 1.0, waves: [[0.0; 2]; 3] };
    let table: Vec<(Point, Point)> =
        chain.iter().map(|&b| ends(Placed { ..placed[b] }, &forms[b], scale, &MEAN)).collect();
    for joint in 1..chain.len() {
        let (below, above) = (chain[joint - 1], chain[joint]);
        let (s, c) = placed[above].axis_deg.to_radians().sin_cos();
        let step = Point::new(table[joint].1.x - table[joint - 1].0.x, table[joint].1.y - table[joint - 1].0.y);
        let along = (step.x * s - step.y * c).max(scale * gap[joint - 1].max(2.0));
        let across = step.x * c + step.y * s;
        let (end, _) = ends(placed[below], &forms[below], scale, &variation[below]);
        let start = Point::new(end.x + along * s + across * c, end.y - along * c + across * s);
        let (_, now) = ends(placed[above], &forms[above], scale, &variation[above]);
        placed[above].centre.x += start.x - now.x;
        placed[above].centre.y += start.y - now.y;
    }
}

/// Rotates each joint together with the bones distal of it.
fn bend_finger(
    placed: &mut [Placed; COUNT],
    chain: &[usize],
    forms: &[BoneForm; COUNT],
    scale: f64,
    variation: &[BoneVariation; COUNT],
    turns: &[f64; 4],
) {
    for joint in 0..chain.len() {
        let (_, start) = ends(placed[chain[joint]], &forms[chain[joint]], scale, &variation[chain[joint]]);
        for &bone in &chain[joint..] {
            placed[bone] = placed[bone].turned(start, turns[joint]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn still() -> (Joints, [BoneVariation; COUNT]) {
        let joints = Joints {
            finger: [[0.0; 4]; 5],
            gap: [[5.0; 3]; 5],
            carpal: [(Point::default(), 0.0); COUNT],
            forearm_deg: 0.0,
        };
        (joints, [BoneVariation { length: 1.0, width: 1.0, waves: [[0.0; 2]; 3] }; COUNT])
    }

    #[test]
    fn bones_of_a_finger_have_joint_spaces() {
        let (mut joints, mut variation) = still();
        joints.finger = [[2.0, -6.0, 5.0, 4.0]; 5];
        variation[6].length = 1.08;
        for rotated in [false, true] {
            let placed = place(rotated, 1.0, &variation, &joints, 3.0);
            let forms = Anatomy::get().pose(rotated);
            for chain in FINGERS {
                for pair in chain.windows(2) {
                    let (end, _) = ends(placed[pair[0]], &forms[pair[0]], 1.0, &variation[pair[0]]);
                    let (_, start) = ends(placed[pair[1]], &forms[pair[1]], 1.0, &variation[pair[1]]);
                    let gap = end.distance(start);
                    assert!((4.9..22.0).contains(&gap), "{} {gap}", Bone::from_index(pair[1]).unwrap());
                }
            }
        }
    }

    #[test]
    fn bending_turns_the_hand_and_not_the_forearm() {
        let (joints, variation) = still();
        let a = place(false, 1.0, &variation, &joints, 0.0);
        let b = place(false, 1.0, &variation, &joints, 10.0);
        assert!((b[15].axis_deg - a[15].axis_deg - 10.0).abs() < 1e-9);
        assert!((b[23].axis_deg - a[23].axis_deg - 5.0).abs() < 1e-9);
        assert_eq!(a[28].centre, b[28].centre);
    }
}
