//! Augmentation: an ordered list of steps, one file per kind. Each step draws its parameters for a sample and returns a
//! map (from where each pixel is read) or an operation on grey levels and labels. Consecutive maps are composed and
//! applied together (image bilinear, label words nearest), so that a sample is resampled, and blurred, only once. Labels keep
//! their class when a hand is flipped, because the classes are the same for left and right hands.

mod amount;
mod bone_dropout;
mod brightness_contrast;
mod change;
mod clahe;
mod coarse_dropout;
mod collimator;
mod copy_paste;
mod crop_around;
mod cut_mix;
mod displacement;
mod downscale;
mod drawn_changes;
mod elastic;
mod equalise;
mod fitted_image;
mod flip;
mod gamma;
mod gaussian_blur;
mod gaussian_noise;
mod grid_distortion;
mod grid_dropout;
mod histogram;
mod histogram_matching;
mod holes;
mod invert;
mod labelled_image;
mod letterbox;
mod level_curve;
mod list;
mod masks;
mod median_blur;
mod mix_up;
mod normalise;
mod optical_distortion;
mod paste;
mod perspective;
mod pixel_noise;
mod poisson_noise;
mod random_affine;
mod random_resized_crop;
mod reference_image;
mod remove_bones;
mod rotate90;
mod rotate_upright;
mod sharpen;
mod shift_scale_rotate;
mod smooth_noise;
#[cfg(test)]
mod trial;
mod view;
mod warp;
mod warp_on_device;
mod white_strips;

pub use amount::Amount;
pub use bone_dropout::BoneDropout;
pub use brightness_contrast::BrightnessContrast;
pub use change::{Change, DeviceImage, DeviceOperation, Operation};
pub use clahe::Clahe;
pub use coarse_dropout::CoarseDropout;
pub use collimator::Collimator;
pub use copy_paste::CopyPaste;
pub use crop_around::{CropAround, bones_named};
pub use cut_mix::CutMix;
pub use displacement::Displacement;
pub use downscale::{Downscale, Enlarging};
pub use drawn_changes::DrawnChanges;
pub use elastic::{Elastic, ElasticForm};
pub use equalise::Equalise;
pub use fitted_image::FittedImage;
pub use flip::Flip;
pub use gamma::Gamma;
pub use gaussian_blur::GaussianBlur;
pub use gaussian_noise::GaussianNoise;
pub use grid_distortion::GridDistortion;
pub use grid_dropout::GridDropout;
pub use histogram_matching::HistogramMatching;
pub use holes::{HoleFill, RandomFill};
pub use invert::Invert;
pub use labelled_image::{LabelledImage, MixedLabels};
pub use letterbox::Letterbox;
pub use list::{Augmentation, Augmentations, PartlyAugmented};
pub use median_blur::MedianBlur;
pub use mix_up::MixUp;
pub use normalise::{LevelLine, Normalisation};
pub use optical_distortion::{Lens, OpticalDistortion};
pub use perspective::Perspective;
pub use poisson_noise::PoissonNoise;
pub use random_affine::RandomAffine;
pub use random_resized_crop::RandomResizedCrop;
pub use reference_image::ReferenceImage;
pub use rotate_upright::RotateUpright;
pub use rotate90::Rotate90;
pub use sharpen::Sharpen;
pub use shift_scale_rotate::ShiftScaleRotate;
pub use view::{NoOtherImages, OtherImages, SampleView};
pub use warp::{Border, Geometry, Warp};
pub use white_strips::{ImageBorder, WhiteStrips};

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

    /// Whether the draw reads nothing of the sample but its size, so that it can be made before the earlier steps are
    /// applied.
    fn draws_from_size_alone(&self) -> bool {
        false
    }

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
