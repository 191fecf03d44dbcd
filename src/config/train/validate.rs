use std::path::Path;

use super::{ConfigError, TrainConfig};
use crate::models::Outline;
use crate::train::Sampling;

/// Most epochs, images of a batch and the like: beyond it a number is a slip.
const MOST: usize = 100_000;

impl TrainConfig {
    /// Whether there is a model of this size and input.
    pub(crate) fn check_model(&self, path: &Path) -> Result<(), ConfigError> {
        let wrong = |key: &str, found: String, expected: &str| {
            Err(ConfigError::Value { path: path.into(), key: key.into(), found, expected: expected.into() })
        };
        if self.size == 0 || !self.size.is_multiple_of(32) || self.size > 8192 {
            return wrong("size", self.size.to_string(), "a multiple of 32 up to 8192");
        }
        let channels = self.model.in_channels as usize;
        for (key, values) in [("input.mean", &self.input.mean), ("input.sd", &self.input.sd)] {
            if values.len() != 1 && values.len() != channels {
                return wrong(
                    key,
                    format!("{values:?}"),
                    &format!("one value, or one for each of {channels} input channels"),
                );
            }
        }
        if self.input.sd.iter().any(|sd| !sd.is_finite() || *sd <= 0.0) {
            return wrong("input.sd", format!("{:?}", self.input.sd), "above 0");
        }
        if self.input.mean.iter().any(|mean| !mean.is_finite() || mean.abs() > 1.0) {
            return wrong("input.mean", format!("{:?}", self.input.mean), "from -1 to 1: grey levels are 0 to 1 there");
        }

        if let Err(error) = self.model.validate() {
            return Err(ConfigError::Shape { path: path.into(), reason: error.to_string() });
        }
        let outline = Outline::of(&self.model);
        let outline = outline.map_err(|e| ConfigError::Shape { path: path.into(), reason: e.to_string() })?;
        let side = i64::from(self.size);
        if side % outline.stride != 0 || side < outline.least_side {
            let (least, stride) = (outline.least_side, outline.stride);
            let expected =
                format!("for {} a multiple of {stride} from {} up", self.model.describe(), least.max(stride));
            return wrong("size", side.to_string(), &expected);
        }
        if self.model.classes != crate::bones::COUNT as i64 {
            return wrong("model.classes", self.model.classes.to_string(), "29, the bones");
        }
        Ok(())
    }

    pub(super) fn validate(&self, path: &Path) -> Result<(), ConfigError> {
        let wrong = |key: &str, found: String, expected: &str| {
            Err(ConfigError::Value { path: path.into(), key: key.into(), found, expected: expected.into() })
        };
        self.check_model(path)?;
        for (key, value) in [
            ("epochs", self.epochs),
            ("batch", self.batch),
            ("accumulate", self.accumulate),
            ("keep-best", self.keep_best),
        ] {
            if value == 0 || value > MOST {
                return wrong(key, value.to_string(), &format!("from 1 to {MOST}"));
            }
        }
        if self.early_stop == Some(0) || self.save_every == Some(0) {
            let key = if self.early_stop == Some(0) { "early-stop" } else { "save-every" };
            return wrong(key, "0".into(), "1 or more, or no such line");
        }
        if let Some(clip) = self.clip.filter(|c| c.is_nan() || *c <= 0.0) {
            return wrong("clip", clip.to_string(), "above 0, or no such line");
        }
        if let Err(error) = self.loss.validate(self.model.classes) {
            return Err(ConfigError::Shape { path: path.into(), reason: format!("loss: {error}") });
        }
        let optimiser = &self.optimiser;
        for (key, value, above_zero) in [
            ("optimiser.lr", optimiser.lr, true),
            ("optimiser.eps", optimiser.eps, true),
            ("optimiser.weight-decay", optimiser.weight_decay, false),
            ("optimiser.encoder-lr-factor", optimiser.encoder_lr_factor, false),
            ("point-weight", self.point_weight.from, false),
            ("point-weight", self.point_weight.to, false),
        ] {
            if !value.is_finite() || value < 0.0 || (above_zero && value == 0.0) {
                return wrong(key, value.to_string(), if above_zero { "above 0" } else { "0 or more" });
            }
        }
        let betas = optimiser.betas.unwrap_or_default();
        for (key, value) in
            [("optimiser.betas", betas[0]), ("optimiser.betas", betas[1]), ("optimiser.momentum", optimiser.momentum)]
        {
            if !(0.0..1.0).contains(&value) {
                return wrong(key, value.to_string(), "from 0 to below 1");
            }
        }
        if self.auxiliary_weights.is_empty() {
            return wrong("auxiliary-weights", "[]".into(), "one for all auxiliary outputs, or one for each");
        }
        if let Some(weight) = self.auxiliary_weights.iter().find(|w| !w.is_finite() || **w < 0.0) {
            return wrong("auxiliary-weights", weight.to_string(), "0 or more");
        }
        if self.sampling == Some(Sampling::Weights {}) && self.data.sample_weights.is_none() {
            return wrong("sampling", "by weights".into(), "a file of weights in data.sample-weights");
        }
        for freeze in &self.freeze {
            if let Some(until) = freeze.until.filter(|until| *until <= freeze.from) {
                return wrong("freeze", format!("from {} until {until}", freeze.from), "an `until` after its `from`");
            }
            if let Err(reason) = freeze.what.prefixes(&self.model) {
                return Err(ConfigError::Shape { path: path.into(), reason: format!("freeze: {reason}") });
            }
        }
        if let Some(ema) = &self.ema {
            if !(0.0..1.0).contains(&ema.decay) {
                return wrong("ema.decay", ema.decay.to_string(), "from 0 to below 1");
            }
            if ema.warmup.is_nan() || ema.warmup < 1.0 {
                return wrong("ema.warmup", ema.warmup.to_string(), "1 (none) or more");
            }
        }
        if let Err((key, found, expected)) = self.augment.validate() {
            return wrong(&format!("augment.{key}"), found.to_string(), expected);
        }
        if let Err((key, found, expected)) = self.schedule.validate() {
            return wrong(&format!("schedule.{key}"), found.to_string(), expected);
        }
        Ok(())
    }
}
