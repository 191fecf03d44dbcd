//! Prediction: from a checkpoint and images to masks or probabilities at the images' original size; of a whole image, or in
//! overlapping windows, with test-time augmentation.

mod augmentation;
mod error;
mod predict;
mod predictor;
mod rows;
mod specialist;
mod strip;
mod view;
mod window;
mod windows;

pub use augmentation::{AugmentationStep, TestTimeAugmentation};
pub use error::InferError;
pub use predict::{Prediction, predict, predict_each, to_original, to_originals, transforms_by_name};
pub use predictor::{Predictor, WindowSides};
pub use specialist::{Guide, predict_specialist};
pub use view::{AugmentedView, UndoneView, WindowPlace};
pub use window::{MAX_SIDE, WindowSettings, WindowWeights};
pub use windows::{InferOptions, ScaledImage, WindowModel, window_probabilities};
