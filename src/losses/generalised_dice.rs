//! Generalised Dice loss. C. H. Sudre et al., Generalised Dice overlap as a deep learning loss function for highly
//! unbalanced segmentations, DLMIA 2017.

use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use super::LossError;
use super::loss::{Computation, Loss, LossKind, OverlapLoss, Term};
use super::region::{self, Overlap};
use crate::violation::Violations;

/// Mean over the images of `1 - (2 sum_c w_c sum(p t) + s) / (sum_c w_c (sum p + sum t) + s)` with
/// `w_c = 1 / (sum t)^2`; an absent class gets the largest weight of the classes in the image (0 if there are none).
/// Class weights are factors of these w_c. Equals MONAI's `GeneralizedDiceLoss(sigmoid=True)`, for soft targets with
/// `soft_label=True`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct GeneralisedDice {
    /// Added to numerator and denominator, 0 or more.
    pub smooth: f64,
}

impl Default for GeneralisedDice {
    fn default() -> Self {
        GeneralisedDice { smooth: 1e-5 }
    }
}

pub(super) const LOSS: LossKind = LossKind {
    name: "generalised-dice",
    about: "1 - generalised Dice per image (Sudre et al. 2017); option smooth",
    read: Term::read::<GeneralisedDice>,
};

impl Loss for GeneralisedDice {
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

impl OverlapLoss for GeneralisedDice {
    fn value(&self, overlap: &Overlap) -> Result<Tensor, LossError> {
        let weight = overlap.true_pixels.f_square()?.f_reciprocal()?; // [B, C]
        let absent = weight.f_isinf()?;
        let finite = weight.f_masked_fill(&absent, 0.0)?;
        let largest = finite.f_amax([1i64].as_slice(), true)?;
        let mut weight = finite.f_where_self(&absent.f_logical_not()?, &largest)?;
        if let Some(factors) = &overlap.class_weights {
            weight = weight.f_mul(factors)?;
        }
        let sum = |x: &Tensor| x.f_mul(&weight)?.f_sum_dim_intlist([1i64].as_slice(), false, Kind::Float);
        let both = sum(&overlap.both)?.f_mul_scalar(2.0)?.f_add_scalar(self.smooth)?;
        let size = sum(&overlap.predicted.f_add(&overlap.true_pixels)?)?.f_add_scalar(self.smooth)?;
        Ok(both.f_div(&size)?.f_rsub_scalar(1.0)?.f_mean(Kind::Float)?)
    }
}

#[cfg(test)]
mod tests {
    use super::super::worked_example::check;

    #[test]
    fn by_hand() {
        // Sizes 2 and 0: the absent class takes the weight 1/4 of the present one, and has sum p = 0.4.
        check(r#"{"generalised-dice": {"weight": 1, "smooth": 0}}"#, 1.0 - (2.0 * 1.3 / 4.0) / ((4.4 + 0.4) / 4.0));
    }
}
