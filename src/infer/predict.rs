use std::collections::HashMap;

use rayon::prelude::*;

use super::{InferError, Predictor};
use crate::augment::FittedImage;
use crate::clean::Transform;
use crate::dataset::{Dataset, ImageEntry, Problem, ProblemSeverity};
use crate::mask::HandMasks;
use crate::mask::submission::ImageMasks;
use crate::progress::Progress;
use crate::train::PatientMetadata;

/// Predicted masks of images.
#[derive(Clone, Debug)]
pub struct Prediction {
    /// The masks of each image, in the order of the entries.
    pub images: Vec<ImageMasks>,
    /// Images that could not be read; their masks are empty.
    pub problems: Vec<Problem>,
}

/// Predicts the masks of the images `entries` at their original size, `batch` images at a time. A model that is
/// conditioned on the patient gets the metadata in `known`. Only one batch of images is in memory; the masks are
/// run-length encoded.
///
/// # Errors
/// The model fails or is a specialist, or its logits are not finite. Images that cannot be read are problems, not errors.
pub fn predict(
    predictor: &Predictor,
    dataset: &Dataset,
    entries: &[&ImageEntry],
    known: &PatientMetadata,
    batch: usize,
    progress: &dyn Progress,
) -> Result<Prediction, InferError> {
    if let Some(specialist) = &predictor.info().specialist {
        return Err(InferError::Specialist { bones: specialist.bones.join(", ") });
    }
    let size = predictor.info().size;
    let mut prediction = Prediction { images: Vec::with_capacity(entries.len()), problems: Vec::new() };
    progress.start("images predicted", entries.len() as u64);
    for chunk in entries.chunks(batch.max(1)) {
        let read: Vec<Result<FittedImage, String>> = chunk
            .par_iter()
            .map(|entry| Ok(FittedImage::new(dataset.image(entry).map_err(|e| e.to_string())?.pixels, size)))
            .collect();
        let images: Vec<&FittedImage> = read.iter().flatten().collect();
        let readable = chunk.iter().zip(&read).filter(|(_, read)| read.is_ok());
        let patients: Vec<[f32; 4]> = readable.map(|(entry, _)| known.patient(&entry.patient_id)).collect();
        let masks = if images.is_empty() { Vec::new() } else { predictor.masks(&images, &patients)? };
        let mut masks = masks.into_iter();
        for (entry, read) in chunk.iter().zip(&read) {
            let image_name = entry.file_name().to_owned();
            let masks = match read {
                Ok(_) => masks.next().expect("one set of masks per image read"),
                Err(reason) => {
                    prediction.problems.push(unreadable(entry, reason));
                    HandMasks::empty(1, 1)
                }
            };
            prediction.images.push(ImageMasks { image_name, masks });
        }
        progress.advance(chunk.len() as u64);
    }
    progress.finish();
    Ok(prediction)
}

pub(super) fn unreadable(entry: &ImageEntry, reason: &str) -> Problem {
    Problem::new(ProblemSeverity::Error, &*entry.image, reason, "its masks are empty")
        .of_image(&*entry.image_id)
        .of_patient(&*entry.patient_id)
}

/// Moves masks that were predicted on crops into the original images by the crops' transforms, with the original
/// images' names. Masks are not resampled.
///
/// # Errors
/// [`InferError::Crop`]: a crop has no transform, or its masks do not fit it.
pub fn to_originals(images: Vec<ImageMasks>, transforms: &[Transform]) -> Result<Vec<ImageMasks>, InferError> {
    let by_image: HashMap<&str, &Transform> =
        transforms.iter().map(|t| (t.image.rsplit('/').next().unwrap_or(&t.image), t)).collect();
    let back = |image: ImageMasks| {
        let wrong = |reason: String| InferError::Crop { image: image.image_name.clone(), reason };
        let transform = by_image.get(image.image_name.as_str()).ok_or_else(|| {
            wrong("the folder of crops has no transform for it; make the crops again with `carpus clean`".into())
        })?;
        let mut masks = HandMasks::empty(transform.original_width, transform.original_height);
        for (bone, mask) in image.masks.iter().filter(|(_, mask)| !mask.is_empty()) {
            let back = transform.mask_from_crop(mask).and_then(|mask| masks.set(bone, mask));
            back.map_err(|e| wrong(e.to_string()))?;
        }
        let image_name = transform.original_image.rsplit('/').next().unwrap_or_default().to_owned();
        Ok(ImageMasks { image_name, masks })
    };
    images.into_par_iter().map(back).collect()
}
