use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::TrainError;
use crate::aten;
use crate::violation::Violations;

/// Exponential moving average (EMA) of the weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct EmaSettings {
    /// Share of the average that is kept at each optimiser step, after the warm-up. From 0 to below 1; default 0.999.
    pub decay: f64,
    /// Warm-up in optimiser steps: the decay at step t is at most `(1 + t) / (warmup + t)`. 1 or more; 1: no warm-up;
    /// default 10.
    pub warmup: f64,
}

impl Default for EmaSettings {
    fn default() -> Self {
        EmaSettings { decay: 0.999, warmup: 10.0 }
    }
}

impl EmaSettings {
    /// The values that are out of range.
    pub fn violations(&self) -> Violations {
        let mut wrong = Violations::new();
        wrong.expect((0.0..1.0).contains(&self.decay), "decay", self.decay, "from 0 to below 1");
        wrong.expect(self.warmup.is_finite() && self.warmup >= 1.0, "warmup", self.warmup, "1 (no warm-up) or more");
        wrong
    }

    /// The decay at step `t`, from 1, as in TensorFlow's `ExponentialMovingAverage` with `num_updates`.
    pub fn decay_at(&self, t: u64) -> f64 {
        self.decay.min((1.0 + t as f64) / (self.warmup + t as f64))
    }
}

/// The exponential moving average of a model's state: weights and running statistics are averaged, counters
/// copied.
pub struct Ema {
    settings: EmaSettings,
    /// Upper limit of the decay.
    limit: f64,
    averages: Vec<(String, Tensor)>,
}

impl Ema {
    /// Averages that start at the values of `state`.
    pub fn new(settings: &EmaSettings, state: &[(String, Tensor)]) -> Ema {
        let averages = state.iter().map(|(name, tensor)| (name.clone(), tensor.detach().copy())).collect();
        Ema { settings: settings.clone(), limit: 1.0, averages }
    }

    /// Sets an upper limit of the decay for the next updates; `None`: no limit.
    pub fn limit_decay(&mut self, limit: Option<f64>) {
        self.limit = limit.unwrap_or(1.0);
    }

    /// Updates the averages with the state after optimiser step `t`, from 1.
    ///
    /// # Errors
    /// libtorch reports an error.
    pub fn update(&mut self, state: &[(String, Tensor)], t: u64) -> Result<(), TrainError> {
        let weight = 1.0 - self.settings.decay_at(t).min(self.limit);
        tch::no_grad(|| {
            let (mut averages, mut values) = (Vec::new(), Vec::new());
            for ((_, average), (_, tensor)) in self.averages.iter_mut().zip(state) {
                if tensor.is_floating_point() {
                    averages.push(average.shallow_clone());
                    values.push(tensor.shallow_clone());
                } else {
                    average.f_copy_(tensor)?;
                }
            }
            Ok(aten::lerp(&averages, &values, weight)?)
        })
    }

    /// Swaps the model's state and the averages; a second call restores both exactly.
    ///
    /// # Errors
    /// libtorch reports an error.
    pub fn swap(&mut self, state: &[(String, Tensor)]) -> Result<(), TrainError> {
        swap(&mut self.averages, state)
    }

    /// The averages by name, sharing storage.
    pub fn state(&self) -> Vec<(String, Tensor)> {
        self.averages.iter().map(|(name, tensor)| (name.clone(), tensor.shallow_clone())).collect()
    }

    /// Loads averages that [`Ema::state`] returned.
    ///
    /// # Errors
    /// A tensor is missing or has another shape.
    pub fn load_state(&mut self, state: &BTreeMap<String, Tensor>) -> Result<(), TrainError> {
        load(&mut self.averages, state)
    }
}

/// Swaps the values of the averages and of a model's state.
pub(super) fn swap(averages: &mut [(String, Tensor)], state: &[(String, Tensor)]) -> Result<(), TrainError> {
    tch::no_grad(|| {
        for ((_, average), (_, tensor)) in averages.iter_mut().zip(state) {
            let mut kept = tensor.f_empty_like()?;
            kept.f_copy_(tensor)?;
            tensor.shallow_clone().f_copy_(average)?;
            average.f_copy_(&kept)?;
        }
        Ok(())
    })
}

/// Copies saved values into the averages.
pub(super) fn load(averages: &mut [(String, Tensor)], state: &BTreeMap<String, Tensor>) -> Result<(), TrainError> {
    tch::no_grad(|| {
        for (name, average) in averages {
            let saved = state
                .get(name)
                .filter(|t| t.size() == average.size())
                .ok_or_else(|| TrainError::StateTensor { name: name.clone() })?;
            average.f_copy_(saved)?;
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn averages_by_hand_and_swaps_back() {
        let weight = Tensor::from_slice(&[0.0f32]);
        let count = Tensor::from_slice(&[0i64]);
        let state = vec![("w".to_owned(), weight.shallow_clone()), ("n".to_owned(), count.shallow_clone())];
        let settings = EmaSettings { decay: 0.5, warmup: 10.0 };
        assert_eq!((settings.decay_at(1), settings.decay_at(100)), (2.0 / 11.0, 0.5));
        let mut ema = Ema::new(&settings, &state);
        let _ = weight.shallow_clone().fill_(1.0);
        let _ = count.shallow_clone().fill_(7);
        ema.update(&state, 100).unwrap();
        assert_eq!(ema.state()[0].1.double_value(&[0]), 0.5);
        assert_eq!(ema.state()[1].1.int64_value(&[0]), 7);
        ema.limit_decay(Some(0.25));
        ema.update(&state, 101).unwrap();
        assert_eq!(ema.state()[0].1.double_value(&[0]), 0.875);
        ema.limit_decay(None);
        let _ = weight.shallow_clone().fill_(0.125);
        ema.update(&state, 102).unwrap();
        let _ = weight.shallow_clone().fill_(1.0);
        assert_eq!(ema.state()[0].1.double_value(&[0]), 0.5);
        ema.swap(&state).unwrap();
        assert_eq!(weight.double_value(&[0]), 0.5);
        ema.swap(&state).unwrap();
        assert_eq!((weight.double_value(&[0]), ema.state()[0].1.double_value(&[0])), (1.0, 0.5));
    }
}
