//! The statistics of batch norms for weights that were averaged: those of the averaged networks do not fit them.

use super::loader::Batches;
use super::{Amp, Loading, OneProcess, Samples, Tensors, TrainError, seeds};
use crate::models::Model;

/// Estimates the running statistics of the batch norms that are trained again, as means over the batches of one pass
/// through `training` with the augmentation of `loading` (`torch.optim.swa_utils.update_bn` with the training loader).
/// `epoch` selects the random numbers. Returns the number of batch norms; without any, no image is read.
///
/// # Errors
/// The model reports an error, or no batch can be read.
pub fn estimate_statistics(
    model: &Model,
    training: &Samples,
    loading: &Loading,
    amp: Amp,
    epoch: u64,
) -> Result<usize, TrainError> {
    let norms = model.reset_statistics()?;
    if norms == 0 {
        return Ok(0);
    }
    // Every rank reads all images, as in validation.
    let whole = Loading { unlabelled: None, ranks: &OneProcess, ..loading.clone() };
    let order: Vec<usize> = (0..training.len()).collect();
    let mut used = 0;
    std::thread::scope(|scope| -> Result<(), TrainError> {
        let made = Batches::start(scope, training, &order, &whole, epoch, 0);
        for (place, batch) in made.enumerate() {
            let batch = batch?;
            // As in training, a batch is skipped if reading failed for all samples but one.
            if batch.indices.len() <= usize::from(!batch.broken.is_empty()) {
                continue;
            }
            seeds::seed_statistics(whole.seed, epoch, place as u64);
            let given = Tensors::new(&batch, training.size(), &whole, model.device())?;
            let half = amp.enter(model.device())?;
            model.accumulate_statistics(&given.input())?;
            drop(half);
            used += 1;
        }
        Ok(())
    })?;
    if used == 0 {
        return Err(TrainError::NoImages { part: "training", reason: "none can be read any longer".into() });
    }
    Ok(norms)
}
