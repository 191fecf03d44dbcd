//! Prediction of an image in overlapping windows and in several views of each, streamed: rows that are complete become
//! sparse maps, and only as many rows as a window has are dense.

use serde_json::json;
use tch::{Device, Kind, Tensor};

use super::rows::{RowValues, RowWriter};
use super::strip::WindowStrip;
use super::view::{AugmentedView, WindowPlace};
use super::window::{WindowSettings, WindowWeights};
use super::{InferError, TestTimeAugmentation};
use crate::bones;
use crate::geometry::Size;
use crate::probability::ProbabilityMap;

/// What predicts windows: a model with its normalisation.
pub trait WindowModel {
    /// Probabilities `[B, 29, h, w]` of grey levels `[B, h, w]` from 0 to 255, on the device of the levels.
    ///
    /// # Errors
    /// The model or libtorch reports an error, or the result is not finite.
    fn probabilities(&self, levels: &Tensor) -> Result<Tensor, InferError>;

    /// The device on which windows are made and averaged.
    fn device(&self) -> Device;

    /// The sides of windows are multiples of this.
    fn stride(&self) -> u32;

    /// The least side of a window.
    fn least_side(&self) -> u32;
}

/// How images are predicted.
#[derive(Clone, Debug, PartialEq)]
pub struct InferOptions {
    /// Windows; `None`: the whole image at the size that the model was trained at.
    pub window: Option<WindowSettings>,
    /// Views of which the mean is taken.
    pub augmentation: TestTimeAugmentation,
    /// Windows, or views of windows, that are predicted together.
    pub batch: usize,
}

impl InferOptions {
    /// The options that change the result, as they are recorded with probabilities.
    pub fn to_json(&self) -> serde_json::Value {
        let window = self
            .window
            .map(|w| json!({"side": w.side, "overlap": w.overlap, "weights": w.weights.name(), "scale": w.scale}));
        json!({"window": window, "tta": self.augmentation.0.iter().map(ToString::to_string).collect::<Vec<_>>()})
    }
}

/// An image that is to be predicted in windows.
#[derive(Debug)]
pub struct ScaledImage {
    /// Grey levels `[H, W]` from 0 to 255. Columns right of the scaled image and rows below it are black.
    pub levels: Tensor,
    /// Size of the scaled image within the levels.
    pub scaled: Size,
    /// Size of the image itself, and of the maps.
    pub size: Size,
}

/// A rectangular window and its places.
pub(super) struct WindowGrid {
    pub size: Size,
    pub columns: Vec<u32>,
    pub rows: Vec<u32>,
    pub weights: WindowWeights,
}

impl WindowGrid {
    /// Windows over a scaled image.
    pub fn over(settings: &WindowSettings, scaled: Size) -> WindowGrid {
        WindowGrid {
            size: Size::square(settings.side),
            columns: settings.starts(scaled.width),
            rows: settings.starts(scaled.height),
            weights: settings.weights,
        }
    }

    /// One window that is the whole image.
    pub fn whole(size: Size) -> WindowGrid {
        WindowGrid { size, columns: vec![0], rows: vec![0], weights: WindowWeights::Constant }
    }
}

/// Probabilities of an image of any size in windows of `settings`: at each pixel the mean over the windows and views that
/// show it, weighted by the place in the window. Without views other than the first it is that of MONAI's
/// `sliding_window_inference` over the model's probabilities; an image smaller than a window is extended with black at its
/// right and lower side, where MONAI extends all sides.
///
/// In memory, besides one batch of windows: 29 times the rows of a window in full width, and the sparse maps.
///
/// # Errors
/// The model or libtorch reports an error, or probabilities are not finite.
pub fn window_probabilities(
    model: &dyn WindowModel,
    image: &ScaledImage,
    settings: &WindowSettings,
    options: &InferOptions,
) -> Result<Vec<ProbabilityMap>, InferError> {
    predicted(model, image, &WindowGrid::over(settings, image.scaled), options)
}

/// Rows that are copied out of the sums at a time.
const ROWS: i64 = 64;

