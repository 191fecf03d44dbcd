use crate::models::ModelError;
use crate::train::TrainError;

/// Why a prediction failed.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum InferError {
    /// The file of weights cannot be read, or does not belong to a trained model.
    #[error(transparent)]
    Weights(#[from] TrainError),
    #[error(transparent)]
    Model(#[from] ModelError),
    #[error(transparent)]
    Torch(#[from] tch::TchError),
    #[error("the model's logits are not finite (NaN or infinity): its weights or an image are damaged")]
    LogitsNotFinite,
    #[error("image {image}: {reason}")]
    Crop { image: String, reason: String },
}
