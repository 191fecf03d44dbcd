//! Binary cross entropy on logits, with weights and label smoothing.

use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::batch::{Chunk, LossBatch, total};
use super::block::{BLOCK, PixelBlock, sum};
use super::loss::{Computation, Loss, LossKind, PixelLoss, Term};
use super::pixel_weight::Around;
use super::planes::Strip;
use super::{LossError, PerClass, PixelWeight};
use crate::violation::Violations;

/// Mean over all pixels and classes of `-w [q t log p + (1 - t) log(1 - p)]`, where w are the weights of the classes and
/// of the pixels. Equals PyTorch's `binary_cross_entropy_with_logits`; the smoothing is that of SMP's `SoftBCEWithLogitsLoss`. Pixel weights come from
/// a rule (`pixel-weight`) or are given with the target ([`super::LossMix::forward_weighted`]); if both exist, they are
/// multiplied.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Bce {
    /// Weight q of the positive pixels.
    #[serde(alias = "pos_weight", skip_serializing_if = "Option::is_none")]
    pub pos_weight: Option<PerClass>,
    /// Label smoothing s, from 0 to 0.5: targets 0 and 1 become s and 1 - s.
    #[serde(alias = "label_smoothing")]
    pub label_smoothing: f64,
    /// Weight of a pixel by its distance to outlines; the mean still divides by the number of pixels.
    #[serde(alias = "pixel_weight", skip_serializing_if = "Option::is_none")]
    pub pixel_weight: Option<PixelWeight>,
}

pub(super) const LOSS: LossKind = LossKind {
    name: "bce",
    about: "mean binary cross entropy; options pos-weight, label-smoothing, pixel-weight = { around = outline or gaps, factor, sigma }",
    read: Term::read::<Bce>,
};

impl Loss for Bce {
    fn kind(&self) -> &'static LossKind {
        &LOSS
    }

    fn violations(&self, classes: Option<i64>) -> Violations {
        let mut wrong = Violations::new();
        if let Some(values) = &self.pos_weight {
            wrong.extend(values.violations("pos-weight", classes));
        }
        let smoothing = self.label_smoothing;
        wrong.expect((0.0..=0.5).contains(&smoothing), "label-smoothing", smoothing, "from 0 to 0.5");
        wrong.inside("pixel-weight", self.pixel_weight.as_ref().map_or_else(Violations::new, PixelWeight::violations));
        wrong
    }

    fn takes_weights(&self) -> bool {
        true
    }

    fn pixel_weight(&self) -> Option<&PixelWeight> {
        self.pixel_weight.as_ref()
    }

    fn computation(&self) -> Computation<'_> {
        Computation::Pixels(self)
    }
}

impl PixelLoss for Bce {
    fn accumulate(
        &self,
        batch: &LossBatch,
        chunk: &Chunk,
        probability: &Tensor,
        weight: Option<&Tensor>,
        gradient: Option<(&mut Tensor, f64)>,
    ) -> Result<Tensor, LossError> {
        let [_, classes, ..] = batch.size;
        let positive = match &self.pos_weight {
            Some(values) => Some(chunk.of_class(&values.tensor("pos-weight", classes, batch.device())?)?),
            None => None,
        };
        let mut weight = weight.map(Tensor::shallow_clone);
        if let Some(pixels) = batch.pixel_weights(chunk, self.pixel_weight.as_ref())? {
            weight = Some(match weight {
                Some(weight) => weight.f_mul(&pixels)?,
                None => pixels,
            });
        }
        let smoothing = self.label_smoothing;
        let pixels = batch.size.iter().product::<i64>() as f64;

        // `wrongness` is positive for a wrong prediction. The loss of the true label is softplus(wrongness), that of
        // the other label softplus(-wrongness) = softplus(wrongness) - wrongness.
        let mut wrongness = chunk.wrongness()?;
        let mut value = wrongness.f_softplus()?;
        if chunk.is_soft {
            // Both labels by their shares.
            let soft = chunk.target.f_mul_scalar(1.0 - 2.0 * smoothing)?.f_add_scalar_(smoothing)?;
            let mut present = chunk.logits.f_neg()?.f_softplus()?.f_mul_(&soft)?;
            if let Some(q) = &positive {
                present = present.f_mul_(q)?;
            }
            value = chunk.logits.f_softplus()?.f_mul_(&soft.f_rsub_scalar(1.0)?)?.f_add_(&present)?;
        } else if smoothing == 0.0 {
            if let Some(q) = &positive {
                // Positive pixels count q times: + (q - 1) t.
                let extra = value.f_mul(&chunk.target)?.f_mul(&q.f_sub_scalar(1.0)?)?;
                value = value.f_add_(&extra)?;
            }
        } else {
            let factor = |t: &Tensor| match &positive {
                Some(q) => t.f_mul(&q.f_sub_scalar(1.0)?)?.f_add_scalar(1.0),
                None => Ok(t.f_ones_like()?),
            };
            let other = value.f_sub(&wrongness)?.f_mul(&factor(&chunk.target.f_rsub_scalar(1.0)?)?)?;
            let own = value.f_mul(&factor(&chunk.target)?)?;
            value = own.f_mul_scalar(1.0 - smoothing)?.f_add(&other.f_mul_scalar(smoothing)?)?;
        }
        if let Some(w) = &weight {
            value = value.f_mul_(w)?;
        }
        let value = total(&value)?.f_div_scalar_(pixels)?;

        if let Some((gradient, scale)) = gradient {
            let soft = if smoothing == 0.0 {
                chunk.target.shallow_clone()
            } else {
                chunk.target.f_mul_scalar(1.0 - 2.0 * smoothing)?.f_add_scalar_(smoothing)?
            };
            // d/dx = p (1 + (q - 1) t) - q t
            wrongness = match &positive {
                None => probability.f_sub(&soft)?,
                Some(q) => {
                    let weighed = soft.f_mul(q)?;
                    probability.f_mul(&weighed.f_sub(&soft)?.f_add_scalar_(1.0)?)?.f_sub_(&weighed)?
                }
            };
            if let Some(w) = &weight {
                wrongness = wrongness.f_mul_(w)?;
            }
            let _ = gradient.f_add_(&wrongness.f_mul_scalar_(scale / pixels)?)?;
        }
        Ok(value)
    }

