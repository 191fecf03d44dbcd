use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::random_affine::{about_centre, clockwise};
use super::{Border, Change, Geometry, SampleView, Step};
use crate::geometry::Point;
use crate::violation::Violations;

/// Rotates the image about its centre so that the hand points up: by the angle of the hand, measured from the Ulna's
/// centroid to finger-16's. A sample without these two bones is not changed. With `p = 1` every training image is
/// upright, and so should be the images of a prediction.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RotateUpright {
    /// Probability of the step, 0 to 1. Default 0.5.
    pub p: f64,
    /// Greatest angle of the rotated hand in each direction, in degrees, drawn uniformly. From 0 to 180; default 0.
    pub jitter: f64,
    /// Pixels outside the image: `black` (without labels), or `reflect` (the image mirrored at its edge). Default
    /// `black`.
    pub border: Border,
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
        let turn = clockwise(jitter - view.angle()?);
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
    use crate::bones::Bone;
    use crate::geometry::Size;

    fn hand(size: Size, ulna: (usize, usize), finger: (usize, usize)) -> LabelledImage {
        let mut words = vec![0; size.pixels()];
        words[ulna.1 * size.width as usize + ulna.0] = Bone::ULNA.bit();
        words[finger.1 * size.width as usize + finger.0] |= Bone::FINGER_16.bit();
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
        for (ulna, finger) in [((30, 35), (30, 5)), ((10, 10), (50, 12)), ((30, 5), (28, 35)), ((50, 30), (5, 8))] {
            let image = hand(size, ulna, finger);
            assert!(angle(&RotateUpright::default(), &image, 1).abs() < 1e-9);
            let jitter = RotateUpright { jitter: 20.0, ..RotateUpright::default() };
            let drawn: Vec<f64> =
                (0..4000).map(|seed| (angle(&jitter, &image, seed) / 20.0).clamp(-1.0, 1.0)).collect();
            crate::augment::list::tests::assert_uniform(&drawn);
        }
    }

    #[test]
    fn without_the_two_bones_nothing_is_changed() {
        let size = Size::square(8);
        let image = LabelledImage::new(size, vec![0.0; 64], vec![Bone::ULNA.bit(); 64]);
        assert!(drawn_for(&RotateUpright::default(), &image, 1).is_none());
        let far = RotateUpright { jitter: 181.0, ..RotateUpright::default() };
        assert_eq!(far.violations().iter().next().unwrap().key, "jitter");
    }
}
