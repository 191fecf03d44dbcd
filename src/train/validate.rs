use tch::{Kind, Tensor};

use super::loader::make;
use super::{Dataset, Loading, TrainError};
use crate::losses::LossMix;
use crate::metrics::{Dice, DiceScore};
use crate::models::Model;

/// What validation at the model's size gave.
#[derive(Clone, Debug, PartialEq)]
pub struct Validation {
    /// Mean loss over the images.
    pub loss: f64,
    /// Mean Dice over the images, by class and in all.
    pub dice: DiceScore,
}

/// Label words `[B, H, W]` (bit c = class c) as 0 or 1, `[B, classes, H, W]`.
pub fn target(words: &Tensor, classes: i64) -> Tensor {
    let bits = Tensor::arange(classes, (Kind::Int, words.device())).view([1, classes, 1, 1]);
    words.unsqueeze(1).bitwise_right_shift(&bits).bitwise_and(1)
}

/// Runs the model over every sample, unaugmented.
pub fn validate(model: &Model, dataset: &Dataset, loss: &LossMix, loading: &Loading) -> Result<Validation, TrainError> {
    let plain = Loading { augment: None, ..loading.clone() };
    let order: Vec<usize> = (0..dataset.len()).collect();
    let classes = model.config().classes;
    let (mut loss_sum, mut dice) = (0.0, Dice::new(classes));
    for batch in 0..order.len().div_ceil(plain.batch) {
        let batch = make(dataset, &order, &plain, 0, batch)?;
        let (x, words) = tensors(&batch, dataset.size(), plain.channels, model.device());
        tch::no_grad(|| -> Result<(), TrainError> {
            let logits = model.forward_t(&x, false)?.logits;
            loss_sum += loss.forward(&logits, &words)?.double_value(&[]) * batch.indices.len() as f64;
            Ok(dice.update(&logits, &target(&words, classes))?)
        })?;
    }
    let dice = dice.compute()?.expect("a data set has at least one sample");
    Ok(Validation { loss: loss_sum / dataset.len() as f64, dice })
}

/// A batch on `device`: `[B, C, S, S]` floats and `[B, S, S]` words.
pub(super) fn tensors(batch: &super::Batch, size: u32, channels: usize, device: tch::Device) -> (Tensor, Tensor) {
    let (b, s) = (batch.indices.len() as i64, i64::from(size));
    let x = Tensor::from_slice(&batch.pixels).view([b, channels as i64, s, s]).to_device(device);
    (x, Tensor::from_slice(&batch.words).view([b, s, s]).to_device(device))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_become_channels() {
        let words = Tensor::from_slice(&[0i32, 1, 1 << 28 | 2, 4]).view([1, 2, 2]);
        let t = target(&words, 29);
        assert_eq!(t.size(), [1, 29, 2, 2]);
        let at = |c: i64, y: i64, x: i64| t.double_value(&[0, c, y, x]);
        assert_eq!((at(0, 0, 1), at(28, 1, 0), at(1, 1, 0), at(2, 1, 1)), (1.0, 1.0, 1.0, 1.0));
        assert_eq!(t.sum(Kind::Float).double_value(&[]), 4.0);
    }
}
