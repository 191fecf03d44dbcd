//! The measured anatomy that phantoms are drawn from: `assets/anatomy.csv`, one row per pose and bone.

use std::sync::LazyLock;

use crate::bones::{Bone, BoneGroup, COUNT};
use crate::geometry::Point;

/// Number of radii that describe a bone's outline.
pub const RADII: usize = 32;

/// One bone in one pose of the mean right hand at 2048x2048, PA view. Lengths in px.
#[derive(Clone, Debug)]
pub struct BoneForm {
    /// Centroid relative to the Capitate's, x right, y down.
    pub centre: Point,
    /// Standard deviation of the centroid over hands.
    pub centre_sd: Point,
    /// Lean of the long axis from vertical, degrees, positive to the right going up; it points to the distal end.
    pub axis_deg: f64,
    /// Standard deviation of the lean over hands.
    pub axis_sd: f64,
    /// Mean area in px², with which the outlines are compared.
    #[cfg(test)]
    pub area: f64,
    /// Largest distance from the centroid to the outline in each of 32 sectors, the first starting at the
    /// distal end of the axis, clockwise.
    pub radii: [f64; RADII],
}

impl BoneForm {
    /// The outline's control points in the bone's frame: x to the right of the axis, y along it, distal up
    /// (so y grows towards the distal end).
    ///
    /// A sector's radius is the largest in it. Its point is placed at the sector's start where the radii decrease, at
    /// its end where they increase, and in its middle at a local extreme. Placed in this way, the outlines have the
    /// measured areas and second moments to about 2 %; with all points in the middles, the error would be much larger.
    pub fn control_points(&self) -> [Point; RADII] {
        std::array::from_fn(|k| {
            let before = self.radii[(k + RADII - 1) % RADII];
            let here = self.radii[k];
            let after = self.radii[(k + 1) % RADII];
            let within = if before > here && here >= after {
                0.0
            } else if before <= here && here < after {
                1.0
            } else {
                0.5
            };
            let angle = (k as f64 + within) * std::f64::consts::TAU / RADII as f64;
            Point::new(here * angle.sin(), here * angle.cos())
        })
    }
}

/// The two poses of the measured hands.
#[derive(Debug)]
pub struct Anatomy {
    /// Hand and forearm nearly aligned.
    pub straight: [BoneForm; COUNT],
    /// Wrist bent towards the little finger.
    pub rotated: [BoneForm; COUNT],
}

static ANATOMY: LazyLock<Anatomy> = LazyLock::new(|| parse(include_str!("../../../assets/anatomy.csv")));

impl Anatomy {
    /// The embedded table.
    pub fn get() -> &'static Anatomy {
        &ANATOMY
    }

    /// The table of a pose.
    pub fn pose(&self, rotated: bool) -> &[BoneForm; COUNT] {
        if rotated { &self.rotated } else { &self.straight }
    }
}

/// Reads the embedded table. It is part of the program, so it panics if the table is invalid.
fn parse(text: &str) -> Anatomy {
    let mut poses: [[Option<BoneForm>; COUNT]; 2] = [const { [const { None }; COUNT] }; 2];
    for line in text.lines().skip(1).filter(|l| !l.trim().is_empty()) {
        let cells: Vec<&str> = line.split(',').map(str::trim).collect();
        let number = |i: usize| cells[i].parse::<f64>().expect("the anatomy table contains numbers");
        let bone = Bone::from_name(cells[2]).expect("the anatomy table contains known bones");
        let form = BoneForm {
            centre: Point::new(number(3), number(4)),
            centre_sd: Point::new(number(5), number(6)),
            axis_deg: number(7),
            axis_sd: number(8),
            #[cfg(test)]
            area: number(9),
            radii: std::array::from_fn(|k| number(13 + k)),
        };
        poses[usize::from(cells[0] == "rotated")][bone.index()] = Some(form);
    }
    let [straight, rotated] = poses.map(|pose| {
        let mut forms = pose.map(|form| form.expect("the anatomy table has every bone in both poses"));
        correct_axes(&mut forms);
        forms
    });
    Anatomy { straight, rotated }
}

/// Nearly horizontal axes change sign between hands, which makes their mean meaningless. For such a finger bone, the
/// axis becomes the line to its neighbour in the finger.
fn correct_axes(forms: &mut [BoneForm; COUNT]) {
    for index in 0..COUNT {
        let bone = Bone::from_index(index).expect("index below the count");
        let BoneGroup::Finger(finger) = bone.group() else { continue };
        if forms[index].axis_sd <= 12.0 {
            continue;
        }
        let is_distal = index == 0 || Bone::from_index(index - 1).map(|b| b.group()) != Some(BoneGroup::Finger(finger));
        forms[index].axis_deg = if is_distal {
            forms[index + 1].centre.lean_to(forms[index].centre)
        } else {
            forms[index].centre.lean_to(forms[index - 1].centre)
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outlines_have_the_measured_areas() {
        for forms in [&Anatomy::get().straight, &Anatomy::get().rotated] {
            for bone in Bone::all() {
                let form = &forms[bone.index()];
                let p = form.control_points();
                let twice: f64 =
                    (0..RADII).map(|k| (p[k], p[(k + 1) % RADII])).map(|(a, b)| a.y * b.x - a.x * b.y).sum();
                let ratio = twice / 2.0 / form.area;
                assert!((0.87..1.06).contains(&ratio), "{bone}: {ratio}");
            }
        }
    }

    #[test]
    fn little_finger_of_the_bent_wrist_points_along_its_bones() {
        let forms = &Anatomy::get().rotated;
        for name in ["finger-16", "finger-17", "finger-18"] {
            let axis = forms[Bone::from_name(name).unwrap().index()].axis_deg;
            assert!((65.0..82.0).contains(&axis), "{name}: {axis}");
        }
    }
}
