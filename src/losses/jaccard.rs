//! Soft Jaccard loss. M. A. Rahman, Y. Wang, Optimizing intersection-over-union in deep neural networks for image
//! segmentation, ISVC 2016.

use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::LossError;
use super::loss::{Computation, Loss, LossKind, OverlapLoss, Term};
use super::region::{self, Overlap};
use crate::violation::Violations;

/// Mean over the classes of `1 - sum(p t) / (sum p + sum t - sum(p t))` with sums over all pixels of the batch; 0 for a
/// class that is absent in the batch. Equals SMP's `JaccardLoss(mode="multilabel")`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Jaccard {
    /// Added to numerator and denominator, in pixels, 0 or more.
    pub smooth: f64,
    /// `-log` of the index instead of one minus it.
    pub log: bool,
    /// Sum over the pixels of each image, then also take the mean over the images.
    #[serde(alias = "per_image")]
    pub per_image: bool,
}

pub(super) const LOSS: LossKind = LossKind {
    name: "jaccard",
    about: "1 - soft Jaccard per class over the batch (Rahman and Wang 2016); options smooth, log, per-image",
    read: Term::read::<Jaccard>,
};

impl Loss for Jaccard {
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

impl OverlapLoss for Jaccard {
    fn value(&self, overlap: &Overlap) -> Result<Tensor, LossError> {
        let overlap = overlap.over(self.per_image)?;
        let one = overlap.true_pixels.f_ones_like()?;
        let score = overlap.tversky(&one, &one, self.smooth)?;
        Ok(overlap.mean_of_present(&Overlap::loss_of(&score, self.log)?)?)
    }
}

#[cfg(test)]
mod tests {
    use super::super::worked_example::check;

    #[test]
    fn by_hand() {
        // sum p t = 1.3, sum p = 2.4, sum t = 2; the absent class counts as 0.
        check(r#"{"jaccard": 1}"#, (1.0 - 1.3 / 3.1) / 2.0);
        check(r#"{"jaccard": {"weight": 1, "smooth": 0.5}}"#, (1.0 - 1.8 / 3.6) / 2.0);
    }
}
