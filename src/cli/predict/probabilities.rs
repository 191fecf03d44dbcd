use std::path::Path;

use super::Job;
use crate::clean::Transform;
use crate::cli::Ui;
use crate::digest::sha256;
use crate::infer::{InferError, Prediction, predict_each, to_original, transforms_by_name};
use crate::mask::HandMasks;
use crate::mask::submission::ImageMasks;
use crate::names::image_id;
use crate::probability::decision::DecisionSettings;
use crate::probability::{Bits, EXTENSION, ImageProbabilities, Manifest, write};

/// A prediction image by image, through probabilities.
pub(super) struct Streamed<'a> {
    pub job: &'a Job<'a>,
    pub decision: &'a DecisionSettings,
    /// Of crops; `None` for original images.
    pub transforms: Option<&'a [Transform]>,
}

/// Predicts the images one by one; writes the probabilities to `folder`. Returns the masks in pixels of the original images
/// and the bytes of each file.
pub(super) fn predict_streamed(
    streamed: &Streamed,
    folder: Option<&Path>,
    ui: &Ui,
) -> anyhow::Result<(Prediction, Vec<u64>)> {
    let &Job { args, predictor, dataset, entries, known, ref options } = streamed.job;
    let transforms = streamed.transforms.map(transforms_by_name);
    let transform = |name: &str| -> anyhow::Result<Option<&Transform>> {
        let Some(transforms) = &transforms else { return Ok(None) };
        let found = transforms.get(name).copied().ok_or_else(|| InferError::Crop {
            image: name.to_owned(),
            reason: "the folder of crops has no transform for it; make the crops again with `carpus clean`".into(),
        })?;
        Ok(Some(found))
    };
    let (mut images, mut bytes) = (Vec::with_capacity(entries.len()), Vec::new());
    let problems = predict_each(predictor, dataset, entries, known, options, ui, |entry, predicted| {
        let transform = transform(entry.file_name())?;
        let Some(image) = predicted else {
            images.push(without_masks(entry.file_name(), transform));
            return Ok(());
        };
        let image = match transform {
            Some(transform) => to_original(image, transform)?,
            None => image,
        };
        if let Some(folder) = folder {
            bytes.push(write_image(folder, &image, args.bits)?);
        }
        let masks = streamed.decision.masks(&image)?;
        images.push(ImageMasks { image_name: image.image_name, masks });
        anyhow::Ok(())
    })?;
    if let Some(folder) = folder {
        let made_by = serde_json::json!({
            "command": "predict",
            "checkpoint": args.checkpoint,
            "weights_sha256": sha256(&std::fs::read(&args.checkpoint)?),
            "options": options.to_json(),
        });
        Manifest { made_by, images: bytes.len(), bits: args.bits }.write(folder)?;
    }
    Ok((Prediction { images, problems }, bytes))
}

/// Writes the probabilities of an image; the bytes of the file.
fn write_image(folder: &Path, image: &ImageProbabilities, bits: Bits) -> anyhow::Result<u64> {
    let path = folder.join(format!("{}.{EXTENSION}", image_id(&image.image_name)));
    write(&path, image, bits)?;
    Ok(std::fs::metadata(&path)?.len())
}

/// Empty masks of an image that cannot be read, under the name that its masks have.
fn without_masks(name: &str, transform: Option<&Transform>) -> ImageMasks {
    let (image_name, width, height) = match transform {
        Some(t) => (t.original_image.rsplit('/').next().unwrap_or_default(), t.original_width, t.original_height),
        None => (name, 1, 1),
    };
    ImageMasks { image_name: image_name.to_owned(), masks: HandMasks::empty(width, height) }
}
