use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::random_affine::{about_centre, clockwise};
use super::{Border, Change, Geometry, SampleView, Step};
use crate::bones::Bone;
use crate::geometry::Point;
use crate::violation::Violations;

/// Rotates the image about its centre so that the hand points up: the line from the Ulna's centroid to finger-16's leans
/// by 15.6° to the side of the little finger, as in an average straight hand. A sample without these two bones, or
/// without finger-1, Capitate and Radius (one of them shows the side of the thumb), is not changed. With `p = 1` every
/// training image is upright, and so should be the images of a prediction.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RotateUpright {
    /// Probability of the step, 0 to 1. Default 0.5.
    pub p: f64,
    /// Greatest deviation from the upright angle in each direction, in degrees, drawn uniformly. From 0 to 180; default 0.
    pub jitter: f64,
    /// Pixels outside the image: `black` (without labels), or `reflect` (the image mirrored at its edge). Default
    /// `black`.
    pub border: Border,
}

/// Lean of the line from Ulna to finger-16 in the average straight hand of `assets/anatomy.csv`, degrees.
const STRAIGHT_DEG: f64 = 15.6;

/// The angle that the hand has when it points up: towards the little finger. `None` if a bone for it is absent.
fn upright_deg(view: &SampleView) -> Option<f64> {
    let (ulna, little) = (view.centroid(Bone::ULNA)?, view.centroid(Bone::FINGER_16)?);
    let thumb_side = [Bone::FINGER_1, Bone::CAPITATE, Bone::RADIUS].into_iter().find_map(|bone| view.centroid(bone))?;
    // In pixels y points down: the cross product is negative if the thumb is left of the little finger as seen.
    let cross = (little.x - ulna.x) * (thumb_side.y - ulna.y) - (little.y - ulna.y) * (thumb_side.x - ulna.x);
    Some(if cross < 0.0 { STRAIGHT_DEG } else { -STRAIGHT_DEG })
}

impl Default for RotateUpright {
    fn default() -> Self {
        RotateUpright { p: 0.5, jitter: 0.0, border: Border::Black }
    }
}

impl Step for RotateUpright {
    fn p(&self) -> f64 {
        self.p
    }

    fn draw(&self, view: &SampleView, rng: &mut ChaCha8Rng) -> Option<Change> {
        let jitter = self.jitter * rng.random_range(-1.0..=1.0);
        let turn = clockwise(upright_deg(view)? + jitter - view.angle()?);
        let map = about_centre(view.size(), turn, Point::default()).expect("a rotation can be undone");
        Some(Change::Geometry { source_from_target: Geometry::Affine(map), border: Some(self.border) })
    }

    fn violations(&self) -> Violations {
        let mut wrong = Violations::new();
        wrong.expect((0.0..=180.0).contains(&self.jitter), "jitter", self.jitter, "degrees from 0 to 180");
        wrong
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::augment::list::tests::drawn_for;
    use crate::augment::{LabelledImage, Warp};
    use crate::geometry::Size;

    /// A hand with its thumb to the left of the line from Ulna to finger-16 as the hand points.
    fn hand(size: Size, ulna: (usize, usize), finger: (usize, usize), thumb: (usize, usize)) -> LabelledImage {
        let mut words = vec![0; size.pixels()];
        for ((x, y), bone) in [(ulna, Bone::ULNA), (finger, Bone::FINGER_16), (thumb, Bone::FINGER_1)] {
            words[y * size.width as usize + x] |= bone.bit();
        }
        LabelledImage::new(size, vec![0.0; size.pixels()], words)
    }

    /// Angle of the hand after the step.
    fn angle(step: &RotateUpright, image: &LabelledImage, seed: u64) -> f64 {
        let Some(Change::Geometry { source_from_target, border }) = drawn_for(step, image, seed) else {
            panic!("a map")
        };
        let mut warp = Warp::default();
        warp.push(source_from_target, border);
        SampleView { image, pending: &warp, other: &|_| None }.angle().unwrap()
    }

    #[test]
    fn the_hand_points_up_after_it() {
        let size = Size { width: 60, height: 40 };
        // Right hands, then left hands.
        for (ulna, finger, thumb, upright) in [
            ((30, 35), (30, 5), (10, 15), STRAIGHT_DEG),
            ((10, 10), (50, 12), (30, 2), STRAIGHT_DEG),
            ((30, 5), (28, 35), (50, 20), STRAIGHT_DEG),
            ((30, 35), (30, 5), (50, 15), -STRAIGHT_DEG),
            ((50, 30), (5, 8), (40, 5), -STRAIGHT_DEG),
        ] {
            let image = hand(size, ulna, finger, thumb);
            assert!((angle(&RotateUpright::default(), &image, 1) - upright).abs() < 1e-9);
            let jitter = RotateUpright { jitter: 20.0, ..RotateUpright::default() };
            let drawn: Vec<f64> =
                (0..4000).map(|seed| ((angle(&jitter, &image, seed) - upright) / 20.0).clamp(-1.0, 1.0)).collect();
            crate::augment::list::tests::assert_uniform(&drawn);
        }
    }

    #[test]
    fn the_average_straight_hand_stays() {
        let table = include_str!("../../assets/anatomy.csv");
        let centroid = |bone: &str| {
            let row: Vec<&str> = table
                .lines()
                .map(|line| line.split(',').collect::<Vec<_>>())
                .find(|r| r[0] == "straight" && r[2] == bone)
                .unwrap();
            Point::new(row[3].parse().unwrap(), row[4].parse().unwrap())
        };
        assert!((centroid("Ulna").lean_to(centroid("finger-16")) - STRAIGHT_DEG).abs() < 0.05);
    }

    #[test]
    fn without_the_bones_nothing_is_changed() {
        let size = Size::square(8);
        let image = LabelledImage::new(size, vec![0.0; 64], vec![Bone::ULNA.bit(); 64]);
        assert!(drawn_for(&RotateUpright::default(), &image, 1).is_none());
        let far = RotateUpright { jitter: 181.0, ..RotateUpright::default() };
        assert_eq!(far.violations().iter().next().unwrap().key, "jitter");
    }
}
