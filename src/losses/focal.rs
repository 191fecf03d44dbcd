//! Focal loss. T.-Y. Lin, P. Goyal, R. Girshick, K. He, P. Dollár, Focal loss for dense object detection, ICCV 2017.

use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::LossError;
use super::batch::{Chunk, Entropy, LossBatch, total};
use super::block::{BLOCK, PixelBlock, exp, sum};
use super::loss::{Computation, Loss, LossKind, PixelLoss, Term};
use crate::violation::Violations;

/// Mean over all pixels and classes of `a q^gamma (-log(1 - q))`, where q is the probability of the wrong label.
/// Equals SMP's `FocalLoss(mode="multilabel")`; for a soft target q is `1 - e^-E` with the cross entropy E, and a is
/// `alpha t + (1 - alpha) (1 - t)`, as there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Focal {
    /// Exponent by which well classified pixels are down-weighted, 0 or more.
    pub gamma: f64,
    /// The factor a: `alpha` for positive and `1 - alpha` for negative pixels, from 0 to 1; default: 1 for both.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alpha: Option<f64>,
}

impl Default for Focal {
    fn default() -> Self {
        Focal { gamma: 2.0, alpha: None }
    }
}

pub(super) const LOSS: LossKind = LossKind {
    name: "focal",
    about: "mean cross entropy times (1 - p)^gamma (Lin et al. 2017); options gamma, alpha",
    read: Term::read::<Focal>,
};

impl Loss for Focal {
    fn kind(&self) -> &'static LossKind {
        &LOSS
    }

    fn violations(&self, _classes: Option<i64>) -> Violations {
        let mut wrong = Violations::new();
        let gamma = self.gamma;
        wrong.expect(gamma.is_finite() && gamma >= 0.0, "gamma", gamma, "a number of 0 or more");
        if let Some(alpha) = self.alpha {
            wrong.expect((0.0..=1.0).contains(&alpha), "alpha", alpha, "from 0 to 1");
        }
        wrong
    }

    fn computation(&self) -> Computation<'_> {
        Computation::Pixels(self)
    }
}

impl PixelLoss for Focal {
    fn accumulate(
        &self,
        batch: &LossBatch,
        chunk: &Chunk,
        _probability: &Tensor,
        class_weight: Option<&Tensor>,
        gradient: Option<(&mut Tensor, f64)>,
    ) -> Result<Tensor, LossError> {
        let pixels = batch.size.iter().product::<i64>() as f64;
        let Entropy { value: entropy, wrong: q, right, slope: mut sign } = chunk.entropy()?;
        let mut weight = q.f_pow_tensor_scalar(self.gamma)?;
        if let Some(alpha) = self.alpha {
            weight = weight.f_mul_(&chunk.target.f_mul_scalar(2.0 * alpha - 1.0)?.f_add_scalar_(1.0 - alpha)?)?;
        }
        if let Some(factor) = class_weight {
            weight = weight.f_mul_(factor)?;
        }
        let value = total(&weight.f_mul(&entropy)?)?.f_div_scalar_(pixels)?;
        if let Some((gradient, scale)) = gradient {
            // d/dx = sign a q^gamma (gamma (1 - q) entropy + q), where sign = dE/dx / q: 1 - 2 t, if the target is hard
            let slope = right.f_mul(&entropy)?.f_mul_scalar_(self.gamma)?.f_add_(&q)?.f_mul_(&weight)?;
            let _ = gradient.f_add_(&sign.f_mul_(&slope)?.f_mul_scalar_(scale / pixels)?)?;
        }
        Ok(value)
    }

    fn block_sum(
        &self,
        _positive: f32,
        block: &PixelBlock,
        _map: Option<&[f32]>,
        gradient: Option<(&mut [f32], f32)>,
    ) -> f64 {
        let n = block.target.len();
        let (target, wrong, right) = (&block.target[..n], &block.wrong[..n], &block.right[..n]);
        let (entropy, other_entropy) = (&block.entropy[..n], &block.other_entropy[..n]);
        let gamma = self.gamma as f32;
        let mut weights = [1f32; BLOCK];
        let weights = &mut weights[..n];
        if gamma == 2.0 {
            weights.iter_mut().zip(wrong).for_each(|(weight, q)| *weight = q * q);
        } else if gamma != 0.0 {
            weights.iter_mut().zip(other_entropy).for_each(|(weight, e)| *weight = exp(-gamma * e));
        }
        if let Some(alpha) = self.alpha {
            let (slope, start) = ((2.0 * alpha - 1.0) as f32, (1.0 - alpha) as f32);
            weights.iter_mut().zip(target).for_each(|(weight, t)| *weight *= slope * t + start);
        }
        if let Some((gradient, scale)) = gradient {
            let gradient = &mut gradient[..n];
            for i in 0..n {
                let slope = gamma * right[i] * entropy[i] + wrong[i];
                gradient[i] += scale * (1.0 - 2.0 * target[i]) * weights[i] * slope;
            }
        }
        weights.iter_mut().zip(entropy).for_each(|(weight, e)| *weight *= e);
        sum(weights)
    }
}

#[cfg(test)]
mod tests {
    use super::super::worked_example::check;

    #[test]
    fn by_hand() {
        let of = |q: f64, gamma: f64| -q.powf(gamma) * (1.0 - q).ln();
        let [easy, even, hard, absent] = [0.2, 0.5, 0.9, 0.1].map(|q| of(q, 2.0));
        check(r#"{"focal": 1}"#, (even + 2.0 * easy + hard + 4.0 * absent) / 8.0);
        let [easy, even, hard, absent] = [0.2, 0.5, 0.9, 0.1].map(|q| of(q, 0.5));
        let wanted = (0.25 * (even + easy) + 0.75 * (easy + hard + 4.0 * absent)) / 8.0;
        check(r#"{"focal": {"weight": 1, "gamma": 0.5, "alpha": 0.25}}"#, wanted);
        let [easy, even, hard, absent] = [0.2, 0.5, 0.9, 0.1].map(|q| of(q, 0.0));
        check(r#"{"focal": {"weight": 1, "gamma": 0}}"#, (even + 2.0 * easy + hard + 4.0 * absent) / 8.0);
    }
}
