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

/// A loss that a mix may contain: what is known of it outside its file.
#[derive(Debug)]
pub struct LossKind {
    /// The name used in configs and listings.
    pub name: &'static str,
    /// One line for listings: what it is, where it comes from and which options it has.
    pub about: &'static str,
    /// The loss with these options; those that are absent have their defaults.
    pub read: fn(Value) -> Result<Term, serde_json::Error>,
}

/// The value of each loss of a mix.
pub type LossValues = Vec<(&'static LossKind, Tensor)>;

/// Every loss, in the order of listings.
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
    /// The loss called exactly `name`.
    ///
    /// # Errors
    /// There is none; the error lists those that there are.
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

    /// The options out of range; those by class are counted where the number of `classes` is known.
    fn violations(&self, _classes: Option<i64>) -> Violations {
        Violations::new()
    }

    /// Whether it uses the factors of pixels that come with a target.
    fn takes_weights(&self) -> bool {
        false
    }

    /// The rule by which it weighs pixels.
    fn pixel_weight(&self) -> Option<&PixelWeight> {
        None
    }

    /// Whether it needs the distances to outlines.
    fn needs_edges(&self) -> bool {
        self.pixel_weight().is_some()
    }

    /// What it is computed from.
    fn way(&self) -> Way<'_>;
}

/// What a loss is computed from.
pub enum Way<'a> {
    /// Sums over the pixels of each class of each image.
    Overlap(&'a dyn OfOverlap),
    /// Each pixel by itself.
    Pixels(&'a dyn OfPixels),
    /// The pixels in the order of their errors.
    Order(&'a dyn OfOrder),
}

/// A loss of overlap.
pub trait OfOverlap {
    /// The loss of these sums; autograd finds the slopes.
    fn of(&self, overlap: &Overlap) -> Result<Tensor, LossError>;
}

/// A loss that is a mean over pixels and classes.
pub trait OfPixels: Sync {
    /// Adds `scale` times the gradient to `gradient`; the chunk's share of the value. `probability` is the sigmoid of the
    /// chunk's logits where there is a gradient.
    fn accumulate(
        &self,
        batch: &LossBatch,
        chunk: &Chunk,
        probability: &Tensor,
        gradient: Option<(&mut Tensor, f64)>,
    ) -> Result<Tensor, LossError>;

    /// Factors of the positive pixels and of all pixels, by class.
    fn factors(&self, classes: i64) -> Result<Vec<[f32; 2]>, LossError> {
        Ok(vec![[1.0; 2]; classes as usize])
    }

    /// What it needs to know of a strip's pixels besides logits and labels: distances, or weights.
    fn map(&self, _strip: &Strip) -> Option<Vec<f32>> {
        None
    }

    /// Adds `scale` times the gradient of the sum to `gradient`; the block's sum. `factors` are those of the block's class,
    /// `map` is the block's part of [`OfPixels::map`].
    fn of_block(
        &self,
        factors: [f32; 2],
        block: &PixelBlock,
        map: Option<&[f32]>,
        gradient: Option<(&mut [f32], f32)>,
    ) -> f64;
}

/// A loss that sorts pixels.
pub trait OfOrder {
    /// Whether it works on a few classes at a time; else it needs all at once.
    fn a_few_classes(&self) -> bool;

    /// Whether it sorts the pixels of the whole batch together; else it is a mean over images.
    fn is_over_the_batch(&self) -> bool;

    /// Adds `scale` times the gradient to `gradient`; the chunk's share of the value.
    fn accumulate(
        &self,
        batch: &LossBatch,
        chunk: &Chunk,
        gradient: Option<(&mut Tensor, f64)>,
    ) -> Result<Tensor, LossError>;

    /// The value; adds its gradient times the weight to `gradient`.
    fn of_planes(&self, planes: &Planes, gradient: Option<(&mut [f32], f64)>) -> f64;
}

/// A loss with its options, as a mix holds it.
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

    /// This loss.
    pub fn of<L: Loss + Serialize + 'static>(loss: L) -> Term {
        let options = serde_json::to_value(&loss).expect("options are numbers, words and tables of them");
        Term { loss: Arc::new(loss), options }
    }

    /// The loss `L` with these options: what [`LossKind::read`] is.
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
