use std::path::Path;

use image::GrayImage;
use rayon::prelude::*;
use tch::{Device, Kind, Tensor};

use super::windows::{InferOptions, ScaledImage, WindowGrid, WindowModel, predicted};
use super::{InferError, MAX_SIDE, window_probabilities};
use crate::augment::{SquareFit, push_normalised};
use crate::geometry::Size;
use crate::mask::HandMasks;
use crate::models::{Input, Model, all_finite};
use crate::probability::ProbabilityMap;
use crate::train::{RunFolder, TrainedModel, WeightsInfo, read_weights};

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
        let model = PatientModel { predictor: self, patient: [0.0; 4] };
        WindowSides { stride: model.stride(), least: model.least_side() }
    }

    /// Logits `[B, 29, S, S]` on the CPU of square images, `S * S` grey levels each, that [`SquareFit::image`] made.
    /// `patients` are the metadata of each image's patient, see [`crate::train::PatientMetadata`]; only a model that is
    /// conditioned on the patient uses them.
    ///
    /// # Errors
    /// The model or libtorch reports an error, or the logits are not finite.
    pub fn logits(&self, squares: &[Vec<u8>], patients: &[[f32; 4]]) -> Result<Tensor, InferError> {
        let channels = self.info.model.in_channels as usize;
        let mut pixels = Vec::with_capacity(squares.len() * channels * squares.first().map_or(0, Vec::len));
        for square in squares {
            let grey: Vec<f32> = square.iter().map(|v| f32::from(*v)).collect();
            push_normalised(&mut pixels, &grey, &self.info.input.mean, &self.info.input.sd, channels);
        }
        let side = i64::from(self.info.size);
        let x = Tensor::f_from_slice(&pixels)?.f_view([squares.len() as i64, channels as i64, side, side])?;
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

    /// Masks of images at their original size. `squares` are the square images that each of `fits` made; for `patients`
    /// see [`Predictor::logits`].
    ///
    /// # Errors
    /// Those of [`Predictor::logits`].
    pub fn masks(
        &self,
        fits: &[SquareFit],
        squares: &[Vec<u8>],
        patients: &[[f32; 4]],
    ) -> Result<Vec<HandMasks>, InferError> {
        let logits = self.logits(squares, patients)?.f_contiguous()?;
        let values = Vec::<f32>::try_from(logits.f_view([-1])?)?;
        let each = values.len() / squares.len().max(1);
        Ok(fits.par_iter().zip(values.par_chunks_exact(each)).map(|(fit, logits)| fit.masks(logits)).collect())
    }

    /// The probabilities of an image at its own size: one map per class. For `patient` see [`Predictor::logits`].
    ///
    /// # Errors
    /// The model or libtorch reports an error, or the logits are not finite.
    pub fn probabilities(
        &self,
        image: &GrayImage,
        patient: [f32; 4],
        options: &InferOptions,
    ) -> Result<Vec<ProbabilityMap>, InferError> {
        let model = PatientModel { predictor: self, patient };
        let (width, height) = image.dimensions();
        let longer = width.max(height);
        match &options.window {
            None => {
                let scaled = ScaledImage::fitted(image, self.info.size, Extent::Square)?;
                predicted(&model, &scaled, &WindowGrid::whole(Size::square(self.info.size)), options)
            }
            Some(window) => {
                let side = (f64::from(longer) * window.scale).round().max(1.0) as u32;
                if side > MAX_SIDE {
                    return Err(InferError::Scaled { side, scale: window.scale });
                }
                window_probabilities(&model, &ScaledImage::fitted(image, side, Extent::Image)?, window, options)
            }
        }
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

/// What of the square of a [`SquareFit`] is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Extent {
    /// All of it, with the black part.
    Square,
    /// The image.
    Image,
}

impl ScaledImage {
    /// An image scaled so that its longer side has `longer` px.
    fn fitted(image: &GrayImage, longer: u32, extent: Extent) -> Result<ScaledImage, InferError> {
        let (width, height) = image.dimensions();
        let fit = SquareFit::new(width, height, longer);
        let square = Tensor::f_from_slice(&fit.image(image))?.f_view([i64::from(longer), i64::from(longer)])?;
        let scaled = Size { width: fit.inner_width, height: fit.inner_height };
        let levels = match extent {
            Extent::Square => square,
            Extent::Image => {
                square.f_narrow(0, 0, scaled.height.into())?.f_narrow(1, 0, scaled.width.into())?.f_contiguous()?
            }
        };
        Ok(ScaledImage { levels: levels.f_to_kind(Kind::Float)?, scaled, size: Size { width, height } })
    }
}

/// A predictor with the metadata of an image's patient.
struct PatientModel<'a> {
    predictor: &'a Predictor,
    patient: [f32; 4],
}

impl WindowModel for PatientModel<'_> {
    fn probabilities(&self, levels: &Tensor) -> Result<Tensor, InferError> {
        let info = &self.predictor.info;
        let channels = 0..info.model.in_channels as usize;
        let of = |values: &[f64], channel: usize| values[channel % values.len()];
        let normalised = |channel: usize| {
            let (mean, sd) = (of(&info.input.mean, channel), of(&info.input.sd, channel));
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
