//! The common part of the overlap losses: they depend only on three sums per class and image.

use tch::{Kind, TchError, Tensor};

use super::batch::{Chunk, LossBatch};
use crate::violation::Violations;

/// Sums over the pixels of each class of each image, `[B, C]` each, from which the overlap losses are computed.
pub struct Overlap {
    /// `sum p t`: probability times target; `sum min(p, t)` if the target is soft ([`Chunk::covered`]).
    pub both: Tensor,
    /// `sum p`: probability.
    pub predicted: Tensor,
    /// `sum t`: target.
    pub true_pixels: Tensor,
    /// Factors of the values of the classes, `[C]`; `None`: 1.
    pub class_weights: Option<Tensor>,
}

impl Overlap {
    /// Sums of a batch, initially zero.
    pub fn zeros(batch: &LossBatch) -> Result<Self, TchError> {
        let [b, c, ..] = batch.size;
        let zeros = || Tensor::f_zeros([b, c], (Kind::Float, batch.device()));
        Ok(Overlap { both: zeros()?, predicted: zeros()?, true_pixels: zeros()?, class_weights: None })
    }

    /// Sets the sums of a chunk's classes.
    pub fn add(&mut self, chunk: &Chunk, probability: &Tensor) -> Result<(), TchError> {
        let pixels = [2i64, 3];
        let put = |into: &Tensor, from: &Tensor| {
            let sums = from.f_sum_dim_intlist(pixels.as_slice(), false, Kind::Float)?;
            into.f_narrow(1, chunk.first, chunk.count)?.f_copy_(&sums)
        };
        put(&self.both, &chunk.covered(probability)?)?;
        put(&self.predicted, probability)?;
        put(&self.true_pixels, &chunk.target)
    }

    /// A copy of the sums as leaves for autograd.
    pub fn leaves(&self) -> Result<Overlap, TchError> {
        Ok(Overlap {
            both: self.both.f_detach()?.f_set_requires_grad(true)?,
            predicted: self.predicted.f_detach()?.f_set_requires_grad(true)?,
            true_pixels: self.true_pixels.shallow_clone(),
            class_weights: None,
        })
    }

    /// The same sums with factors of the values of the classes.
    pub fn weighted(&self, class_weights: Option<Tensor>) -> Overlap {
        Overlap {
            both: self.both.shallow_clone(),
            predicted: self.predicted.shallow_clone(),
            true_pixels: self.true_pixels.shallow_clone(),
            class_weights,
        }
    }

    /// The sums over all images, `[1, C]` each; with `per_image`, the sums of each image unchanged.
    pub fn over(&self, per_image: bool) -> Result<Overlap, TchError> {
        let fold = |x: &Tensor| {
            if per_image { Ok(x.shallow_clone()) } else { x.f_sum_dim_intlist([0i64].as_slice(), true, Kind::Float) }
        };
        Ok(Overlap {
            both: fold(&self.both)?,
            predicted: fold(&self.predicted)?,
            true_pixels: fold(&self.true_pixels)?,
            class_weights: self.class_weights.as_ref().map(Tensor::shallow_clone),
        })
    }

    /// `(TP + s) / max(TP + alpha FP + beta FN + s, eps)` per class (and image).
    pub fn tversky(&self, alpha: &Tensor, beta: &Tensor, smooth: f64) -> Result<Tensor, TchError> {
        let wrong = self.predicted.f_sub(&self.both)?.f_mul(alpha)?;
        let missed = self.true_pixels.f_sub(&self.both)?.f_mul(beta)?;
        let over = self.both.f_add(&wrong)?.f_add(&missed)?.f_add_scalar(smooth)?.f_clamp_min(EPS)?;
        self.both.f_add_scalar(smooth)?.f_div(&over)
    }

    /// The mean over classes (and images) of `loss` times the class weights, in which classes without a true pixel count
    /// as 0. It divides by the number of classes, also with weights.
    pub fn mean_of_present(&self, loss: &Tensor) -> Result<Tensor, TchError> {
        let present = self.true_pixels.f_gt(0)?.f_to_kind(Kind::Float)?;
        let mut loss = loss.f_mul(&present)?;
        if let Some(weights) = &self.class_weights {
            loss = loss.f_mul(weights)?;
        }
        loss.f_mean(Kind::Float)
    }

    /// `1 - score` or, with `log`, `-log score`, for a score from 0 to 1.
    pub fn loss_of(score: &Tensor, log: bool) -> Result<Tensor, TchError> {
        if log { score.f_clamp_min(EPS)?.f_log()?.f_neg() } else { score.f_rsub_scalar(1.0) }
    }
}

/// segmentation_models_pytorch's epsilon against division by zero.
const EPS: f64 = 1e-7;

/// The violations of the option `smooth`.
pub fn smooth_violations(smooth: f64) -> Violations {
    let mut wrong = Violations::new();
    wrong.expect(smooth.is_finite() && smooth >= 0.0, "smooth", smooth, "a number of 0 or more");
    wrong
}
