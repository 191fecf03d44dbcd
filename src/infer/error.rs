use crate::models::ModelError;
use crate::train::TrainError;

/// A prediction that cannot be made.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum InferError {
    /// The file of weights cannot be read, or is not that of a trained model.
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
