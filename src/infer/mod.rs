//! Prediction: a checkpoint and images in, masks at the images' own size out, as a submission.

mod error;
mod predict;
mod predictor;

pub use error::InferError;
pub use predict::{Prediction, predict, to_originals};
pub use predictor::Predictor;
