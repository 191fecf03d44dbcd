use tch::{CModule, Kind, Tensor};

use super::{Model, ModelError};
use crate::closed_enum::closed_enum;

closed_enum! {
    /// What a model can be exported to.
    pub enum ExportFormat ("format") {
        /// A module that `torch.jit.load` opens in Python and `torch::jit::load` in C++.
        TorchScript = "torchscript",
    }
}

/// `model` in evaluation as TorchScript: a module whose `forward` takes images `[batch, C, height, width]` of this very
/// size and gives logits. It is what libtorch recorded on one pass, so sizes are fixed, and the weights stand in
/// it as constants: it runs wherever libtorch does and learns nothing. The model's weights no longer take
/// gradients afterwards.
pub fn torchscript(model: &Model, [batch, height, width]: [i64; 3]) -> Result<CModule, ModelError> {
    // The tracer takes only tensors without gradients as constants.
    model.parameters().set_trainable("", false);
    let size = [batch, model.config().in_channels, height, width];
    let x = Tensor::f_zeros(size, (Kind::Float, model.device()))?;
    let mut failure = None;
    let mut forward = |inputs: &[Tensor]| match tch::no_grad(|| model.forward_t(&inputs[0], false)) {
        Ok(output) => vec![output.logits],
        Err(error) => {
            failure = Some(error);
            Vec::new()
        }
    };
    let module = CModule::create_by_tracing("Carpus", "forward", &[x], &mut forward);
    match failure {
        Some(error) => Err(error),
        None => Ok(module?),
    }
}
