//! Losses for multi-label masks: logits in, a scalar out. A configuration combines them as a weighted sum.
//!
//! A mix computes its value *and its gradient* in two rounds through the classes and gives autograd the finished
//! gradient. So it needs only one tensor of the size of the logits as additional memory (and a second one while
//! autograd uses it), independent of the number of terms, and targets may be label words, which are never expanded to
//! masks. The disadvantage: a loss cannot be differentiated twice.
//!
//! There are two implementations with the same results: operations on tensors, a few classes at a time, on any device
//! and for any kind of logits; and loops over slices (`planes`, `block`), for logits in single precision and label
//! words in the CPU's memory, which read each pixel once per pass. Tests compare both with
//! segmentation_models_pytorch, MONAI and torch.
//!
//! A target may be soft: values from 0 to 1, as mix-up makes them. The overlap losses count `min(p, t)` as true positives
//! then, as the references do; for hard targets this is `p t`. Losses that need hard labels refuse soft targets.
//!
//! Every loss is a mean over the classes (and over the images, if it is computed per image), counts absent classes as 0
//! if the library does whose formula it has ([`LossKind`] names it), and is computed in single precision for logits of
//! any kind. Every loss takes `class-weights` ([`Term::with_class_weights`]): factors of the values of the classes in this
//! mean, which still divides by the number of classes.

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
pub use mix::{LossMix, LossOutput};
pub use part::Part;
pub use per_class::PerClass;
pub use pixel_weight::{Around, PixelWeight};
pub use points::point_loss;
pub use tversky::Tversky;

/// Why a loss could not be computed.
#[derive(Debug, thiserror::Error)]
pub enum LossError {
    /// The logits are not a batch of maps.
    #[error("the logits are {size:?} of {kind:?}; expected floats of shape [batch, classes, height, width]")]
    Logits {
        /// Shape of the given tensor.
        size: Vec<i64>,
        /// Kind of the given tensor.
        kind: Kind,
    },
    /// The target does not fit the logits.
    #[error(
        "the target is {size:?} of {kind:?}; expected, for logits {logits:?}, masks of the same shape or 32-bit label \
         words [batch, height, width]"
    )]
    Target {
        /// Shape of the logits.
        logits: Vec<i64>,
        /// Shape of the given tensor.
        size: Vec<i64>,
        /// Kind of the given tensor.
        kind: Kind,
    },
    /// An option per class has a wrong number of values.
    #[error("{option} is {}; expected {classes}, one per class", counted(*has, "value", "values"))]
    Classes {
        /// The option.
        option: &'static str,
        /// Number of values given.
        has: usize,
        /// Classes of the logits.
        classes: i64,
    },
    /// The pixel weights do not fit the logits.
    #[error(
        "the pixel weights are {size:?}; expected, for logits {logits:?}, [batch, height, width] or \
         [batch, 1 or classes, height, width]"
    )]
    Weights {
        /// Shape of the logits.
        logits: [i64; 4],
        /// Shape of the given tensor.
        size: Vec<i64>,
    },
    /// Pixel weights are given, but no term uses them.
    #[error("pixel weights are given, but no term of the loss uses them; only bce does")]
    WeightsUnused,
    /// The numbers of auxiliary outputs and of their weights differ.
    #[error("{} for {}; expected one weight per output, or one for all",
        counted(*weights, "weight", "weights"),
        counted(*outputs, "auxiliary output", "auxiliary outputs"))]
    Auxiliary {
        /// Number of auxiliary outputs of the model.
        outputs: usize,
        /// Number of weights given.
        weights: usize,
    },
    /// Points, their logits and the target do not fit each other.
    #[error(
        "coordinates, logits and target are {coordinates:?}, {logits:?} and {target:?} of {kind:?}; expected \
         [batch, points, 2], [batch, classes, points] and 32-bit label words [batch, height, width] or masks \
         [batch, classes, height, width]"
    )]
    Points {
        /// Shape of the coordinates.
        coordinates: Vec<i64>,
        /// Shape of the logits.
        logits: Vec<i64>,
        /// Shape of the target.
        target: Vec<i64>,
        /// Kind of the target.
        kind: Kind,
    },
    /// A loss has no value per class that could have a weight.
    #[error("{loss} cannot have class-weights: {reason}")]
    ClassWeights {
        /// The loss.
        loss: &'static LossKind,
        /// Why it cannot.
        reason: &'static str,
    },
    /// A loss needs hard labels, but the target has values between 0 and 1.
    #[error("{loss} needs hard labels, but the target is soft; losses that take soft targets: {}", mix::soft_losses())]
    SoftTarget {
        /// The loss.
        loss: &'static LossKind,
    },
    /// A loss sorts the pixels of the whole batch, but the batch is divided among several processes.
    #[error(
        "{loss} with over = \"batch\" cannot be computed by several processes; use over = \"image\" or \"class-image\""
    )]
    Parts {
        /// The loss.
        loss: &'static LossKind,
    },
    /// An error of libtorch, usually out of memory.
    #[error(transparent)]
    Torch(#[from] TchError),
}
