//! Augmentation: an ordered list of steps, one file per kind. Each step draws its parameters for a sample and returns a
//! map (from where each pixel is read) or an operation on grey levels. Consecutive maps are composed and applied
//! together (image bilinear, label words nearest), so that a sample is resampled, and blurred, only once. Labels keep
//! their class when a hand is flipped, because the classes are the same for left and right hands.

mod brightness_contrast;
mod flip;
mod list;
mod masks;
mod normalise;
mod shift_scale_rotate;
mod square_fit;
mod warp;

pub use brightness_contrast::BrightnessContrast;
pub use flip::Flip;
pub use list::{Augmentation, Augmentations};
pub use normalise::push_normalised;
pub use shift_scale_rotate::ShiftScaleRotate;
pub use square_fit::SquareFit;
pub use warp::{Border, Displacement, Geometry, Warp};

use rand_chacha::ChaCha8Rng;

use crate::violation::Violations;

/// Changes the grey levels of a sample, 0 to 255, row-major.
pub type PixelOperation = Box<dyn Fn(&mut [f32])>;

/// The effect of a step on one sample.
pub enum Change {
    /// Moves pixels and labels.
    Geometry {
        /// The place from which each pixel of the result is read.
        source_from_target: Geometry,
        /// The border outside the image; `None` for a map that reads nothing outside.
        border: Option<Border>,
    },
    /// Changes grey levels, 0 to 255, row-major.
    Pixels(PixelOperation),
}

/// The settings of one kind of step.
pub trait Step {
    /// Probability that the step is applied to a sample.
    fn p(&self) -> f64;

    /// Draws the step's parameters for a sample of `size` x `size` pixels.
    fn draw(&self, size: u32, rng: &mut ChaCha8Rng) -> Change;

    /// The values that are out of range, without `p`.
    fn violations(&self) -> Violations;
}

/// Refuses a value that is not from 0 to below 1.
fn expect_share(wrong: &mut Violations, key: &str, value: f64) {
    wrong.expect((0.0..1.0).contains(&value), key, value, "from 0 to below 1");
}
