//! Augmentation: an ordered list of steps, one file per kind. Each step draws its parameters for a sample and gives a map
//! (where each pixel is read from) or an operation on grey levels. Consecutive maps are composed and applied in one pass
//! (image bilinear, label words nearest), so that a sample is blurred by one resampling whatever is asked for. Labels keep their
//! class when a hand is flipped: the classes are the same for left and right.

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

/// Changes the grey levels of a sample, row-major.
pub type PixelOperation = Box<dyn Fn(&mut [f32])>;

/// What a step does to one sample.
pub enum Change {
    /// Moves pixels and labels.
    Geometry {
        /// Where each pixel of the result is read from.
        source_from_target: Geometry,
        /// What lies outside the image; `None` for a map that never reads there.
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

    /// The settings out of range, but for `p`.
    fn violations(&self) -> Violations;
}

/// Refuses what is not a share from 0 to below 1.
fn expect_share(wrong: &mut Violations, key: &str, value: f64) {
    wrong.expect((0.0..1.0).contains(&value), key, value, "a share from 0 to below 1");
}
