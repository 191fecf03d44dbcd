use tch::{Kind, TchError, Tensor};

/// Why a metric could not take a batch.
#[derive(Debug, thiserror::Error)]
pub enum MetricError {
    /// Prediction and target differ in shape.
    #[error("prediction {prediction:?} and target {target:?} must be [batch, {classes}, height, width]")]
    Shape {
        /// Shape of the prediction.
        prediction: Vec<i64>,
        /// Shape of the target.
        target: Vec<i64>,
        /// Classes of the metric.
        classes: i64,
    },
    /// libtorch refused.
    #[error(transparent)]
    Torch(#[from] TchError),
}

/// Dice coefficient of each class, the mean over images; 1 where an image has the class neither in prediction nor
/// in truth. All counting stays on the device until [`DiceMetric::compute`].
#[derive(Debug)]
pub struct DiceMetric {
    classes: i64,
    /// Sum over images of each class's Dice, `[C]` in double precision; made by the first batch, on its device.
    sum: Option<Tensor>,
    images: i64,
}

/// Dice over the images seen.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct DiceScore {
    /// By class, in channel order.
    pub per_class: Vec<f64>,
    /// Mean over the classes.
    pub mean: f64,
    /// Images seen.
    pub images: usize,
}

impl DiceMetric {
    /// For masks of this many classes.
    pub fn new(classes: i64) -> Self {
        DiceMetric { classes, sum: None, images: 0 }
    }

    /// Takes in a batch, `[B, C, H, W]` each. A floating `prediction` holds logits and is positive above 0
    /// (probability 0.5); a boolean or integer one holds bits. `target` is {0,1} of any kind.
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

    /// The score of what was seen since the last reset; `None` before the first image.
    pub fn compute(&self) -> Result<Option<DiceScore>, MetricError> {
        let Some(sum) = &self.sum else { return Ok(None) };
        let per_class = Vec::<f64>::try_from(sum.f_div_scalar(self.images as f64)?.f_to_device(tch::Device::Cpu)?)?;
        let mean = per_class.iter().sum::<f64>() / per_class.len() as f64;
        Ok(Some(DiceScore { per_class, mean, images: self.images as usize }))
    }

    /// Forgets all.
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
        // A perfect image as bits halves the distance.
        metric.update(&target.gt(0), &target).unwrap();
        assert_eq!(metric.compute().unwrap().unwrap().per_class, [0.75, 1.0]);
        metric.reset();
        assert!(metric.compute().unwrap().is_none());
        let wrong = Tensor::zeros([1, 3, 2, 2], (Kind::Float, Device::Cpu));
        assert!(metric.update(&wrong, &wrong).is_err());
    }
}
