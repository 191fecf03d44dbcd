//! Boundary loss. H. Kervadec et al., Boundary loss for highly unbalanced segmentation, MIDL 2019.

use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::LossError;
use super::batch::{Chunk, LossBatch, total};
use super::block::{PixelBlock, dot};
use super::loss::{Computation, Loss, LossKind, PixelLoss, Term};
use super::planes::Strip;
use crate::violation::Violations;

/// Mean over all pixels and classes of `p phi`, where phi is the signed distance in pixels to the true outline:
/// positive outside, 0 on the mask's outermost pixels, negative inside; 0 everywhere for a class that is absent or
/// fills its image. Below 0 for a good prediction. Equals MONAI's `BoundaryLoss(sigmoid=True)`.
///
/// The distances are computed from the target at each step, at the size of the logits and one strip of rows at a time;
/// no dense map is stored. Far from a bone they are hundreds of pixels, so a few wrong pixels there outweigh the
/// outline. `band` limits the distances, and with them the cost of computing them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Boundary {
    /// Larger distances are limited to this many pixels, above 0; default: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub band: Option<f64>,
}

pub(super) const LOSS: LossKind = LossKind {
    name: "boundary",
    about: "mean probability times signed distance to the outline in pixels (Kervadec et al. 2019); option band, in pixels",
    read: Term::read::<Boundary>,
};

impl Loss for Boundary {
    fn kind(&self) -> &'static LossKind {
        &LOSS
    }

    fn violations(&self, _classes: Option<i64>) -> Violations {
        let mut wrong = Violations::new();
        if let Some(band) = self.band {
            wrong.expect(band.is_finite() && band > 0.0, "band", band, "a number of pixels above 0");
        }
        wrong
    }

    fn needs_distances(&self) -> bool {
        true
    }

    fn computation(&self) -> Computation<'_> {
        Computation::Pixels(self)
    }
}

impl PixelLoss for Boundary {
    fn accumulate(
        &self,
        batch: &LossBatch,
        chunk: &Chunk,
        _probability: &Tensor,
        weight: Option<&Tensor>,
        gradient: Option<(&mut Tensor, f64)>,
    ) -> Result<Tensor, LossError> {
        let pixels = batch.size.iter().product::<i64>() as f64;
        let distance = batch.distances(chunk, self.band)?;
        let probability = chunk.logits.f_sigmoid()?;
        let mut share = distance.f_mul(&probability)?;
        if let Some(weight) = weight {
            share = share.f_mul_(weight)?;
        }
        let value = total(&share)?.f_div_scalar(pixels)?;
        if let Some((gradient, scale)) = gradient {
            let mut slope = probability.f_rsub_scalar(1.0)?.f_mul_(&share)?;
            let _ = gradient.f_add_(&slope.f_mul_scalar_(scale / pixels)?)?;
        }
        Ok(value)
    }

    fn map(&self, strip: &Strip) -> Option<Vec<f32>> {
        let mut map = vec![0.0; strip.len];
        strip.edge().fill(strip.rows(), self.band.map(|band| band as f32), &mut map);
        Some(map)
    }

    fn block_sum(
        &self,
        _positive: f32,
        block: &PixelBlock,
        map: Option<&[f32]>,
        gradient: Option<(&mut [f32], f32)>,
    ) -> f64 {
        let distance = map.expect("`map` returns the distances");
        if let Some((gradient, scale)) = gradient {
            for ((g, p), d) in gradient.iter_mut().zip(block.probability).zip(distance) {
                *g += scale * d * p * (1.0 - p);
            }
        }
        dot(block.probability, distance)
    }
}

#[cfg(test)]
mod tests {
    use super::super::worked_example::check_on;

    #[test]
    fn by_hand() {
        // Six pixels, the middle three true: distances 1, 0, -1, 0, 1, 2; the second class has no outline.
        let p = [0.25, 0.5, 0.75, 0.5, 0.5, 0.25f64];
        let logits: Vec<f64> = p.iter().chain(&[0.5; 6]).map(|p| (p / (1.0 - p)).ln()).collect();
        let mut target = [0.0; 12];
        target[1..4].fill(1.0);
        let slopes = |distances: [f64; 6]| {
            let of = |(p, d): (&f64, f64)| p * (1.0 - p) * d / 12.0;
            p.iter().zip(distances).map(of).chain([0.0; 6]).collect::<Vec<f64>>()
        };
        let slope = slopes([1.0, 0.0, -1.0, 0.0, 1.0, 2.0]);
        check_on(r#"{"boundary": 1}"#, &logits, &target, (0.25 - 0.75 + 0.5 + 0.5) / 12.0, Some(&slope));
        let slope = slopes([0.5, 0.0, -0.5, 0.0, 0.5, 0.5]);
        let limited = r#"{"boundary": {"weight": 1, "band": 0.5}}"#;
        check_on(limited, &logits, &target, 0.5 * (0.25 - 0.75 + 0.5 + 0.25) / 12.0, Some(&slope));
    }
}
