use std::path::Path;

use image::{GrayImage, RgbImage};

use super::loader::make;
use super::{Loading, OneProcess, Samples, Tensors, TrainError};
use crate::augment::Letterbox;
use crate::bones;
use crate::draw::{self, SheetStyle};
use crate::geometry::Size;
use crate::mask::{HandMasks, LabelImage};
use crate::models::Model;

/// Indices of `count` validation images to draw after each epoch: the most rotated one, then the first of the others.
pub(super) fn watched(dataset: &Samples, count: usize) -> Vec<usize> {
    let rotation = |i: &usize| dataset.sample(*i).ok().and_then(|s| s.angle).map_or(0.0, f64::abs);
    let all = 0..dataset.len();
    let Some(most_rotated) = all.clone().max_by(|a, b| rotation(a).total_cmp(&rotation(b)).then(b.cmp(a))) else {
        return vec![];
    };
    std::iter::once(most_rotated).chain(all.filter(|i| *i != most_rotated)).take(count).collect()
}

/// A contact sheet of the watched images at the model's size, with false positives in red and false negatives in blue.
pub(super) fn compare(
    model: &Model,
    dataset: &Samples,
    watched: &[usize],
    loading: &Loading,
) -> Result<RgbImage, TrainError> {
    let size = dataset.size();
    let plain = Loading { augment: None, unlabelled: None, ranks: &OneProcess, ..loading.clone() };
    let Size { width, height } = size;
    let fit = Letterbox::new(width, height, size);
    let mut pictures = Vec::new();
    for index in watched {
        let batch = make(dataset, &[*index], &Loading { batch: 1, ..plain.clone() }, 0, 0);
        if batch.indices.is_empty() {
            continue;
        }
        let input = Tensors::new(&batch, size, &plain, model.device())?;
        let logits = tch::no_grad(|| model.folded(&model.forward(&input.input(), false)?.logits))?;
        let logits = logits.f_to_device(tch::Device::Cpu)?;
        let predicted = fit.masks(&Vec::<f32>::try_from(logits.f_contiguous()?.f_view([-1])?)?);
        let sample = dataset.sample(*index)?;
        let labels = LabelImage { width, height, words: sample.words() };
        let truth = HandMasks::new(labels.masks(bones::COUNT)).expect("one mask of one size per bone");
        let levels = loading.input.prepare(&sample.image).levels.into_iter().map(|v| v.round() as u8);
        let pixels = GrayImage::from_raw(width, height, levels.collect()).expect("one level per pixel");
        // Small images are enlarged, so that a difference of one pixel is visible.
        let options = draw::Options { max_size: 512, max_zoom: 4.0, ..Default::default() };
        let picture = draw::compare(&pixels, &truth, &predicted, &options);
        pictures.push((dataset.entries()[*index].image_id.clone(), picture));
    }
    Ok(draw::contact_sheet(&pictures, &SheetStyle::default()))
}

/// Writes the picture to `path` as PNG, completely or not at all, and returns the bytes of the file.
pub(super) fn save(path: &Path, picture: &RgbImage) -> Result<Vec<u8>, TrainError> {
    draw::write_png(path, picture).map_err(TrainError::io(path))?;
    std::fs::read(path).map_err(TrainError::io(path))
}
