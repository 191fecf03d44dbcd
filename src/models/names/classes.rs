use std::collections::BTreeMap;

use tch::{Device, Tensor};

use crate::models::{Model, ModelConfig, ModelError, classes_of};

/// Replaces the layers of the model `config` that depend on the number of classes by those of a new model with
/// `classes` classes, drawn from libtorch's global random generator, if `tensors` have another number. Returns the
/// names of the replaced tensors.
///
/// # Errors
/// As [`Model::new`].
pub fn replace_classes(
    config: &ModelConfig,
    tensors: &mut BTreeMap<String, Tensor>,
    classes: i64,
) -> Result<Vec<String>, ModelError> {
    if classes_of(config, tensors)?.is_none_or(|given| given == classes) {
        return Ok(Vec::new());
    }
    let new = Model::new(&ModelConfig { classes, ..config.clone() }, Device::Cpu)?;
    let mut replaced = Vec::new();
    for (name, tensor) in new.state() {
        if let Some(old) = tensors.get_mut(&name).filter(|old| old.size() != tensor.size()) {
            *old = tensor.detach().to_kind(old.kind());
            replaced.push(name);
        }
    }
    Ok(replaced)
}
