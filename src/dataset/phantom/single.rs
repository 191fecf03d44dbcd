use image::GrayImage;

use super::draw::Draw;
use super::hand::{HandGeometry, HandSpec, geometry};
use super::render::{Exposure, render};
use crate::dataset::Side;

/// A hand with its picture, for trying things on.
pub struct PhantomHand {
    /// Outlines, axes and annotation.
    pub geometry: HandGeometry,
    /// The radiograph.
    pub image: GrayImage,
}

/// One hand in memory, as it lies in no data set: an average patient numbered `patient` under `seed`.
pub fn hand(seed: u64, patient: u64, side: Side, rotated: bool, size: u32) -> PhantomHand {
    let mut draw = Draw::new(seed, "single hand", patient);
    let spec = HandSpec {
        seed,
        patient,
        side,
        rotated,
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
