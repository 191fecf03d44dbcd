//! Augmentation: every geometric step of a sample is composed to one map, applied in one pass (image bilinear,
//! label words nearest), so that a sample is blurred by one resampling whatever is asked for; photometric
//! steps follow. Labels keep their class when a hand is flipped: the classes are the same for left and right.

mod fit;
mod masks;
mod photometric;
mod settings;
mod warp;

pub use fit::Fit;
pub use photometric::{brightness_contrast, push_normalised};
pub use settings::{AugmentSettings, BrightnessContrast, Draw, ShiftScaleRotate};
pub use warp::{Border, warp_image, warp_words};
