use tch::{CModule, Kind, Tensor};

use super::metadata::VALUES as METADATA_VALUES;
use super::{Input, Model, ModelError};
use crate::closed_enum::closed_enum;

closed_enum! {
    /// What a model can be exported to.
    pub enum ExportFormat ("format") {
        /// A module that `torch.jit.load` opens in Python and `torch::jit::load` in C++.
        TorchScript = "torchscript",
    }
}

/// `model` in evaluation as TorchScript: a module whose `forward` takes images `[batch, C, height, width]` of this very
/// size, for a model conditioned on metadata these too, `[batch, 4]` as [`super::Input`] has them, and gives logits. It is
/// what libtorch recorded on one pass, so sizes are fixed, and the weights stand in it as constants: it runs wherever
/// libtorch does and learns nothing. The model's weights no longer take gradients afterwards.
///
/// # Errors
/// As [`Model::forward`] where the model does not take images of this size; [`ModelError::Torch`].
pub fn torchscript(model: &Model, [batch, height, width]: [i64; 3]) -> Result<CModule, ModelError> {
    // The tracer takes only tensors without gradients as constants.
    model.parameters().set_trainable("", false);
    let size = [batch, model.config().in_channels, height, width];
    let float = (Kind::Float, model.device());
    let mut inputs = vec![Tensor::f_zeros(size, float)?];
    if model.config().metadata.is_some() {
        inputs.push(Tensor::f_zeros([batch, METADATA_VALUES], float)?);
    }
    let mut failure = None;
    let run = |inputs: &[Tensor]| model.forward(&Input { images: &inputs[0], metadata: inputs.get(1) }, false);
    let mut forward = |inputs: &[Tensor]| match tch::no_grad(|| run(inputs)) {
        Ok(output) => vec![output.logits],
        Err(error) => {
            failure = Some(error);
            Vec::new()
        }
    };
    let module = CModule::create_by_tracing("Carpus", "forward", &inputs, &mut forward);
    match failure {
        Some(error) => Err(error),
        None => Ok(module?),
    }
}
