//! Losses for multi-label masks: logits in, a scalar out, weighted sums by config.
//!
//! A mix computes its value *and its gradient* in two walks over the classes and hands autograd the finished gradient.
//! So the memory it needs beyond the logits is one tensor of their size (and one more while autograd passes it on),
//! whatever the number of terms, and targets may be label words, which are never spread out. The price: a loss cannot
//! be differentiated twice.
//!
//! There are two ways to the same numbers: operations on tensors, a few classes at a time, on any device and for any
//! kind of logits; and, for single precision and label words in the CPU's memory, loops over slices (`planes`, `block`),
//! in which a pixel is read once a walk. Tests hold both against the reference libraries.
//!
//! Every loss takes the mean over classes (and images where it is by image), is 0 for classes that are absent
//! where the reference says so, and is computed in single precision whatever the logits' kind.

mod auxiliary;
mod batch;
mod bce;
mod block;
mod boundary;
mod dice;
mod focal;
mod focal_tversky;
mod generalised_dice;
mod jaccard;
mod loss;
mod lovasz;
mod memory;
mod mix;
mod part;
mod per_class;
mod pixel_weight;
mod planes;
mod points;
mod region;
mod tversky;
#[cfg(test)]
mod worked_example;

use crate::wording::counted;
use tch::{Kind, TchError};

pub use auxiliary::resampled;
pub use bce::Bce;
pub use boundary::Boundary;
pub use dice::Dice;
pub use focal::Focal;
pub use focal_tversky::FocalTversky;
pub use generalised_dice::GeneralisedDice;
pub use jaccard::Jaccard;
pub use loss::{LOSSES, Loss, LossKind, LossValues, Term};
pub use lovasz::{Lovasz, Over};
pub use mix::LossMix;
pub use part::Part;
pub use per_class::PerClass;
pub use pixel_weight::{Around, PixelWeight};
pub use points::point_loss;
pub use tversky::Tversky;

/// Why a loss has no value.
#[derive(Debug, thiserror::Error)]
pub enum LossError {
    /// The logits are no batch of maps.
    #[error("a loss takes logits as [batch, classes, height, width] of floats; it got {size:?} of {kind:?}")]
    Logits {
        /// Shape of what came.
        size: Vec<i64>,
        /// Kind of what came.
        kind: Kind,
    },
    /// The target does not fit the logits.
    #[error(
        "for logits {logits:?} the target is {{0,1}} of the same shape or 32-bit label words [batch, height, width]; \
         it is {size:?} of {kind:?}"
    )]
    Target {
        /// Shape of the logits.
        logits: Vec<i64>,
        /// Shape of what came.
        size: Vec<i64>,
        /// Kind of what came.
        kind: Kind,
    },
    /// An option by class has another number of classes.
    #[error("{option} lists {}; there are {classes} classes", counted(*has, "value", "values"))]
    Classes {
        /// The option.
        option: &'static str,
        /// Values listed.
        has: usize,
        /// Classes of the logits.
        classes: i64,
    },
    /// Factors of pixels do not fit the logits.
    #[error(
        "for logits {logits:?} the pixels' weights are [batch, height, width], or with 1 or all classes; they are {size:?}"
    )]
    Weights {
        /// Shape of the logits.
        logits: [i64; 4],
        /// Shape of what came.
        size: Vec<i64>,
    },
    /// Factors of pixels came, and nothing weighs pixels.
    #[error("pixels' weights are given, but no term of the loss uses them: they are for bce")]
    WeightsUnused,
    /// Another number of weights than of auxiliary outputs.
    #[error("{} and {} do not match; give one each, or one for all",
        counted(*outputs, "auxiliary output", "auxiliary outputs"),
        counted(*weights, "weight", "weights"))]
    Auxiliary {
        /// Outputs of the model.
        outputs: usize,
        /// Weights listed.
        weights: usize,
    },
    /// Points, their logits and the label words do not go together.
    #[error(
        "a point loss takes coordinates [batch, points, 2], logits [batch, classes, points] and 32-bit label words \
         [batch, height, width]; it got {coordinates:?}, {logits:?} and {words:?} of {kind:?}"
    )]
    Points {
        /// Shape of the coordinates.
        coordinates: Vec<i64>,
        /// Shape of the logits.
        logits: Vec<i64>,
        /// Shape of the words.
        words: Vec<i64>,
        /// Kind of the words.
        kind: Kind,
    },
    /// A loss sorts the pixels of a batch that several processes hold.
    #[error("{loss} over the whole batch cannot be computed by several processes; choose another `over`")]
    Parts {
        /// The loss.
        loss: &'static LossKind,
    },
    /// libtorch refused: most often memory ran out.
    #[error(transparent)]
    Torch(#[from] TchError),
}
