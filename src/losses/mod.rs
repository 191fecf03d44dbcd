//! Losses for multi-label masks: logits in, a scalar out, weighted sums by config.
//!
//! A mix computes its value *and its gradient* in one walk over the classes, a few classes at a time, and hands
//! autograd the finished gradient. So the memory it needs beyond the logits is one tensor of their size (and one
//! more while autograd passes it on), whatever the number of terms, and targets may be label words, which are
//! never spread out. The price: a loss cannot be differentiated twice.
//!
//! Every loss takes the mean over classes (and images where it is by image), is 0 for classes that are absent
//! where the reference says so, and is computed in single precision whatever the logits' kind.

mod batch;
mod bce;
mod dice;
mod focal;
mod focal_tversky;
mod generalised_dice;
mod jaccard;
mod kind;
mod lovasz;
mod mix;
mod per_class;
mod region;
mod tversky;

use tch::{Kind, TchError};

pub use bce::Bce;
pub use dice::Dice;
pub use focal::Focal;
pub use focal_tversky::FocalTversky;
pub use generalised_dice::GeneralisedDice;
pub use jaccard::Jaccard;
pub use kind::LossKind;
pub use lovasz::{Lovasz, Over};
pub use mix::{LossMix, Term};
pub use per_class::PerClass;
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
    #[error("{option} lists {has} values; there are {classes} classes")]
    Classes {
        /// The option.
        option: &'static str,
        /// Values listed.
        has: usize,
        /// Classes of the logits.
        classes: i64,
    },
    /// libtorch refused: most often memory ran out.
    #[error(transparent)]
    Torch(#[from] TchError),
}
