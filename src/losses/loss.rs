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
use super::{LossError, PixelWeight};
use super::{bce, boundary, dice, focal, focal_tversky, generalised_dice, jaccard, lovasz, tversky};
use crate::closed_enum::UnknownName;
use crate::violation::Violations;

/// A kind of loss that a mix may contain.
#[derive(Debug)]
pub struct LossKind {
    /// The name used in configs and listings.
    pub name: &'static str,
    /// One line for listings: formula, reference and options.
    pub about: &'static str,
    /// Creates the loss with these options; absent options have their defaults.
    pub read: fn(Value) -> Result<Term, serde_json::Error>,
}

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
    /// gradient, `probability` is the sigmoid of the chunk's logits.
    fn accumulate(
        &self,
        batch: &LossBatch,
        chunk: &Chunk,
        probability: &Tensor,
        gradient: Option<(&mut Tensor, f64)>,
    ) -> Result<Tensor, LossError>;

    /// Weights of the positive pixels and of all pixels, per class.
    fn factors(&self, classes: i64) -> Result<Vec<[f32; 2]>, LossError> {
        Ok(vec![[1.0; 2]; classes as usize])
    }

    /// Values of a strip's pixels that it needs in addition to logits and labels: distances or weights.
    fn map(&self, _strip: &Strip) -> Option<Vec<f32>> {
        None
    }

    /// Returns the block's sum and adds `scale` times its gradient to `gradient`. `factors` are those of the block's
    /// class, `map` is the block's part of [`PixelLoss::map`].
    fn block_sum(
        &self,
        factors: [f32; 2],
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
    fn accumulate(
        &self,
        batch: &LossBatch,
        chunk: &Chunk,
        gradient: Option<(&mut Tensor, f64)>,
    ) -> Result<Tensor, LossError>;

    /// Returns the value and adds its gradient times the weight to `gradient`.
    fn planes_value(&self, planes: &Planes, gradient: Option<(&mut [f32], f64)>) -> f64;
}

/// A loss with its options, as a term of a mix.
#[derive(Clone, Debug)]
pub struct Term {
    pub(super) loss: Arc<dyn Loss>,
    pub(super) options: Value,
}

impl Term {
    /// The loss with its default options.
    pub fn new(kind: &LossKind) -> Term {
        (kind.read)(json!({})).expect("every option has a default")
    }

    /// A term with this loss.
    pub fn of<L: Loss + Serialize + 'static>(loss: L) -> Term {
        let options = serde_json::to_value(&loss).expect("options are numbers, words and tables of them");
        Term { loss: Arc::new(loss), options }
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
        self.kind() == other.kind() && self.options == other.options
    }
}
