use crate::models::ModelError;
use crate::train::TrainError;

/// Why a prediction failed.
#[derive(Debug, thiserror::Error)]
pub enum InferError {
    /// The file of weights cannot be read, or does not belong to a trained model.
    #[error(transparent)]
    Weights(#[from] TrainError),
    /// The model cannot be run.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// libtorch reports an error.
    #[error(transparent)]
    Torch(#[from] tch::TchError),
    /// Weights of a specialist, where a model of the whole hand is needed.
    #[error(
        "the weights are those of a specialist for {bones}, which sees only the part of an image around them; give the \
         masks to look around with --around"
    )]
    Specialist {
        /// Its bones.
        bones: String,
    },
    /// Weights of a model of the whole hand, where a specialist is needed.
    #[error(
        "the weights are not those of a specialist, which sees only the part of an image around some bones; leave --around out"
    )]
    NoSpecialist,
    /// A logit is NaN or infinite.
    #[error("the model's logits are not finite (NaN or infinity): its weights or an image are damaged")]
    LogitsNotFinite,
    /// A crop has no transform, or its masks do not fit it.
    #[error("image {image}: {reason}")]
    Crop {
        /// The file name of the crop.
        image: String,
        /// What is wrong with the crop.
        reason: String,
    },
}
