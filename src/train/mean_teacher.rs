//! Mean teacher. A. Tarvainen, H. Valpola, Mean teachers are better role models: weight-averaged consistency targets
//! improve semi-supervised deep learning results, NIPS 2017.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Reduction, TchError, Tensor};

use super::config::MOST;
use crate::violation::Violations;

/// Training with unlabelled images: the trained model (student) is also trained to predict for them what the averaged
/// weights (teacher) predict.
///
/// Student and teacher see an unlabelled image with the same geometric augmentation, so that their pixels correspond;
/// steps that change grey levels are drawn for each of them. The teacher is in evaluation mode and gets no gradients.
/// The student's pass is a batch of its own, whose statistics its batch norms also use.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct MeanTeacherSettings {
    /// Weight of the consistency loss (the mean squared difference of the probabilities) after the ramp-up. Above 0;
    /// default 1.
    pub weight: f64,
    /// Epochs of the stage over which the weight rises: after a share t of them it is `exp(-5 (1 - t)^2)` times `weight`.
    /// 0 or more; 0: no ramp-up; default 5.
    pub ramp_up: f64,
    /// Folder of the unlabelled images; annotations in it are not read. Absent: the test images of `data.root`. Images of
    /// the validation set are left out.
    #[schemars(example = &"unlabelled")]
    pub unlabelled: Option<PathBuf>,
    /// Unlabelled images for each batch of labelled ones. 1 or more; default 4.
    pub batch: usize,
    /// Decay of the averaged weights during the ramp-up, if it is below that of `ema.decay`, which holds after it. From 0
    /// to below 1; absent: `ema.decay`.
    #[schemars(example = 0.99)]
    pub decay: Option<f64>,
}

impl Default for MeanTeacherSettings {
    fn default() -> Self {
        MeanTeacherSettings { weight: 1.0, ramp_up: 5.0, unlabelled: None, batch: 4, decay: None }
    }
}

impl MeanTeacherSettings {
    /// The values that are out of range.
    pub fn violations(&self) -> Violations {
        let mut wrong = Violations::new();
        let MeanTeacherSettings { weight, ramp_up, batch, .. } = *self;
        wrong.expect(weight.is_finite() && weight > 0.0, "weight", weight, "above 0");
        wrong.expect(ramp_up.is_finite() && ramp_up >= 0.0, "ramp-up", ramp_up, "0 epochs (no ramp-up) or more");
        wrong.expect((1..=MOST).contains(&batch), "batch", batch, format!("from 1 to {MOST}"));
        if let Some(decay) = self.decay {
            wrong.expect((0.0..1.0).contains(&decay), "decay", decay, "from 0 to below 1");
        }
        wrong
    }

    /// The weight of the consistency loss after this many epochs of the stage, which need not be whole.
    pub fn weight_at(&self, epochs: f64) -> f64 {
        self.weight * sigmoid_ramp_up(epochs, self.ramp_up)
    }

    /// The upper limit of the decay of the averaged weights after this many epochs of the stage; `None`: no limit.
    pub fn decay_at(&self, epochs: f64) -> Option<f64> {
        self.decay.filter(|_| epochs < self.ramp_up)
    }
}

/// The ramp-up of S. Laine, T. Aila, Temporal ensembling for semi-supervised learning, ICLR 2017: `exp(-5 (1 - t)^2)`
/// with `t = epochs / length` limited to 0 to 1; 1 if the length is 0.
pub fn sigmoid_ramp_up(epochs: f64, length: f64) -> f64 {
    if length == 0.0 {
        return 1.0;
    }
    let left = 1.0 - (epochs / length).clamp(0.0, 1.0);
    (-5.0 * left * left).exp()
}

/// The mean squared difference of the student's probabilities, the sigmoid of `logits`, and the teacher's
/// `probabilities`, over images, classes and pixels: a scalar. Both are `[B, C, H, W]`. No gradient goes to the teacher.
///
/// # Errors
/// libtorch reports an error: the shapes differ.
pub fn consistency_loss(logits: &Tensor, probabilities: &Tensor) -> Result<Tensor, TchError> {
    logits.f_sigmoid()?.f_mse_loss(&probabilities.f_detach()?, Reduction::Mean)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_weight_rises_and_the_decay_changes_after_the_ramp_up() {
        let settings =
            MeanTeacherSettings { weight: 2.0, ramp_up: 4.0, decay: Some(0.9), ..MeanTeacherSettings::default() };
        for (epochs, wanted) in [(0.0, (-5.0f64).exp()), (2.0, (-1.25f64).exp()), (4.0, 1.0), (9.0, 1.0)] {
            assert_eq!(settings.weight_at(epochs), 2.0 * wanted, "{epochs}");
        }
        assert_eq!([0.0, 3.9, 4.0].map(|epochs| settings.decay_at(epochs)), [Some(0.9), Some(0.9), None]);
        let at_once = MeanTeacherSettings { ramp_up: 0.0, ..settings };
        assert_eq!((at_once.weight_at(0.0), at_once.decay_at(0.0)), (2.0, None));
        let wrong = MeanTeacherSettings { weight: 0.0, ramp_up: -1.0, batch: 0, decay: Some(1.0), unlabelled: None };
        let keys: Vec<String> = wrong.violations().iter().map(|v| v.key.clone()).collect();
        assert_eq!(keys, ["weight", "ramp-up", "batch", "decay"]);
    }

    #[test]
    fn the_consistency_loss_by_hand() {
        let student = Tensor::from_slice(&[0f32, 0.0]).set_requires_grad(true);
        let teacher = Tensor::from_slice(&[0f32, 2.0]).set_requires_grad(true);
        let loss = consistency_loss(&student, &teacher.sigmoid()).unwrap();
        loss.backward();
        let apart = 1.0 / (1.0 + (-2.0f64).exp()) - 0.5;
        assert!((loss.double_value(&[]) - apart * apart / 2.0).abs() < 1e-7);
        assert!((student.grad().double_value(&[1]) + apart * 0.25).abs() < 1e-7);
        assert!(!teacher.grad().defined());
    }
}
