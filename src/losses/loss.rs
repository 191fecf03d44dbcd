use std::fmt;
use std::sync::Arc;

use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Value, json};
use tch::Tensor;

use super::batch::{Chunk, LossBatch};
use super::block::PixelBlock;
use super::planes::{Planes, Strip};
use super::region::Overlap;
use super::{LossError, PerClass, PixelWeight};
use super::{bce, boundary, dice, focal, focal_tversky, generalised_dice, jaccard, lovasz, tversky};
use crate::closed_enum::UnknownName;
use crate::violation::Violations;

/// A kind of loss that a mix may contain.
#[derive(Debug)]
pub struct LossKind {
    /// The name used in configs and listings.
    pub name: &'static str,
    /// One line for listings: formula, the library that it is from, and options.
    pub about: &'static str,
    /// Creates the loss with these options; absent options have their defaults.
    pub read: fn(Value) -> Result<Term, serde_json::Error>,
}

/// The option of every loss for the weights of the classes.
pub const CLASS_WEIGHTS: &str = "class-weights";

/// The value of each loss of a mix, before weighting.
pub type LossValues = Vec<(&'static LossKind, Tensor)>;

/// All losses, in the order of listings.
pub const LOSSES: &[LossKind] = &[
    bce::LOSS,
    dice::LOSS,
    jaccard::LOSS,
    focal::LOSS,
    lovasz::LOSS,
    tversky::LOSS,
    focal_tversky::LOSS,
    generalised_dice::LOSS,
    boundary::LOSS,
];

impl LossKind {
    /// The loss with exactly this name.
    ///
    /// # Errors
    /// There is no such loss; the error lists all names.
    pub fn from_name(name: &str) -> Result<&'static LossKind, UnknownName> {
        LOSSES.iter().find(|kind| kind.name == name).ok_or_else(|| UnknownName {
            what: "loss",
            name: name.to_owned(),
            known: LOSSES.iter().map(|kind| kind.name).collect::<Vec<_>>().join(", "),
        })
    }
}

impl<'de> Deserialize<'de> for &'static LossKind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        LossKind::from_name(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

impl PartialEq for LossKind {
    fn eq(&self, other: &LossKind) -> bool {
        self.name == other.name
    }
}

impl fmt::Display for LossKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name)
    }
}

/// A loss with its options.
pub trait Loss: fmt::Debug + Send + Sync {
    /// Which loss it is.
    fn kind(&self) -> &'static LossKind;

    /// Every option out of range. If `classes` is known, the lengths of options per class are checked too.
    fn violations(&self, _classes: Option<i64>) -> Violations {
        Violations::new()
    }

    /// Whether it uses pixel weights that are given with a target.
    fn takes_weights(&self) -> bool {
        false
    }

    /// The rule for its pixel weights, if it has one.
    fn pixel_weight(&self) -> Option<&PixelWeight> {
        None
    }

    /// Whether it needs the distances to outlines.
    fn needs_distances(&self) -> bool {
        self.pixel_weight().is_some()
    }

    /// Why its classes cannot have weights; `None` if they can.
    fn refuses_class_weights(&self) -> Option<&'static str> {
        None
    }

    /// Whether it is defined for targets between 0 and 1.
    fn takes_soft_targets(&self) -> bool {
        !self.needs_distances() && !matches!(self.computation(), Computation::Sorted(_))
    }

    /// How it is computed.
    fn computation(&self) -> Computation<'_>;
}

