use super::{TrainConfig, TrainError};
use crate::models::{Loaded, Model};

/// Loads the weights that the run starts from, if files of weights are configured, into a new model.
pub(super) fn load_weights(model: &mut Model, settings: &TrainConfig) -> Result<(), TrainError> {
    if let Some(path) = &settings.encoder_weights {
        model.load_encoder(path)?;
    }
    let Some(path) = &settings.weights else { return Ok(()) };
    let Loaded { norms_converted, parts_kept } = model.load(path)?;
    if norms_converted > 0 {
        tracing::info!("{}: {norms_converted} batch norms were converted to {}", path.display(), settings.model.norm);
    }
    if !parts_kept.is_empty() {
        tracing::info!(
            "{}: the file has no weights for {}; they start from random values",
            path.display(),
            parts_kept.join(", ")
        );
    }
    Ok(())
}
