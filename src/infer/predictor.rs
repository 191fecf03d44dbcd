use std::path::Path;

use rayon::prelude::*;
use tch::{Device, Tensor};

use super::InferError;
use crate::augment::FittedImage;
use crate::mask::HandMasks;
use crate::models::{Input, Model, all_finite};
use crate::train::{InputImage, RunFolder, TrainedModel, WeightsInfo, read_weights};

/// Test-time augmentation: the predictions of several versions of each image are averaged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TestTimeAugmentation {
    /// The image only.
    #[default]
    None,
    /// The image and its left-right mirror image: the mean of both probabilities.
    Flip,
}

/// A trained model that is ready to predict.
pub struct Predictor {
    model: Model,
    info: WeightsInfo,
    augmentation: TestTimeAugmentation,
}

impl Predictor {
    /// The model of a file of weights that a run wrote, or of the folder of a run ([`RunFolder::weights_at`]).
    ///
    /// # Errors
    /// [`InferError::Weights`]: the file cannot be read, or does not belong to a trained model.
    pub fn open(path: &Path, device: Device, augmentation: TestTimeAugmentation) -> Result<Predictor, InferError> {
        let TrainedModel { model, info } = read_weights(&RunFolder::weights_at(path)?, device)?;
        Ok(Predictor { model, info, augmentation })
    }

    /// The header of the file of weights.
    pub fn info(&self) -> &WeightsInfo {
        &self.info
    }

    /// Logits `[B, 29, H, W]` on the CPU of images at the model's size.
    /// `patients` are the metadata of each image's patient, see [`crate::train::PatientMetadata`]; only a model that is
    /// conditioned on the patient uses them.
    ///
    /// # Errors
    /// The model or libtorch reports an error, or the logits are not finite.
    pub fn logits(&self, images: &[&FittedImage], patients: &[[f32; 4]]) -> Result<Tensor, InferError> {
        let channels = self.info.model.in_channels as usize;
        let mut pixels = Vec::with_capacity(images.len() * channels * self.info.size.pixels());
        for image in images {
            let InputImage { levels, normalisation } = self.info.input.prepare(image);
            normalisation.push(&mut pixels, &levels, channels);
        }
        let [height, width] = self.info.size.shape();
        let x = Tensor::f_from_slice(&pixels)?.f_view([images.len() as i64, channels as i64, height, width])?;
        let x = x.f_to_device(self.model.device())?;
        let known = match self.info.model.metadata {
            Some(_) => Some(Tensor::f_from_slice(patients.as_flattened())?.f_view([patients.len() as i64, 4])?),
            None => None,
        };
        let logits = tch::no_grad(|| -> Result<Tensor, InferError> {
            let logits = self.model.predict(&Input { images: &x, metadata: known.as_ref() })?;
            if self.augmentation == TestTimeAugmentation::None {
                return Ok(logits.f_to_device(Device::Cpu)?);
            }
            let mirrored =
                self.model.predict(&Input { images: &x.f_flip([3])?, metadata: known.as_ref() })?.f_flip([3])?;
            let mean = logits.f_sigmoid()?.f_add(&mirrored.f_sigmoid()?)?.f_mul_scalar(0.5)?;
            // As logits again, so that upsampling and threshold are those of a prediction without augmentation.
            Ok(mean.f_logit(1e-7)?.f_to_device(Device::Cpu)?)
        })?;
        if !all_finite(&logits)? {
            return Err(InferError::LogitsNotFinite);
        }
        Ok(logits)
    }

    /// Masks of images at their original size; for `patients` see [`Predictor::logits`].
    ///
    /// # Errors
    /// Those of [`Predictor::logits`].
    pub fn masks(&self, images: &[&FittedImage], patients: &[[f32; 4]]) -> Result<Vec<HandMasks>, InferError> {
        let logits = self.logits(images, patients)?.f_contiguous()?;
        let values = Vec::<f32>::try_from(logits.f_view([-1])?)?;
        let each = values.len() / images.len().max(1);
        let planes = images.par_iter().zip(values.par_chunks_exact(each));
        Ok(planes.map(|(image, logits)| image.fit().masks(logits)).collect())
    }
}
