use tch::{Device, Kind, TchError, Tensor};

use super::loader::{Batch, make};
use super::{Amp, Loading, OneProcess, Samples, TrainError};
use crate::aten;
use crate::augment::{DeviceImage, DrawnChanges, MixedLabels, Normalisation};
use crate::bones;
use crate::geometry::Size;
use crate::losses::LossMix;
use crate::metrics::{DiceMetric, DiceScore};
use crate::models::{Input, Model};

/// The result of a validation at the model's size.
#[derive(Clone, Debug, PartialEq)]
pub struct Validation {
    /// Mean loss over the images.
    pub loss: f64,
    /// Dice per class, the mean over the images, and the mean over the classes (of a specialist, over its bones).
    pub dice: DiceScore,
}

/// A batch as tensors on the model's device.
#[derive(Debug)]
pub struct Tensors {
    /// `[B, C, H, W]`.
    pub images: Tensor,
    /// `[B, H, W]`, bit c of a word = channel c, the bones and then the pairs; where images were blended, the labels of the first one.
    pub words: Tensor,
    /// Soft targets `[B, channels, H, W]`; only if a sample has mixed labels.
    pub soft: Option<Tensor>,
    /// `[B, 4]`; see [`super::PatientMetadata`].
    pub metadata: Tensor,
}

impl Tensors {
    /// Copies a batch of images of `size` to `device`, and makes the changes there that are left.
    ///
    /// # Errors
    /// libtorch reports an error.
    pub fn new(batch: &Batch, size: Size, loading: &Loading, device: Device) -> Result<Tensors, TchError> {
        let (b, [h, w]) = (batch.indices.len() as i64, size.shape());
        let words = Tensor::f_from_slice(&batch.words)?.f_view([b, h, w])?.f_to_device(device)?;
        let second = |mixed: &MixedLabels| {
            let words: Vec<i32> = mixed.words.iter().map(|word| *word as i32).collect();
            Ok((Tensor::f_from_slice(&words)?.f_view([h, w])?.f_to_device(device)?, mixed.share))
        };
        let mixed = batch.mixed.iter().map(|mixed| mixed.as_ref().map(second).transpose());
        let mixed = mixed.collect::<Result<Vec<_>, TchError>>()?;
        let (images, words, mixed) = match &batch.rest {
            Some(rest) if b > 0 => {
                let levels = Tensor::f_from_slice(&batch.pixels)?.f_view([b, h, w])?.f_to_device(device)?;
                let Augmented { levels, words, mixed } = augmented(&levels, &words, mixed, rest)?;
                let images = normalised(&levels, &batch.normalisations, loading.channels)?;
                if loading.channels_last {
                    aten::channels_last(&images)?;
                }
                (images, words, mixed)
            }
            _ => (images(&batch.pixels, batch.indices.len(), size, loading, device)?, words, mixed),
        };
        let metadata = Tensor::f_from_slice(&batch.metadata)?.f_view([b, 4])?.f_to_device(device)?;
        let words = loading.pairs.marked(&words)?;
        let mark =
            |labels: SecondLabels| labels.map(|(words, share)| Ok((loading.pairs.marked(&words)?, share))).transpose();
        let mixed = mixed.into_iter().map(mark).collect::<Result<Vec<_>, TchError>>()?;
        let channels = bones::COUNT + loading.pairs.len();
        Ok(Tensors { images, soft: soft_target(&words, &mixed, channels as i64)?, words, metadata })
    }

    /// The target of a loss: the soft targets if there are any, else the label words.
    pub fn target(&self) -> &Tensor {
        self.soft.as_ref().unwrap_or(&self.words)
    }

    /// The input of a model.
    pub fn input(&self) -> Input<'_> {
        Input { images: &self.images, metadata: Some(&self.metadata) }
    }
}

/// Pixels of `count` images of `size` as a model takes them: `[B, C, H, W]`.
pub(super) fn images(
    pixels: &[f32],
    count: usize,
    size: Size,
    loading: &Loading,
    device: Device,
) -> Result<Tensor, TchError> {
    let (b, [h, w], channels) = (count as i64, size.shape(), loading.channels as i64);
    let images = Tensor::f_from_slice(pixels)?.f_view([b, channels, h, w])?.f_to_device(device)?;
    if loading.channels_last {
        aten::channels_last(&images)?;
    }
    Ok(images)
}

/// The label words `[H, W]` of a second image, and its share.
type SecondLabels = Option<(Tensor, f32)>;

/// A batch of images after the changes that were left for each.
struct Augmented {
    /// Grey levels `[B, H, W]`.
    levels: Tensor,
    /// Label words `[B, H, W]`.
    words: Tensor,
    mixed: Vec<SecondLabels>,
}

fn augmented(
    levels: &Tensor,
    words: &Tensor,
    mixed: Vec<SecondLabels>,
    rest: &[DrawnChanges],
) -> Result<Augmented, TchError> {
    let (mut all_levels, mut all_words, mut all_mixed) = (Vec::new(), Vec::new(), Vec::new());
    for ((i, changes), mixed) in (0..).zip(rest).zip(mixed) {
        let mut image = DeviceImage { levels: levels.f_select(0, i)?, words: words.f_select(0, i)?, mixed };
        changes.apply_on_device(&mut image)?;
        all_levels.push(image.levels);
        all_words.push(image.words);
        all_mixed.push(image.mixed);
    }
    let (levels, words) = (Tensor::f_stack(&all_levels, 0)?, Tensor::f_stack(&all_words, 0)?);
    Ok(Augmented { levels, words, mixed: all_mixed })
}

