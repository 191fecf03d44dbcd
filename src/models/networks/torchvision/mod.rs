//! torchvision's segmentation networks with its names (`backbone.…`, `classifier.…`, `aux_classifier.…`). They accept
//! images of any size and interpolate the logits to it. torchvision has three input channels only; here the first layer
//! can also have one.

mod backbone;
mod deeplabv3;
mod fcn;
mod lraspp;

pub use deeplabv3::TorchvisionDeepLabV3;
pub use fcn::Fcn;
pub use lraspp::Lraspp;

use tch::Tensor;

use crate::models::layers::{Corners, bilinear_to};
use crate::models::{ModelConfig, ModelError, Output, Path};
use fcn::FcnHead;

/// Any height and width is allowed.
const STRIDE: i64 = 1;

/// The auxiliary head on a feature with `channels` channels, if the configuration has one.
fn auxiliary_head(root: &Path, config: &ModelConfig, channels: i64) -> Result<Option<FcnHead>, ModelError> {
    config.auxiliary.then(|| FcnHead::new(&(root / "aux_classifier"), config, channels)).transpose()
}

/// `logits` at the size of `images` and, in training, those of the auxiliary head on `feature`.
fn output(
    images: &Tensor,
    logits: &Tensor,
    auxiliary: Option<&FcnHead>,
    feature: &Tensor,
    train: bool,
) -> Result<Output, ModelError> {
    let mut output = Output::of(bilinear_to(logits, images, Corners::AtEdges)?);
    if let Some(head) = auxiliary.filter(|_| train) {
        output.auxiliary.push(bilinear_to(&head.forward(feature, train)?, images, Corners::AtEdges)?);
    }
    Ok(output)
}
