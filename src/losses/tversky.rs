//! Tversky loss. S. S. M. Salehi, D. Erdogmus, A. Gholipour, Tversky loss function for image segmentation using 3D
//! fully convolutional deep networks, MLMI 2017.

use serde::{Deserialize, Serialize};
use tch::{TchError, Tensor};

use super::loss::{Computation, Loss, LossKind, OverlapLoss, Term};
use super::region::{self, Overlap};
use super::{LossError, PerClass};
use crate::violation::Violations;

/// Mean over the classes of `1 - TP / (TP + alpha FP + beta FN)` with sums over all pixels of the batch; 0 for a class
/// that is absent in the batch. Equals SMP's `TverskyLoss(mode="multilabel")` if alpha and beta are the same for all
/// classes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Tversky {
    /// Weight of false positives: one for all classes, a list per class, or by name.
    pub alpha: PerClass,
    /// Weight of false negatives, likewise.
    pub beta: PerClass,
    /// Added to numerator and denominator, in pixels, 0 or more.
    pub smooth: f64,
    /// `-log` of the index instead of one minus it.
    pub log: bool,
    /// Sum over the pixels of each image, then also take the mean over the images.
    #[serde(alias = "per_image")]
    pub per_image: bool,
}

impl Default for Tversky {
    fn default() -> Self {
        Tversky { alpha: PerClass::All(0.5), beta: PerClass::All(0.5), smooth: 0.0, log: false, per_image: false }
    }
}

pub(super) const LOSS: LossKind = LossKind {
    name: "tversky",
    about: "1 - Tversky index (Salehi et al. 2017); options alpha and beta (per class), smooth, log, per-image",
    read: Term::read::<Tversky>,
};

impl Loss for Tversky {
    fn kind(&self) -> &'static LossKind {
        &LOSS
    }

    fn violations(&self, classes: Option<i64>) -> Violations {
        let mut wrong = self.alpha.violations("alpha", classes);
        wrong.extend(self.beta.violations("beta", classes));
        if self.alpha.is_zero() && self.beta.is_zero() {
            let expected = "above 0 for at least one class; the loss would always be 0";
            wrong.refuse("alpha", "0 for every class, as beta is", expected);
        }
        wrong.extend(region::smooth_violations(self.smooth));
        wrong
    }

    fn computation(&self) -> Computation<'_> {
        Computation::Overlap(self)
    }
}

impl OverlapLoss for Tversky {
    fn value(&self, overlap: &Overlap) -> Result<Tensor, LossError> {
        let overlap = overlap.over(self.per_image)?;
        let score = index(&overlap, &self.alpha, &self.beta, self.smooth)?;
        Ok(overlap.mean_of_present(&Overlap::loss_of(&score, self.log)?)?)
    }
}

/// The Tversky index per class (and image).
pub(super) fn index(overlap: &Overlap, alpha: &PerClass, beta: &PerClass, smooth: f64) -> Result<Tensor, LossError> {
    let (classes, device) = (overlap.both.size()[1], overlap.both.device());
    let alpha = alpha.tensor("alpha", classes, device)?;
    let beta = beta.tensor("beta", classes, device)?;
    let score: Result<Tensor, TchError> = overlap.tversky(&alpha, &beta, smooth);
    Ok(score?)
}

#[cfg(test)]
mod tests {
    use super::super::worked_example::check;

    #[test]
    fn by_hand() {
        // TP 1.3, FP 1.1, FN 0.7; the absent class counts as 0.
        check(r#"{"tversky": {"weight": 1, "alpha": 0.2, "beta": 2}}"#, (1.0 - 1.3 / (1.3 + 0.22 + 1.4)) / 2.0);
        let by_class = r#"{"tversky": {"weight": 1, "alpha": [0.3, 9], "beta": [0.7, 9]}}"#;
        check(by_class, (1.0 - 1.3 / (1.3 + 0.33 + 0.49)) / 2.0);
    }
}
