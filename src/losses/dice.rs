//! Soft Dice loss. F. Milletari, N. Navab, S.-A. Ahmadi, V-Net: fully convolutional neural networks for volumetric
//! medical image segmentation, 3DV 2016.

use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::LossError;
use super::loss::{Computation, Loss, LossKind, OverlapLoss, Term};
use super::region::{self, Overlap};
use crate::violation::Violations;

/// Mean over the classes of `1 - 2 sum(p t) / (sum p + sum t)` with sums over all pixels of the batch; 0 for a class
/// that is absent in the batch. Equals SMP's `DiceLoss(mode="multilabel")`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Dice {
    /// Added to numerator and denominator, in pixels, 0 or more.
    pub smooth: f64,
    /// `-log` of the coefficient instead of one minus it.
    pub log: bool,
    /// Sum over the pixels of each image, then also take the mean over the images.
    #[serde(alias = "per_image")]
    pub per_image: bool,
}

pub(super) const LOSS: LossKind = LossKind {
    name: "dice",
    about: "1 - soft Dice per class over the batch (Milletari et al. 2016); options smooth, log, per-image",
    read: Term::read::<Dice>,
};

impl Loss for Dice {
    fn kind(&self) -> &'static LossKind {
        &LOSS
    }

    fn violations(&self, _classes: Option<i64>) -> Violations {
        region::smooth_violations(self.smooth)
    }

    fn computation(&self) -> Computation<'_> {
        Computation::Overlap(self)
    }
}

impl OverlapLoss for Dice {
    fn value(&self, overlap: &Overlap) -> Result<Tensor, LossError> {
        let overlap = overlap.over(self.per_image)?;
        let half = overlap.true_pixels.f_full_like(0.5)?;
        let score = overlap.tversky(&half, &half, self.smooth)?;
        Ok(overlap.mean_of_present(&Overlap::loss_of(&score, self.log)?)?)
    }
}

#[cfg(test)]
mod tests {
    use super::super::worked_example::check;

    #[test]
    fn by_hand() {
        // sum p t = 1.3, sum p = 2.4, sum t = 2; the absent class counts as 0.
        check(r#"{"dice": 1}"#, (1.0 - 2.6 / 4.4) / 2.0);
        check(r#"{"dice": {"weight": 1, "smooth": 0.5}}"#, (1.0 - 3.6 / 5.4) / 2.0);
        check(r#"{"dice": {"weight": 1, "log": true}}"#, -(2.6f64 / 4.4).ln() / 2.0);
    }
}
