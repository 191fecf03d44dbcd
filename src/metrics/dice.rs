use tch::{Kind, TchError, Tensor};

/// Why a metric cannot use a batch.
#[derive(Debug, thiserror::Error)]
pub enum MetricError {
    /// Prediction and target differ in shape.
    #[error(
        "prediction has shape {prediction:?} and target {target:?}; expected [batch, {classes}, height, width] for both"
    )]
    Shape {
        /// Shape of the prediction.
        prediction: Vec<i64>,
        /// Shape of the target.
        target: Vec<i64>,
        /// Number of classes of the metric.
        classes: i64,
    },
    /// libtorch reported an error.
    #[error(transparent)]
    Torch(#[from] TchError),
}

/// Dice coefficient per class, as the mean over images. The Dice of an image is 1 for a class that is absent from both
/// prediction and ground truth. All counts stay on the device until [`DiceMetric::compute`].
#[derive(Debug)]
pub struct DiceMetric {
    classes: i64,
    /// Sum of each class's Dice over the images, `[C]` in double precision, on the device of the first batch.
    sum: Option<Tensor>,
    images: i64,
}

/// Mean Dice over the images of all batches.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct DiceScore {
    /// Dice per class in channel order, 0 to 1.
    pub per_class: Vec<f64>,
    /// Mean over the classes.
    pub mean: f64,
    /// Number of images.
    pub images: usize,
}

impl DiceMetric {
    /// A metric for masks with this number of classes.
    pub fn new(classes: i64) -> Self {
        DiceMetric { classes, sum: None, images: 0 }
    }

    /// Adds a batch, `[B, C, H, W]` each. A floating-point `prediction` has logits and is positive above 0 (probability
    /// 0.5); a boolean or integer one has the values 0 and 1. `target` has the values 0 and 1 of any kind.
    ///
    /// # Errors
    /// The shapes differ from each other or from `[B, C, H, W]`, or libtorch reports an error.
    pub fn update(&mut self, prediction: &Tensor, target: &Tensor) -> Result<(), MetricError> {
        let (size, other) = (prediction.size(), target.size());
        if size.len() != 4 || size != other || size[1] != self.classes {
            return Err(MetricError::Shape { prediction: size, target: other, classes: self.classes });
        }
        tch::no_grad(|| {
            let predicted = prediction.f_gt(0)?;
            let truth = target.f_gt(0)?.f_to_device(predicted.device())?;
            let count = |bits: &Tensor| bits.f_sum_dim_intlist([2i64, 3].as_slice(), false, Kind::Int64);
            let both = count(&predicted.f_logical_and(&truth)?)?; // [B, C]
            let sizes = count(&predicted)?.f_add(&count(&truth)?)?;
            let empty = sizes.f_eq(0)?;
            let dice = both.f_to_kind(Kind::Double)?.f_mul_scalar(2.0)?.f_div(&sizes.f_to_kind(Kind::Double)?)?;
            let dice = dice.f_masked_fill(&empty, 1.0)?.f_sum_dim_intlist([0i64].as_slice(), false, Kind::Double)?;
            self.sum = Some(match self.sum.take() {
                Some(sum) => sum.f_add(&dice)?,
                None => dice,
            });
            self.images += size[0];
            Ok(())
        })
    }

    /// The score of all batches since the last reset; `None` before the first batch.
    ///
    /// # Errors
    /// libtorch reports an error.
    pub fn compute(&self) -> Result<Option<DiceScore>, MetricError> {
        let Some(sum) = &self.sum else { return Ok(None) };
        let per_class = Vec::<f64>::try_from(sum.f_div_scalar(self.images as f64)?.f_to_device(tch::Device::Cpu)?)?;
        let mean = per_class.iter().sum::<f64>() / per_class.len() as f64;
        Ok(Some(DiceScore { per_class, mean, images: self.images as usize }))
    }

    /// Forgets all batches.
    pub fn reset(&mut self) {
        self.sum = None;
        self.images = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Device;

    #[test]
    fn dice_by_hand() {
        let mut metric = DiceMetric::new(2);
        assert!(metric.compute().unwrap().is_none());
        // Class 0: two predicted, two true, one common: 2 * 1 / 4. Class 1: empty in both.
        let logits = Tensor::from_slice(&[1f32, 2.0, -1.0, -1.0, -1.0, -1.0, -1.0, -1.0]).view([1, 2, 2, 2]);
        let target = Tensor::from_slice(&[1i64, 0, 1, 0, 0, 0, 0, 0]).view([1, 2, 2, 2]);
        metric.update(&logits, &target).unwrap();
        assert_eq!(metric.compute().unwrap().unwrap(), DiceScore { per_class: vec![0.5, 1.0], mean: 0.75, images: 1 });
        // A second, perfect image as bits halves the distance to 1.
        metric.update(&target.gt(0), &target).unwrap();
        assert_eq!(metric.compute().unwrap().unwrap().per_class, [0.75, 1.0]);
        metric.reset();
        assert!(metric.compute().unwrap().is_none());
        let wrong = Tensor::zeros([1, 3, 2, 2], (Kind::Float, Device::Cpu));
        assert!(metric.update(&wrong, &wrong).is_err());
    }
}