/// As [`window_probabilities`], in any windows.
pub(super) fn predicted(
    model: &dyn WindowModel,
    image: &ScaledImage,
    windows: &WindowGrid,
    options: &InferOptions,
) -> Result<Vec<ProbabilityMap>, InferError> {
    tch::no_grad(|| {
        let [height, width] = [image.levels.size()[0], image.levels.size()[1]];
        let missing = |window: u32, side: i64| (i64::from(window) - side).max(0);
        let (right, below) = (missing(windows.size.width, width), missing(windows.size.height, height));
        let mut levels = image.levels.f_to_device(model.device())?;
        if right + below > 0 {
            levels = levels.f_constant_pad_nd([0, right, 0, below])?;
        }
        let views = options.augmentation.views();
        let [rows, columns] = [windows.size.height, width as u32 + right as u32].map(i64::from);
        let weights = Tensor::f_from_slice(&windows.weights.of(windows.size))?
            .f_view([rows, i64::from(windows.size.width)])?
            .f_to_device(model.device())?;
        let job = Job { model, levels, views, weights, size: windows.size, batch: options.batch.max(1) };
        let mut strip = WindowStrip::new(bones::COUNT as i64, rows, columns, model.device())?;
        let mut writer = RowWriter::new(bones::COUNT, image.scaled, image.size, RowValues::Probabilities);
        for (i, y) in windows.rows.iter().enumerate() {
            job.predict_row(&mut strip, *y, &windows.columns)?;
            // The rows above the next windows are complete.
            let next = windows.rows.get(i + 1).map(|next| i64::from(next - y));
            let complete = next.unwrap_or(rows);
            let mut from = 0;
            while from < complete {
                let done = strip.means(from, ROWS.min(complete - from))?;
                writer.push(&done.values, done.rows, columns as usize);
                from += ROWS;
            }
            if let Some(next) = next {
                strip.advance(next)?;
            }
        }
        Ok(writer.finish())
    })
}

/// What all windows of an image have in common.
struct Job<'a> {
    model: &'a dyn WindowModel,
    levels: Tensor,
    views: Vec<AugmentedView>,
    weights: Tensor,
    size: Size,
    batch: usize,
}

impl Job<'_> {
    /// Predicts the windows of one row of windows and adds them to the strip.
    fn predict_row(&self, strip: &mut WindowStrip, y: u32, columns: &[u32]) -> Result<(), InferError> {
        let mut pending: Vec<(AugmentedView, u32)> =
            self.views.iter().flat_map(|view| columns.iter().map(|x| (*view, *x))).collect();
        // Views of one size are predicted together.
        let to = |view: &AugmentedView| view.size(self.size, self.model.stride(), self.model.least_side());
        pending.sort_by_key(|(view, _)| (to(view).width, to(view).height));
        for same in pending.chunk_by(|a, b| to(&a.0) == to(&b.0)) {
            for batch in same.chunks(self.batch) {
                self.predict_batch(strip, y, batch)?;
            }
        }
        Ok(())
    }

    fn predict_batch(&self, strip: &mut WindowStrip, y: u32, batch: &[(AugmentedView, u32)]) -> Result<(), InferError> {
        let to = batch[0].0.size(self.size, self.model.stride(), self.model.least_side());
        let levels = batch
            .iter()
            .map(|(view, x)| view.levels(&self.levels, WindowPlace { x: *x, y, size: self.size }, to))
            .collect::<Result<Vec<_>, _>>()?;
        let predictions = self.model.probabilities(&Tensor::f_stack(&levels, 0)?)?.f_to_kind(Kind::Float)?;
        for (i, (view, x)) in (0..).zip(batch) {
            let undone = view.undo(predictions.f_narrow(0, i, 1)?, self.size)?;
            let probabilities = undone.probabilities.f_squeeze_dim(0)?;
            match undone.shown {
                None => strip.add(i64::from(*x), &probabilities, &self.weights)?,
                Some(shown) => strip.add(i64::from(*x), &probabilities, &self.weights.f_mul(&shown)?)?,
            }
        }
        Ok(())
    }
}
