//! Pixel weights by the distance to outlines, after O. Ronneberger, P. Fischer, T. Brox, U-Net, MICCAI 2015.

use serde::{Deserialize, Serialize};

use super::block::exp;
use crate::closed_enum::closed_enum;
use crate::mask::SignedDistance;
use crate::violation::Violations;

closed_enum! {
    /// Which pixels have a larger weight.
    pub enum Around ("place to weigh") {
        /// Pixels near the outline of their class: `d` is the distance to it, 0 on the mask's outermost pixels.
        Outline = "outline",
        /// Pixels between two bones, with the same weights for all classes: `d` is the sum of the distances to the two
        /// nearest bones of the image, 0 for a pixel on both. This is U-Net's weight map.
        Gaps = "gaps",
    }
}

/// A pixel has the weight `1 + factor e^(-d² / (2 sigma²))`: `{ around = "gaps", factor = 10, sigma = 5 }`. Distances
/// are in pixels at the size of the logits. Without an outline (`outline`) or with fewer than two bones (`gaps`) the
/// weight is 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct PixelWeight {
    /// Which pixels have a larger weight.
    pub around: Around,
    /// Additional weight at distance 0, 0 or more; default: 10, as in U-Net.
    #[serde(default = "unet_factor")]
    pub factor: f64,
    /// Width of the weighted zone (standard deviation) in pixels, above 0; default: 5, as in U-Net.
    #[serde(default = "unet_sigma")]
    pub sigma: f64,
}

fn unet_factor() -> f64 {
    10.0
}

fn unet_sigma() -> f64 {
    5.0
}

impl PixelWeight {
    /// Every option out of range.
    pub fn violations(&self) -> Violations {
        let mut wrong = Violations::new();
        let PixelWeight { factor, sigma, .. } = *self;
        wrong.expect(factor.is_finite() && factor >= 0.0, "factor", factor, "a number of 0 or more");
        wrong.expect(sigma.is_finite() && sigma > 0.0, "sigma", sigma, "a number of pixels above 0");
        wrong
    }

    /// Beyond this distance the exponential is below 2e-8, which is lost when added to 1 in single precision.
    fn band(&self) -> f32 {
        (6.0 * self.sigma) as f32
    }

    /// Writes the weights of these rows around the outline of one class.
    pub(super) fn around_outline(&self, edge: &SignedDistance, rows: std::ops::Range<u32>, out: &mut [f32]) {
        if !edge.has_edge() {
            return out.fill(1.0);
        }
        edge.fill(rows, Some(self.band()), out);
        self.weigh(out);
    }

    /// Writes the weights of these rows between the bones of one image.
    pub(super) fn in_gaps(&self, edges: &[SignedDistance], rows: std::ops::Range<u32>, out: &mut [f32]) {
        let band = self.band();
        let mut distance = vec![0f32; out.len()];
        let mut second = vec![f32::INFINITY; out.len()];
        out.fill(f32::INFINITY);
        for edge in edges.iter().filter(|edge| edge.has_edge()) {
            edge.fill(rows.clone(), Some(band), &mut distance);
            for ((d, first), second) in distance.iter().zip(out.iter_mut()).zip(&mut second) {
                let d = d.max(0.0);
                *second = second.min(first.max(d));
                *first = first.min(d);
            }
        }
        out.iter_mut().zip(&second).for_each(|(first, second)| *first += second);
        self.weigh(out);
    }

    /// Converts distances to weights, in place.
    fn weigh(&self, distances: &mut [f32]) {
        let (factor, scale) = (self.factor as f32, (-0.5 / (self.sigma * self.sigma)) as f32);
        distances.iter_mut().for_each(|d| *d = 1.0 + factor * exp(scale * *d * *d));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mask::RunMask;

    fn close(found: &[f32], wanted: &[f64]) {
        assert_eq!(found.len(), wanted.len());
        assert!(found.iter().zip(wanted).all(|(a, b)| (f64::from(*a) - b).abs() < 1e-6), "{found:?}, {wanted:?}");
    }

    #[test]
    fn weights_by_hand() {
        // Two bones in a row of nine pixels: 1 and 2, and 6.
        let bones = [&[0, 1, 1, 0, 0, 0, 0, 0, 0], &[0, 0, 0, 0, 0, 0, 1, 0, 0], &[0u8; 9]];
        let edges = bones.map(|dense| SignedDistance::new(&RunMask::from_dense(dense, 9, 1)));
        let rule = |around| PixelWeight { around, factor: 3.0, sigma: 2.0 };
        let of = |distances: &[f64]| distances.iter().map(|d| 1.0 + 3.0 * (-d * d / 8.0).exp()).collect::<Vec<_>>();
        let mut weights = [0.0; 9];
        rule(Around::Outline).around_outline(&edges[0], 0..1, &mut weights);
        close(&weights, &of(&[1.0, 0.0, 0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0]));
        rule(Around::Outline).around_outline(&edges[2], 0..1, &mut weights);
        close(&weights, &[1.0; 9]);
        rule(Around::Gaps).in_gaps(&edges, 0..1, &mut weights);
        close(&weights, &of(&[7.0, 5.0, 4.0, 4.0, 4.0, 4.0, 4.0, 6.0, 8.0]));
        rule(Around::Gaps).in_gaps(&edges[1..], 0..1, &mut weights);
        close(&weights, &[1.0; 9]);
    }
}
