use std::path::Path;

use rayon::prelude::*;
use tch::{Device, Tensor};

use super::rows::{RowValues, RowWriter};
use super::windows::{InferOptions, ScaledImage, WindowGrid, WindowModel, predicted};
use super::{InferError, MAX_SIDE, window_probabilities};
use crate::augment::{FittedImage, Normalisation};
use crate::bones;
use crate::dataset::GreyImage;
use crate::geometry::Size;
use crate::mask::HandMasks;
use crate::models::{Input, Model, all_finite};
use crate::probability::ProbabilityMap;
use crate::train::{InputImage, RunFolder, TrainedModel, WeightsInfo, read_weights};

/// A trained model that is ready to predict.
pub struct Predictor {
    model: Model,
    info: WeightsInfo,
}

impl Predictor {
    /// The model of a file of weights that a run wrote, or of the folder of a run ([`RunFolder::weights_at`]).
    ///
    /// # Errors
    /// [`InferError::Weights`]: the file cannot be read, or does not belong to a trained model.
    pub fn open(path: &Path, device: Device) -> Result<Predictor, InferError> {
        let TrainedModel { model, info } = read_weights(&RunFolder::weights_at(path)?, device)?;
        Ok(Predictor { model, info })
    }

    /// The header of the file of weights.
    pub fn info(&self) -> &WeightsInfo {
        &self.info
    }

    /// Multiples in px of which a window's side is one, and the least side.
    pub fn window_sides(&self) -> WindowSides {
        WindowSides { stride: self.model.stride() as u32, least: self.model.least_side() as u32 }
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
        Ok(self.run(&x.f_to_device(self.model.device())?, patients)?.f_to_device(Device::Cpu)?)
    }

    /// Logits of normalised images `[B, C, H, W]`.
    fn run(&self, images: &Tensor, patients: &[[f32; 4]]) -> Result<Tensor, InferError> {
        let known = match self.info.model.metadata {
            Some(_) => Some(Tensor::f_from_slice(patients.as_flattened())?.f_view([patients.len() as i64, 4])?),
            None => None,
        };
        let logits = tch::no_grad(|| self.model.predict(&Input { images, metadata: known.as_ref() }))?;
        if all_finite(&logits)? { Ok(logits) } else { Err(InferError::LogitsNotFinite) }
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

    /// The probabilities of an image at its own size: one map per class. For `patient` see [`Predictor::logits`].
    ///
    /// # Errors
    /// The model or libtorch reports an error, or the logits are not finite.
    pub fn probabilities(
        &self,
        image: GreyImage,
        patient: [f32; 4],
        options: &InferOptions,
    ) -> Result<Vec<ProbabilityMap>, InferError> {
        let (width, height) = image.dimensions();
        let Some(window) = &options.window else {
            if options.augmentation.0.is_empty() {
                return self.whole(image, patient);
            }
            let (model, scaled) = self.prepared(image, self.info.size, Extent::Letterbox, patient)?;
            return predicted(&model, &scaled, &WindowGrid::whole(self.info.size), options);
        };
        let side = (f64::from(width.max(height)) * window.scale).round().max(1.0) as u32;
        if side > MAX_SIDE {
            return Err(InferError::Scaled { side, scale: window.scale });
        }
        let (model, scaled) = self.prepared(image, Size::square(side), Extent::Image, patient)?;
        window_probabilities(&model, &scaled, window, options)
    }

    /// The probabilities of the whole image in one view: those of the logits that [`Predictor::masks`] enlarges.
    fn whole(&self, image: GreyImage, patient: [f32; 4]) -> Result<Vec<ProbabilityMap>, InferError> {
        let (width, height) = image.dimensions();
        let fitted = FittedImage::new(image, self.info.size);
        let logits = self.logits(&[&fitted], &[patient])?.f_contiguous()?;
        let values = Vec::<f32>::try_from(logits.f_view([-1])?)?;
        let scaled = Size { width: fitted.fit().inner_width, height: fitted.fit().inner_height };
        let mut writer = RowWriter::new(bones::COUNT, scaled, Size { width, height }, RowValues::Logits);
        writer.push(&values, self.info.size.height as usize, self.info.size.width as usize);
        Ok(writer.finish())
    }

    /// The image fitted into `size`, and the model with the normalisation of this image.
    fn prepared(
        &self,
        image: GreyImage,
        size: Size,
        extent: Extent,
        patient: [f32; 4],
    ) -> Result<(PatientModel<'_>, ScaledImage), InferError> {
        let (width, height) = image.dimensions();
        let fitted = FittedImage::new(image, size);
        let InputImage { levels, normalisation } = self.info.input.prepare(&fitted);
        let scaled = Size { width: fitted.fit().inner_width, height: fitted.fit().inner_height };
        let mut levels = Tensor::f_from_slice(&levels)?.f_view(size.shape())?;
        if extent == Extent::Image {
            levels =
                levels.f_narrow(0, 0, scaled.height.into())?.f_narrow(1, 0, scaled.width.into())?.f_contiguous()?;
        }
        let model = PatientModel { predictor: self, patient, normalisation };
        Ok((model, ScaledImage { levels, scaled, size: Size { width, height } }))
    }
}

/// What a model requires of the sides of windows, in px.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowSides {
    /// They are multiples of this.
    pub stride: u32,
    /// The least side.
    pub least: u32,
}

/// What of a fitted image is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Extent {
    /// All of it, with the black part.
    Letterbox,
    /// The image.
    Image,
}

/// A predictor with the normalisation of an image and the metadata of its patient.
struct PatientModel<'a> {
    predictor: &'a Predictor,
    patient: [f32; 4],
    normalisation: Normalisation,
}

impl WindowModel for PatientModel<'_> {
    fn probabilities(&self, levels: &Tensor) -> Result<Tensor, InferError> {
        let channels = 0..self.predictor.info.model.in_channels as usize;
        let of = |values: &[f64], channel: usize| values[channel % values.len()];
        let normalised = |channel: usize| {
            let (mean, sd) = (of(&self.normalisation.mean, channel), of(&self.normalisation.sd, channel));
            levels.f_mul_scalar(1.0 / (255.0 * sd)).and_then(|levels| levels.f_add_scalar(-mean / sd))
        };
        let channels = channels.map(normalised).collect::<Result<Vec<_>, _>>()?;
        let patients = vec![self.patient; levels.size()[0] as usize];
        Ok(self.predictor.run(&Tensor::f_stack(&channels, 1)?, &patients)?.f_sigmoid_()?)
    }

    fn device(&self) -> Device {
        self.predictor.model.device()
    }

    fn stride(&self) -> u32 {
        self.predictor.model.stride() as u32
    }

    fn least_side(&self) -> u32 {
        self.predictor.model.least_side() as u32
    }
}
