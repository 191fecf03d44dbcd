//! Focal Tversky loss. N. Abraham, N. M. Khan, A novel focal Tversky loss function with improved attention U-Net for
//! lesion segmentation, ISBI 2019.

use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::loss::{Computation, Loss, LossKind, OverlapLoss, Term};
use super::region::{self, Overlap};
use super::{LossError, PerClass, tversky};
use crate::violation::Violations;

/// Mean over the classes of `(1 - TI)^(1 / gamma)`, where TI is the Tversky index over the batch; 0 for a class that is
/// absent in the batch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct FocalTversky {
    /// Weight of false positives: one for all classes, a list per class, or by name.
    pub alpha: PerClass,
    /// Weight of false negatives, likewise.
    pub beta: PerClass,
    /// Above 1 it gives more weight to classes with little overlap; above 0.
    pub gamma: f64,
    /// Added to numerator and denominator, in pixels, 0 or more. A small value keeps the gradient finite if the
    /// prediction of a class is perfect.
    pub smooth: f64,
}

impl Default for FocalTversky {
    fn default() -> Self {
        FocalTversky { alpha: PerClass::All(0.3), beta: PerClass::All(0.7), gamma: 4.0 / 3.0, smooth: 1.0 }
    }
}

/// Minimum of `1 - TI`, because the slope of the power is infinite at 0.
const FLOOR: f64 = 1e-6;

pub(super) const LOSS: LossKind = LossKind {
    name: "focal-tversky",
    about: "(1 - Tversky index)^(1 / gamma) (Abraham and Khan 2019); options alpha and beta (per class), gamma, smooth",
    read: Term::read::<FocalTversky>,
};

impl Loss for FocalTversky {
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
        let gamma = self.gamma;
        wrong.expect(gamma.is_finite() && gamma > 0.0, "gamma", gamma, "a number above 0");
        wrong.extend(region::smooth_violations(self.smooth));
        wrong
    }

    fn computation(&self) -> Computation<'_> {
        Computation::Overlap(self)
    }
}

impl OverlapLoss for FocalTversky {
    fn value(&self, overlap: &Overlap) -> Result<Tensor, LossError> {
        let overlap = overlap.over(false)?;
        let score = tversky::index(&overlap, &self.alpha, &self.beta, self.smooth)?;
        let loss = score.f_rsub_scalar(1.0)?.f_clamp_min(FLOOR)?.f_pow_tensor_scalar(1.0 / self.gamma)?;
        Ok(overlap.mean_of_present(&loss)?)
    }
}

#[cfg(test)]
mod tests {
    use super::super::worked_example::check;

    #[test]
    fn by_hand() {
        // TP 1.3, FP 1.1, FN 0.7; the absent class counts as 0.
        check(r#"{"focal-tversky": 1}"#, (1.0 - 2.3 / (2.3 + 0.33 + 0.49f64)).powf(0.75) / 2.0);
        let own = r#"{"focal-tversky": {"weight": 1, "alpha": [1, 0], "beta": [0, 0], "gamma": 0.5, "smooth": 0}}"#;
        check(own, (1.0 - 1.3 / 2.4f64).powi(2) / 2.0);
    }
}
