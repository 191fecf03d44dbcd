//! Prediction: from a checkpoint and images to masks at the images' original size.

mod error;
mod predict;
mod predictor;
mod specialist;

pub use error::InferError;
pub use predict::{Prediction, predict, to_originals};
pub use predictor::{Predictor, TestTimeAugmentation};
pub use specialist::{Guide, predict_specialist};
