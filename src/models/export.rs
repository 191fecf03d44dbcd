use tch::{CModule, Kind, Tensor};

use super::metadata::VALUES as METADATA_VALUES;
use super::{Input, Model, ModelError};
use crate::closed_enum::closed_enum;

closed_enum! {
    /// A format to which a model can be exported.
    pub enum ExportFormat ("format") {
        /// A TorchScript module, for `torch.jit.load` in Python and `torch::jit::load` in C++.
        TorchScript = "torchscript",
    }
}

/// Traces `model` in evaluation mode as a TorchScript module. Its `forward` takes images `[batch, C, height, width]`
/// (and, for a model with metadata, metadata `[batch, 4]` as in [`super::Input`]) and returns the logits of the classes. The module is
/// a recording of one forward pass: sizes are fixed and the weights are constants, so it runs wherever libtorch runs
/// but cannot be trained. Afterwards the weights of `model` no longer require gradients.
///
/// # Errors
/// As [`Model::forward`] if the model does not accept images of this size; [`ModelError::Torch`].
pub fn torchscript(model: &Model, [batch, height, width]: [i64; 3]) -> Result<CModule, ModelError> {
    // The tracer accepts only tensors without gradients as constants.
    model.parameters().freeze("");
    let size = [batch, model.config().in_channels, height, width];
    let float = (Kind::Float, model.device());
    let mut inputs = vec![Tensor::f_zeros(size, float)?];
    if model.config().metadata.is_some() {
        inputs.push(Tensor::f_zeros([batch, METADATA_VALUES], float)?);
    }
    let mut failure = None;
    let run = |inputs: &[Tensor]| {
        let output = model.forward(&Input { images: &inputs[0], metadata: inputs.get(1) }, false)?;
        model.folded(&output.logits)
    };
    let mut forward = |inputs: &[Tensor]| match tch::no_grad(|| run(inputs)) {
        Ok(logits) => vec![logits],
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