/// Grey levels `[B, H, W]` as `[B, C, H, W]`, each image normalised as by [`Normalisation::push`].
///
/// # Errors
/// libtorch reports an error.
pub fn normalised(levels: &Tensor, by: &[Normalisation], channels: usize) -> Result<Tensor, TchError> {
    let lines = by.iter().flat_map(|by| (0..channels).map(|channel| by.line(channel)));
    let (scale, offset): (Vec<f32>, Vec<f32>) = lines.map(|line| (line.scale, line.offset)).unzip();
    let shape = [by.len() as i64, channels as i64, 1, 1];
    let per_channel = |v: &[f32]| Tensor::f_from_slice(v)?.f_view(shape)?.f_to_device(levels.device());
    levels.f_unsqueeze(1)?.f_mul(&per_channel(&scale)?)?.f_add(&per_channel(&offset)?)
}

/// Soft targets `[B, channels, H, W]` from the label words `[B, H, W]` and, per sample that was mixed, the label words `[H, W]`
/// of the second image with its share; `None` if no sample was mixed.
fn soft_target(words: &Tensor, mixed: &[SecondLabels], channels: i64) -> Result<Option<Tensor>, TchError> {
    if mixed.iter().all(Option::is_none) {
        return Ok(None);
    }
    let dense = |words: &Tensor| target(words, channels).f_to_kind(Kind::Float);
    let soft = dense(words)?;
    for (place, (second, share)) in mixed.iter().enumerate().filter_map(|(place, one)| Some((place, one.as_ref()?))) {
        let share = f64::from(*share);
        let second = dense(&second.f_unsqueeze(0)?)?.f_squeeze_dim(0)?.f_mul_scalar_(share)?;
        // A view of the sample's part.
        let _ = soft.f_get(place as i64)?.f_mul_scalar_(1.0 - share)?.f_add_(&second)?;
    }
    Ok(Some(soft))
}

/// Label words `[B, H, W]` (bit c = class c) as 0 or 1, `[B, classes, H, W]`.
pub fn target(words: &Tensor, classes: i64) -> Tensor {
    let bits = Tensor::arange(classes, (Kind::Int, words.device())).view([1, classes, 1, 1]);
    words.unsqueeze(1).bitwise_right_shift(&bits).bitwise_and(1)
}

/// Validates the model on all samples, without augmentation. Samples that cannot be read again are left out.
///
/// # Errors
/// The model or the loss reports an error, no sample can be read, or the loss is not finite.
pub fn validate(
    model: &Model,
    dataset: &Samples,
    loss: &LossMix,
    loading: &Loading,
    amp: Amp,
) -> Result<Validation, TrainError> {
    let plain = Loading { augment: None, unlabelled: None, ranks: &OneProcess, ..loading.clone() };
    let order: Vec<usize> = (0..dataset.len()).collect();
    let classes = model.config().classes;
    let (mut loss_sum, mut samples, mut dice) = (0.0, 0, DiceMetric::new(classes));
    for batch in 0..order.len().div_ceil(plain.batch) {
        let batch = make(dataset, &order, &plain, 0, batch);
        if batch.indices.is_empty() {
            continue;
        }
        let given = Tensors::new(&batch, dataset.size(), &plain, model.device())?;
        samples += batch.indices.len();
        tch::no_grad(|| -> Result<(), TrainError> {
            let half = amp.enter(model.device())?;
            let logits = model.forward(&given.input(), false)?.logits;
            drop(half);
            let logits = logits.f_to_kind(Kind::Float)?;
            loss_sum += loss.forward(&logits, &given.words)?.f_double_value(&[])? * batch.indices.len() as f64;
            Ok(dice.update(&model.folded(&logits)?, &target(&given.words, classes))?)
        })?;
    }
    let unreadable = || TrainError::NoImages { part: "validation", reason: "none can be read any longer".into() };
    let mut dice = dice.compute()?.ok_or_else(unreadable)?;
    if let Some(specialist) = dataset.specialist() {
        let own: Vec<f64> = specialist.bones().map(|bone| dice.per_class[bone.index()]).collect();
        dice.mean = own.iter().sum::<f64>() / own.len() as f64;
    }
    let loss = loss_sum / samples as f64;
    if !loss.is_finite() {
        return Err(TrainError::ValidationNotFinite { loss });
    }
    Ok(Validation { loss, dice })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_mixed_labels_become_soft_targets() {
        let words = Tensor::from_slice(&[1i32, 3, 0, 0, 5, 0, 0, 1 << 28]).view([2, 2, 2]);
        assert!(soft_target(&words, &[None, None], 29).unwrap().is_none());
        let second = Tensor::from_slice(&[4i32, 0, 0, 1 << 28]).view([2, 2]);
        let soft = soft_target(&words, &[None, Some((second, 0.25))], 29).unwrap().unwrap();
        let at = |b: i64, c: i64, y: i64, x: i64| soft.double_value(&[b, c, y, x]);
        // The first sample is not mixed; classes 0 and 2 of the second one are in its first image, or in both.
        assert_eq!((at(0, 0, 0, 0), at(0, 1, 0, 1), at(0, 1, 0, 0)), (1.0, 1.0, 0.0));
        assert_eq!((at(1, 0, 0, 0), at(1, 2, 0, 0), at(1, 28, 1, 1)), (0.75, 1.0, 1.0));
        assert_eq!(soft.sum(Kind::Double).double_value(&[]), 3.0 + 0.75 + 1.0 + 1.0);
    }

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
