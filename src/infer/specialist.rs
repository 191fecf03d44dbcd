use std::collections::HashMap;

use rayon::prelude::*;

use super::predict::{Prediction, unreadable};
use super::{InferError, Predictor};
use crate::augment::FittedImage;
use crate::dataset::{Dataset, ImageEntry, Problem, ProblemSeverity};
use crate::geometry::Size;
use crate::mask::HandMasks;
use crate::mask::submission::ImageMasks;
use crate::progress::Progress;
use crate::train::{ImagePart, PatientMetadata, SampleFrame, SpecialistSettings};

/// The masks around which a specialist looks.
#[derive(Clone, Copy, Debug)]
pub enum Guide<'a> {
    /// The annotation of each image.
    Annotations,
    /// Masks by image id, as another model predicted them. They may have another shape with the same pixels in order (see
    /// [`HandMasks::reshaped`]).
    Masks(&'a HashMap<String, HandMasks>),
}

impl Guide<'_> {
    /// The masks of an image of this width and height, or why there are none.
    fn masks(&self, dataset: &Dataset, entry: &ImageEntry, (width, height): (u32, u32)) -> Result<HandMasks, String> {
        match self {
            Guide::Annotations => {
                let read = dataset.annotation(entry).map_err(|e| e.to_string())?;
                Ok(read.ok_or("it has no annotation to look around")?.annotation.masks(width, height))
            }
            Guide::Masks(masks) => {
                let found = masks.get(&entry.image_id).ok_or("there are no masks of it to look around")?;
                let wrong = |(bone, error)| format!("the masks to look around do not fit it: {bone}: {error}");
                found.reshaped(width, height).map_err(wrong)
            }
        }
    }
}

/// The part of an image that a specialist sees, at the model's size.
struct PartOfImage {
    part: ImagePart,
    fitted: FittedImage,
}

/// Predicts with a specialist: each image is cut around the specialist's bones in the masks of `guide`, and the masks
/// are put back into the pixels of the whole image. Masks of other bones are empty. The masks of the entries have their
/// order; only one batch of images is in memory.
///
/// # Errors
/// The weights are not those of a specialist, the model fails, or its logits are not finite. An image that cannot be
/// read is a problem, and so is one without any of the bones in `guide`: its masks are empty.
pub fn predict_specialist(
    predictor: &Predictor,
    dataset: &Dataset,
    entries: &[&ImageEntry],
    guide: Guide,
    known: &PatientMetadata,
    batch: usize,
    progress: &dyn Progress,
) -> Result<Prediction, InferError> {
    let frame = SampleFrame { size: predictor.info().size, specialist: predictor.info().specialist.clone() };
    let settings = frame.specialist.as_ref().ok_or(InferError::NoSpecialist)?;
    let mut prediction = Prediction { images: Vec::with_capacity(entries.len()), problems: Vec::new() };
    progress.start("images predicted", entries.len() as u64);
    for chunk in entries.chunks(batch.max(1)) {
        let read: Vec<Result<PartOfImage, Box<Problem>>> =
            chunk.par_iter().map(|entry| part_of(settings, frame.size, dataset, entry, guide)).collect();
        let parts: Vec<&PartOfImage> = read.iter().flatten().collect();
        let readable = chunk.iter().zip(&read).filter(|(_, read)| read.is_ok());
        let patients: Vec<[f32; 4]> = readable.map(|(entry, _)| known.patient(&entry.patient_id)).collect();
        let images: Vec<&FittedImage> = parts.iter().map(|part| &part.fitted).collect();
        let masks = if images.is_empty() { Vec::new() } else { predictor.masks(&images, &patients)? };
        let mut masks = parts.iter().zip(masks).map(|(part, masks)| part.part.masks_back(&masks));
        for (entry, read) in chunk.iter().zip(&read) {
            let image_name = entry.file_name().to_owned();
            let masks = match read {
                Ok(_) => masks.next().expect("one set of masks per image read"),
                Err(problem) => {
                    prediction.problems.push((**problem).clone());
                    let (width, height) = dataset.dimensions(entry).unwrap_or((1, 1));
                    HandMasks::empty(width, height)
                }
            };
            prediction.images.push(ImageMasks { image_name, masks });
        }
        progress.advance(chunk.len() as u64);
    }
    progress.finish();
    Ok(prediction)
}

fn part_of(
    settings: &SpecialistSettings,
    size: Size,
    dataset: &Dataset,
    entry: &ImageEntry,
    guide: Guide,
) -> Result<PartOfImage, Box<Problem>> {
    let fails = |reason: &str| Box::new(unreadable(entry, reason));
    let pixels = dataset.image(entry).map_err(|e| fails(&e.to_string()))?.pixels;
    let masks = guide.masks(dataset, entry, pixels.dimensions()).map_err(|reason| fails(&reason))?;
    let part = settings.part(&masks).ok_or_else(|| {
        let reason = format!("the masks to look around have none of the bones {}", settings.bones.join(", "));
        let problem = Problem::new(ProblemSeverity::Warning, &*entry.image, reason, "its masks are empty");
        Box::new(problem.of_image(&*entry.image_id).of_patient(&*entry.patient_id))
    })?;
    let fitted = FittedImage::new(part.image_in(pixels), size);
    Ok(PartOfImage { part, fitted })
}
