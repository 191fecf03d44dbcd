//! Augmentation: an ordered list of steps, one file per kind. Each step draws its parameters for a sample and returns a
//! map (from where each pixel is read) or an operation on grey levels and labels. Consecutive maps are composed and
//! applied together (image bilinear, label words nearest), so that a sample is resampled, and blurred, only once. Labels keep
//! their class when a hand is flipped, because the classes are the same for left and right hands.

mod amount;
mod bone_dropout;
mod brightness_contrast;
mod change;
mod coarse_dropout;
mod copy_paste;
mod cut_mix;
mod displacement;
mod flip;
mod grid_dropout;
mod holes;
mod labelled_image;
mod list;
mod masks;
mod mix_up;
mod normalise;
mod paste;
mod remove_bones;
mod shift_scale_rotate;
mod square_fit;
mod view;
mod warp;

pub use amount::Amount;
pub use bone_dropout::BoneDropout;
pub use brightness_contrast::BrightnessContrast;
pub use change::{Change, DeviceImage, DeviceOperation, Operation};
pub use coarse_dropout::CoarseDropout;
pub use copy_paste::CopyPaste;
pub use cut_mix::CutMix;
pub use displacement::Displacement;
pub use flip::Flip;
pub use grid_dropout::GridDropout;
pub use holes::{HoleFill, RandomFill};
pub use labelled_image::{LabelledImage, MixedLabels};
pub use list::{Augmentation, Augmentations};
pub use mix_up::MixUp;
pub use normalise::push_normalised;
pub use shift_scale_rotate::ShiftScaleRotate;
pub use square_fit::SquareFit;
pub use view::{NoOtherImages, OtherImages, SampleView};
pub use warp::{Border, Geometry, Warp};

use rand_chacha::ChaCha8Rng;

use crate::violation::Violations;

/// The settings of one kind of step.
pub trait Step {
    /// Probability that the step is applied to a sample.
    fn p(&self) -> f64;

    /// Draws the step's parameters for the sample in `view`; `None` if the sample has nothing to change, as a hand
    /// without the bones that the step needs.
    fn draw(&self, view: &SampleView, rng: &mut ChaCha8Rng) -> Option<Change>;

    /// The values that are out of range, without `p`.
    fn violations(&self) -> Violations;

    /// Whether the step mixes another image into the sample.
    fn needs_other_images(&self) -> bool {
        false
    }

    /// Whether the step gives a sample mixed labels ([`MixedLabels`]), which make soft targets.
    fn mixes_labels(&self) -> bool {
        false
    }
}

/// Refuses a value that is not from 0 to below 1.
fn expect_share(wrong: &mut Violations, key: &str, value: f64) {
    wrong.expect((0.0..1.0).contains(&value), key, value, "from 0 to below 1");
}
