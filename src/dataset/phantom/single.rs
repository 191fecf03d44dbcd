use image::GrayImage;

use super::draw::Draw;
use super::hand::{HandGeometry, HandSpec, geometry};
use super::render::{Exposure, render};
use crate::dataset::Side;

/// A hand with its image, for experiments and tests.
pub struct PhantomHand {
    /// Outlines, axes and annotation.
    pub geometry: HandGeometry,
    /// The radiograph.
    pub image: GrayImage,
}

/// Pose of a hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pose {
    /// Hand and forearm are aligned.
    Straight,
    /// The wrist is bent towards the little finger.
    Rotated,
}

/// One hand in memory that belongs to no data set, in a square image of `size` px: an average patient with the number
/// `patient` and the seed `seed`.
pub fn hand(seed: u64, patient: u64, side: Side, pose: Pose, size: u32) -> PhantomHand {
    let mut draw = Draw::new(seed, "single hand", patient);
    let spec = HandSpec {
        seed,
        patient,
        side,
        rotated: pose == Pose::Rotated,
        scale: draw.normal(0.972, 0.05),
        stoutness: draw.normal(1.0, 0.012),
        dense: false,
    };
    let geometry = geometry(&spec, size);
    let index = 2 * patient + u64::from(side == Side::L);
    let exposure = Exposure { seed, index, cortex: 1.0, flesh: 1.0, objects: Vec::new() };
    let image = render(&geometry, &exposure);
    PhantomHand { geometry, image }
}
