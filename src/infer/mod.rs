//! Prediction: from a checkpoint and images to masks at the images' original size.

mod error;
mod predict;
mod predictor;

pub use error::InferError;
pub use predict::{Prediction, predict, to_originals};
pub use predictor::{Predictor, TestTimeAugmentation};