    fn positive_weights(&self, classes: i64) -> Result<Vec<f32>, LossError> {
        match &self.pos_weight {
            Some(values) => Ok(values.values("pos-weight", classes)?.into_iter().map(|q| q as f32).collect()),
            None => Ok(vec![1.0; classes as usize]),
        }
    }

    fn map(&self, strip: &Strip) -> Option<Vec<f32>> {
        let given = strip.weights();
        let rule = self.pixel_weight.as_ref().filter(|rule| rule.around == Around::Outline);
        let Some(rule) = rule else { return given.map(<[f32]>::to_vec) };
        let mut map = vec![0.0; strip.len];
        rule.around_outline(strip.edge(), strip.rows(), &mut map);
        if let Some(given) = given {
            map.iter_mut().zip(given).for_each(|(weight, given)| *weight *= given);
        }
        Some(map)
    }

    fn block_sum(
        &self,
        q: f32,
        block: &PixelBlock,
        weights: Option<&[f32]>,
        gradient: Option<(&mut [f32], f32)>,
    ) -> f64 {
        let n = block.target.len();
        let (target, probability) = (&block.target[..n], &block.probability[..n]);
        let (entropy, other_entropy) = (&block.entropy[..n], &block.other_entropy[..n]);
        let s = self.label_smoothing as f32;
        let mut values = [0f32; BLOCK];
        let values = &mut values[..n];
        if s == 0.0 {
            for i in 0..n {
                values[i] = (1.0 + (q - 1.0) * target[i]) * entropy[i];
            }
        } else {
            for i in 0..n {
                let own = (1.0 + (q - 1.0) * target[i]) * entropy[i];
                let other = (1.0 + (q - 1.0) * (1.0 - target[i])) * other_entropy[i];
                values[i] = (1.0 - s) * own + s * other;
            }
        }
        if let Some(weights) = weights {
            values.iter_mut().zip(weights).for_each(|(value, weight)| *value *= weight);
        }
        if let Some((gradient, scale)) = gradient {
            let slope = |i: usize| {
                let soft = target[i] * (1.0 - 2.0 * s) + s;
                scale * (probability[i] * (1.0 + (q - 1.0) * soft) - q * soft)
            };
            let gradient = &mut gradient[..n];
            match weights {
                None => (0..n).for_each(|i| gradient[i] += slope(i)),
                Some(weights) => {
                    let weights = &weights[..n];
                    (0..n).for_each(|i| gradient[i] += slope(i) * weights[i]);
                }
            }
        }
        sum(values)
    }
}

#[cfg(test)]
mod tests {
    use super::super::worked_example::check;

    #[test]
    fn by_hand() {
        let absent = -4.0 * 0.9f64.ln();
        let sum = -(0.5f64.ln() + 0.8f64.ln() + 0.8f64.ln() + 0.1f64.ln());
        check(r#"{"bce": 1}"#, (sum + absent) / 8.0);
        check(r#"{"bce": {"weight": 2, "class-weights": [0.5, 3]}}"#, (sum + 6.0 * absent) / 8.0);
        let positive = -(0.5f64.ln() + 0.8f64.ln());
        check(r#"{"bce": {"weight": 1, "pos-weight": 4}}"#, (sum + 3.0 * positive + absent) / 8.0);
        // The loss with the other label for every pixel.
        let other = -(0.5f64.ln() + 0.2f64.ln() + 0.2f64.ln() + 0.9f64.ln()) - 4.0 * 0.1f64.ln();
        check(r#"{"bce": {"weight": 1, "label-smoothing": 0.1}}"#, (0.9 * (sum + absent) + 0.1 * other) / 8.0);
        // Distances to the outline, which only the first class has: 1, 0, 1, 2.
        let [one, two] = [0.5f64, 2.0].map(|d| (-d).exp());
        let weighed = sum - (one * (0.5f64.ln() + 0.8f64.ln()) + 0.8f64.ln() + two * 0.1f64.ln());
        let rule = r#"{"bce": {"weight": 1, "pixel-weight": {"around": "outline", "factor": 1, "sigma": 1}}}"#;
        check(rule, (weighed + absent) / 8.0);
    }
}
