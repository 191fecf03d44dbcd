use serde_json::Value;
use tch::Tensor;

use super::region::Overlap;
use super::{
    Bce, Boundary, Dice, Focal, FocalTversky, GeneralisedDice, Jaccard, LossError, LossKind, Lovasz, PixelWeight,
    Tversky,
};

/// A loss with its options.
#[derive(Clone, Debug, PartialEq)]
pub enum Term {
    /// See [`Bce`].
    Bce(Bce),
    /// See [`Dice`].
    Dice(Dice),
    /// See [`Jaccard`].
    Jaccard(Jaccard),
    /// See [`Focal`].
    Focal(Focal),
    /// See [`Lovasz`].
    Lovasz(Lovasz),
    /// See [`Tversky`].
    Tversky(Tversky),
    /// See [`FocalTversky`].
    FocalTversky(FocalTversky),
    /// See [`GeneralisedDice`].
    GeneralisedDice(GeneralisedDice),
    /// See [`Boundary`].
    Boundary(Boundary),
}

impl Term {
    /// The loss with its default options.
    pub fn new(kind: LossKind) -> Self {
        match kind {
            LossKind::Bce => Term::Bce(Bce::default()),
            LossKind::Dice => Term::Dice(Dice::default()),
            LossKind::Jaccard => Term::Jaccard(Jaccard::default()),
            LossKind::Focal => Term::Focal(Focal::default()),
            LossKind::Lovasz => Term::Lovasz(Lovasz::default()),
            LossKind::Tversky => Term::Tversky(Tversky::default()),
            LossKind::FocalTversky => Term::FocalTversky(FocalTversky::default()),
            LossKind::GeneralisedDice => Term::GeneralisedDice(GeneralisedDice::default()),
            LossKind::Boundary => Term::Boundary(Boundary::default()),
        }
    }

    /// Which loss it is.
    pub fn kind(&self) -> LossKind {
        match self {
            Term::Bce(_) => LossKind::Bce,
            Term::Dice(_) => LossKind::Dice,
            Term::Jaccard(_) => LossKind::Jaccard,
            Term::Focal(_) => LossKind::Focal,
            Term::Lovasz(_) => LossKind::Lovasz,
            Term::Tversky(_) => LossKind::Tversky,
            Term::FocalTversky(_) => LossKind::FocalTversky,
            Term::GeneralisedDice(_) => LossKind::GeneralisedDice,
            Term::Boundary(_) => LossKind::Boundary,
        }
    }

    pub(super) fn from_options(kind: LossKind, options: Value) -> Result<Self, serde_json::Error> {
        use serde_json::from_value;
        Ok(match kind {
            LossKind::Bce => Term::Bce(from_value(options)?),
            LossKind::Dice => Term::Dice(from_value(options)?),
            LossKind::Jaccard => Term::Jaccard(from_value(options)?),
            LossKind::Focal => Term::Focal(from_value(options)?),
            LossKind::Lovasz => Term::Lovasz(from_value(options)?),
            LossKind::Tversky => Term::Tversky(from_value(options)?),
            LossKind::FocalTversky => Term::FocalTversky(from_value(options)?),
            LossKind::GeneralisedDice => Term::GeneralisedDice(from_value(options)?),
            LossKind::Boundary => Term::Boundary(from_value(options)?),
        })
    }

    pub(super) fn options(&self) -> Result<Value, serde_json::Error> {
        use serde_json::to_value;
        match self {
            Term::Bce(options) => to_value(options),
            Term::Dice(options) => to_value(options),
            Term::Jaccard(options) => to_value(options),
            Term::Focal(options) => to_value(options),
            Term::Lovasz(options) => to_value(options),
            Term::Tversky(options) => to_value(options),
            Term::FocalTversky(options) => to_value(options),
            Term::GeneralisedDice(options) => to_value(options),
            Term::Boundary(options) => to_value(options),
        }
    }

    /// The loss of these sums, for losses of overlap.
    pub(super) fn of_overlap(&self, overlap: &Overlap) -> Option<Result<Tensor, LossError>> {
        match self {
            Term::Dice(dice) => Some(dice.of(overlap).map_err(LossError::from)),
            Term::Jaccard(jaccard) => Some(jaccard.of(overlap).map_err(LossError::from)),
            Term::Tversky(tversky) => Some(tversky.of(overlap)),
            Term::FocalTversky(tversky) => Some(tversky.of(overlap)),
            Term::GeneralisedDice(dice) => Some(dice.of(overlap).map_err(LossError::from)),
            Term::Bce(_) | Term::Focal(_) | Term::Lovasz(_) | Term::Boundary(_) => None,
        }
    }

    pub(super) fn is_of_overlap(&self) -> bool {
        !matches!(self, Term::Bce(_) | Term::Focal(_) | Term::Lovasz(_) | Term::Boundary(_))
    }

    /// Whether it can be computed a few classes at a time.
    pub(super) fn by_class(&self) -> bool {
        !matches!(self, Term::Lovasz(lovasz) if !lovasz.by_class())
    }

    /// What is wrong with its options.
    pub(super) fn check(&self) -> Result<(), String> {
        match self {
            Term::Bce(bce) => bce.check(),
            Term::Dice(dice) => dice.check(),
            Term::Jaccard(jaccard) => jaccard.check(),
            Term::Focal(focal) => focal.check(),
            Term::Lovasz(_) => Ok(()),
            Term::Tversky(tversky) => tversky.check(),
            Term::FocalTversky(tversky) => tversky.check(),
            Term::GeneralisedDice(dice) => dice.check(),
            Term::Boundary(boundary) => boundary.check(),
        }
    }

    /// The rule by which it weighs pixels.
    pub(super) fn pixel_weight(&self) -> Option<&PixelWeight> {
        match self {
            Term::Bce(bce) => bce.pixel_weight.as_ref(),
            _ => None,
        }
    }

    /// Its options by class have as many values as there are classes.
    pub(super) fn fits(&self, classes: i64) -> Result<(), LossError> {
        let options = match self {
            Term::Bce(bce) => [("pos-weight", bce.pos_weight.as_ref()), ("class-weight", bce.class_weight.as_ref())],
            Term::Tversky(tversky) => [("alpha", Some(&tversky.alpha)), ("beta", Some(&tversky.beta))],
            Term::FocalTversky(tversky) => [("alpha", Some(&tversky.alpha)), ("beta", Some(&tversky.beta))],
            _ => return Ok(()),
        };
        for (option, values) in options {
            values.map_or(Ok(Vec::new()), |values| values.values(option, classes))?;
        }
        Ok(())
    }
}