/// How a loss is computed.
pub enum Computation<'a> {
    /// From sums over the pixels of each class of each image.
    Overlap(&'a dyn OverlapLoss),
    /// As a mean over pixels.
    Pixels(&'a dyn PixelLoss),
    /// From the pixels sorted by their errors.
    Sorted(&'a dyn SortedLoss),
}

/// A loss that depends only on sums over pixels (Dice, Jaccard and Tversky).
pub trait OverlapLoss {
    /// The loss for these sums; autograd computes its derivatives.
    fn value(&self, overlap: &Overlap) -> Result<Tensor, LossError>;
}

/// A loss that is a mean over pixels and classes.
pub trait PixelLoss: Sync {
    /// Returns the chunk's contribution to the value and adds `scale` times its gradient to `gradient`. If there is a
    /// gradient, `probability` is the sigmoid of the chunk's logits. `weight` is the factor of each class of the chunk,
    /// to be broadcast over images and pixels; `None`: 1.
    fn accumulate(
        &self,
        batch: &LossBatch,
        chunk: &Chunk,
        probability: &Tensor,
        weight: Option<&Tensor>,
        gradient: Option<(&mut Tensor, f64)>,
    ) -> Result<Tensor, LossError>;

    /// Weight of the positive pixels per class.
    fn positive_weights(&self, classes: i64) -> Result<Vec<f32>, LossError> {
        Ok(vec![1.0; classes as usize])
    }

    /// Values of a strip's pixels that it needs in addition to logits and labels: distances or weights.
    fn map(&self, _strip: &Strip) -> Option<Vec<f32>> {
        None
    }

    /// Returns the block's sum and adds `scale` times its gradient to `gradient`. `positive` is the weight of the
    /// positive pixels of the block's class, `map` is the block's part of [`PixelLoss::map`].
    fn block_sum(
        &self,
        positive: f32,
        block: &PixelBlock,
        map: Option<&[f32]>,
        gradient: Option<(&mut [f32], f32)>,
    ) -> f64;
}

/// A loss that sorts pixels.
pub trait SortedLoss {
    /// Whether it can be computed for a few classes at a time; otherwise it needs all classes at once.
    fn works_by_chunk(&self) -> bool;

    /// Whether it sorts the pixels of the whole batch together; otherwise it is a mean over images.
    fn sorts_whole_batch(&self) -> bool;

    /// Returns the chunk's contribution to the value and adds `scale` times its gradient to `gradient`.
    /// `class_weights` has the factor of each class of the batch; `None`: 1.
    fn accumulate(
        &self,
        batch: &LossBatch,
        chunk: &Chunk,
        class_weights: Option<&[f64]>,
        gradient: Option<(&mut Tensor, f64)>,
    ) -> Result<Tensor, LossError>;

    /// Returns the value and adds its gradient times the weight to `gradient`. `class_weights` as in
    /// [`SortedLoss::accumulate`].
    fn planes_value(&self, planes: &Planes, class_weights: Option<&[f64]>, gradient: Option<(&mut [f32], f64)>) -> f64;
}

/// A loss with its options, as a term of a mix.
#[derive(Clone, Debug)]
pub struct Term {
    pub(super) loss: Arc<dyn Loss>,
    pub(super) options: Value,
    /// Factors of the values of the classes, an option of every loss; `None`: 1.
    pub(super) class_weights: Option<PerClass>,
}

impl Term {
    /// The loss with its default options.
    pub fn new(kind: &LossKind) -> Term {
        (kind.read)(json!({})).expect("every option has a default")
    }

    /// A term with this loss.
    pub fn of<L: Loss + Serialize + 'static>(loss: L) -> Term {
        let options = serde_json::to_value(&loss).expect("options are numbers, words and tables of them");
        Term { loss: Arc::new(loss), options, class_weights: None }
    }

    /// The same term with a weight for each class, which is a factor of the class's value: the mean over the classes
    /// still divides by their number, so weights of 1 change no bit. In the generalised Dice loss they are factors of
    /// its own weights of the classes.
    pub fn with_class_weights(self, weights: PerClass) -> Term {
        Term { class_weights: Some(weights), ..self }
    }

    /// The weight of each of `classes` classes; `None` if they have none.
    pub(super) fn class_weights(&self, classes: i64) -> Result<Option<Vec<f64>>, LossError> {
        let Some(weights) = &self.class_weights else { return Ok(None) };
        if let Some(reason) = self.loss.refuses_class_weights() {
            return Err(LossError::ClassWeights { loss: self.kind(), reason });
        }
        weights.values(CLASS_WEIGHTS, classes).map(Some)
    }

    /// Every option out of range; see [`Loss::violations`].
    pub(super) fn violations(&self, classes: Option<i64>) -> Violations {
        let mut wrong = self.loss.violations(classes);
        let Some(weights) = &self.class_weights else { return wrong };
        wrong.extend(weights.violations(CLASS_WEIGHTS, classes));
        if weights.is_zero() {
            let expected = "above 0 for at least one class; the loss would always be 0";
            wrong.refuse(CLASS_WEIGHTS, "0 for every class", expected);
        }
        if let Some(reason) = self.loss.refuses_class_weights() {
            wrong.refuse(CLASS_WEIGHTS, "set", format!("no value: {reason}"));
        }
        wrong
    }

    /// The loss `L` with these options; used as [`LossKind::read`].
    pub(super) fn read<L: Loss + Serialize + DeserializeOwned + 'static>(
        options: Value,
    ) -> Result<Term, serde_json::Error> {
        serde_json::from_value::<L>(options).map(Term::of)
    }

    /// Which loss it is.
    pub fn kind(&self) -> &'static LossKind {
        self.loss.kind()
    }
}

impl PartialEq for Term {
    fn eq(&self, other: &Term) -> bool {
        self.kind() == other.kind() && self.options == other.options && self.class_weights == other.class_weights
    }
}
