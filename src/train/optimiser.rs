use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Kind, TchError, Tensor};

use super::TrainError;
use crate::aten;
use crate::closed_enum::closed_enum;
use crate::violation::Violations;

closed_enum! {
    /// The kind of optimiser.
    pub enum OptimiserKind ("optimiser") {
        /// Adam with decoupled weight decay (Loshchilov and Hutter 2019), `torch.optim.AdamW(fused=True)`.
        AdamW = "adamw",
        /// Gradient descent with momentum (decay added to the gradient), `torch.optim.SGD(fused=True)`.
        Sgd = "sgd",
        /// Adam with a rectified variance in the first steps (Liu et al. 2020),
        /// `torch.optim.RAdam(decoupled_weight_decay=True)`.
        RAdam = "radam",
        /// Steps by the sign of a momentum, with decoupled weight decay (Chen et al. 2023, "Symbolic Discovery of
        /// Optimization Algorithms", algorithm 2).
        Lion = "lion",
    }
}

/// The optimiser.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct OptimiserSettings {
    /// `adamw`, `sgd`, `radam` or `lion`. Default `adamw`.
    pub kind: OptimiserKind,
    /// Learning rate, which the schedule multiplies. Above 0; default 0.001.
    pub lr: f64,
    /// Weight decay. 0 or more; default 0.01. Each step decays the weights by this times the learning rate; `sgd` adds
    /// the decay to the gradient.
    pub weight_decay: f64,
    /// Factor on the learning rate for the encoder's weights. 0 or more; default 1.
    pub encoder_lr_factor: f64,
    /// Whether weight decay also applies to the weights of norms and to all biases. Default false.
    pub decay_norms_and_biases: bool,
    /// For `adamw` and `radam` the decay of the two moments, for `lion` the share of the momentum in a step and the
    /// decay of the momentum. Each from 0 to below 1; absent: `[0.9, 0.999]`, for `lion` `[0.9, 0.99]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = [0.9, 0.999])]
    pub betas: Option<[f64; 2]>,
    /// For `adamw` and `radam`: added to the square root of the second moment. Above 0; default 1e-8.
    pub eps: f64,
    /// For `sgd`: momentum. From 0 to below 1; default 0.9.
    pub momentum: f64,
    /// For `sgd`: whether to use Nesterov's momentum. Default true.
    pub nesterov: bool,
}

impl Default for OptimiserSettings {
    fn default() -> Self {
        OptimiserSettings {
            kind: OptimiserKind::AdamW,
            lr: 1e-3,
            weight_decay: 1e-2,
            encoder_lr_factor: 1.0,
            decay_norms_and_biases: false,
            betas: None,
            eps: 1e-8,
            momentum: 0.9,
            nesterov: true,
        }
    }
}

impl OptimiserSettings {
    /// The values that are out of range.
    pub fn violations(&self) -> Violations {
        let mut wrong = Violations::new();
        for (key, value) in [("lr", self.lr), ("eps", self.eps)] {
            wrong.expect(value.is_finite() && value > 0.0, key, value, "above 0");
        }
        for (key, value) in [("weight-decay", self.weight_decay), ("encoder-lr-factor", self.encoder_lr_factor)] {
            wrong.expect(value.is_finite() && value >= 0.0, key, value, "0 or more");
        }
        let betas = self.betas.unwrap_or_default();
        for (key, value) in [("betas", betas[0]), ("betas", betas[1]), ("momentum", self.momentum)] {
            wrong.expect((0.0..1.0).contains(&value), key, value, "from 0 to below 1");
        }
        wrong
    }

    fn betas(&self) -> [f64; 2] {
        self.betas.unwrap_or(match self.kind {
            OptimiserKind::Lion => [0.9, 0.99],
            OptimiserKind::AdamW | OptimiserKind::RAdam | OptimiserKind::Sgd => [0.9, 0.999],
        })
    }
}

/// A weight with its moments.
struct Slot {
    name: String,
    weight: Tensor,
    lr_factor: f64,
    decay: f64,
    /// Number of steps in which it was updated.
    steps: i64,
    first: Tensor,
    second: Option<Tensor>,
    /// `steps` as the fused kernel counts it: a single-precision scalar on the weight's device.
    count: Option<Tensor>,
}

/// Whether the weight called `name` belongs to the encoder, or to the backbone of a whole network.
fn is_encoder(name: &str) -> bool {
    name.starts_with("encoder.") || name.starts_with("backbone.")
}

/// Updates weights by their gradients. Unlike libtorch's own optimisers, its whole state can be saved and loaded.
pub struct Optimiser {
    settings: OptimiserSettings,
    slots: Vec<Slot>,
}

impl Optimiser {
    /// An optimiser for the weights of a model by name. Weights whose names start with `encoder.` or `backbone.` have
    /// the encoder's learning rate; tensors of one dimension are weights of norms, or biases.
    ///
    /// # Errors
    /// libtorch reports an error.
    pub fn new(settings: &OptimiserSettings, weights: Vec<(String, Tensor)>) -> Result<Optimiser, TrainError> {
        let slots = weights.into_iter().map(|(name, weight)| {
            let decays = settings.decay_norms_and_biases || weight.dim() > 1;
            let zeros = || weight.f_detach()?.f_zeros_like();
            let second = matches!(settings.kind, OptimiserKind::AdamW | OptimiserKind::RAdam);
            let counts = settings.kind == OptimiserKind::AdamW;
            Ok(Slot {
                lr_factor: if is_encoder(&name) { settings.encoder_lr_factor } else { 1.0 },
                decay: if decays { settings.weight_decay } else { 0.0 },
                steps: 0,
                first: zeros()?,
                second: second.then(zeros).transpose()?,
                count: counts.then(|| Tensor::f_zeros([], (Kind::Float, weight.device()))).transpose()?,
                name,
                weight,
            })
        });
        let slots = slots.collect::<Result<Vec<Slot>, TchError>>()?;
        Ok(Optimiser { settings: settings.clone(), slots })
    }

    /// Makes one step at the learning rate `lr`. Weights that are frozen or have no gradient do not change.
    ///
    /// # Errors
    /// libtorch reports an error.
    pub fn step(&mut self, lr: f64) -> Result<(), TrainError> {
        let settings = &self.settings;
        tch::no_grad(|| {
            let mut moving: Vec<&mut Slot> = self.slots.iter_mut().filter(|s| s.has_gradient()).collect();
            moving.iter_mut().for_each(|slot| slot.steps += 1);
            match settings.kind {
                OptimiserKind::AdamW => by_group(&moving, |group| adamw(group, lr, settings))?,
                OptimiserKind::Sgd => by_group(&moving, |group| sgd(group, lr, settings))?,
                OptimiserKind::RAdam => moving.iter_mut().try_for_each(|slot| slot.radam(lr, settings))?,
                OptimiserKind::Lion => moving.iter_mut().try_for_each(|slot| slot.lion(lr, settings))?,
            }
            Ok(())
        })
    }

    /// Clears the gradients.
    ///
    /// # Errors
    /// libtorch reports an error.
    pub fn clear_gradients(&mut self) -> Result<(), TrainError> {
        let weights: Vec<Tensor> = self.slots.iter().map(|s| s.weight.shallow_clone()).collect();
        Ok(aten::clear_gradients(&weights)?)
    }

    /// The gradients of the weights that the next step updates, by name.
    pub fn gradients(&self) -> Vec<(&str, Tensor)> {
        self.slots.iter().filter(|s| s.has_gradient()).map(|s| (s.name.as_str(), s.weight.grad())).collect()
    }

    /// The norm of all gradients together, before clipping; a norm above `max` is scaled down to `max`.
    ///
    /// # Errors
    /// libtorch reports an error.
    pub fn clip(&mut self, max: Option<f64>) -> Result<f64, TrainError> {
        tch::no_grad(|| {
            let gradients: Vec<Tensor> = self.gradients().into_iter().map(|(_, gradient)| gradient).collect();
            let norm = aten::norm(&gradients)?;
            if let Some(max) = max.filter(|m| norm > *m && norm.is_finite()) {
                // PyTorch's clip_grad_norm_ adds the same 1e-6.
                aten::scale(&gradients, max / (norm + 1e-6))?;
            }
            Ok(norm)
        })
    }

    /// Moments and step counts by name. The moments share their storage with the optimiser.
    pub fn state(&self) -> Vec<(String, Tensor)> {
        let mut state = Vec::with_capacity(2 * self.slots.len() + 1);
        for slot in &self.slots {
            state.push((format!("first.{}", slot.name), slot.first.shallow_clone()));
            if let Some(second) = &slot.second {
                state.push((format!("second.{}", slot.name), second.shallow_clone()));
            }
        }
        let steps: Vec<i64> = self.slots.iter().map(|s| s.steps).collect();
        state.push(("steps".into(), Tensor::from_slice(&steps)));
        state
    }

    /// Loads a state that [`Optimiser::state`] returned.
    ///
    /// # Errors
    /// A tensor is missing or has another shape.
    pub fn load_state(&mut self, state: &BTreeMap<String, Tensor>) -> Result<(), TrainError> {
        let get = |name: String, like: &Tensor| {
            state.get(&name).filter(|t| t.size() == like.size()).ok_or(TrainError::StateTensor { name })
        };
        let steps = get("steps".into(), &Tensor::zeros([self.slots.len() as i64], (Kind::Int64, tch::Device::Cpu)))?;
        let steps = Vec::<i64>::try_from(steps).map_err(TrainError::Torch)?;
        tch::no_grad(|| {
            for (slot, steps) in self.slots.iter_mut().zip(steps) {
                slot.first.f_copy_(get(format!("first.{}", slot.name), &slot.first)?)?;
                if let Some(second) = &mut slot.second {
                    second.f_copy_(get(format!("second.{}", slot.name), second)?)?;
                }
                if let Some(count) = &mut slot.count {
                    let _ = count.f_fill_(steps)?;
                }
                slot.steps = steps;
            }
            Ok(())
        })
    }
}

/// Calls `step` once for each group of slots with the same learning rate and decay; first steps are a group of their
/// own.
fn by_group(slots: &[&mut Slot], mut step: impl FnMut(&[&Slot]) -> Result<(), TchError>) -> Result<(), TchError> {
    let key = |slot: &Slot| (slot.lr_factor.to_bits(), slot.decay.to_bits(), slot.steps == 1);
    let mut groups: BTreeMap<_, Vec<&Slot>> = BTreeMap::new();
    for slot in slots {
        groups.entry(key(slot)).or_default().push(slot);
    }
    groups.values().try_for_each(|group| step(group))
}

fn shared<'a>(group: &[&'a Slot], of: impl Fn(&'a Slot) -> &'a Tensor) -> Vec<Tensor> {
    group.iter().map(|slot| of(slot).shallow_clone()).collect()
}

fn adamw(group: &[&Slot], lr: f64, settings: &OptimiserSettings) -> Result<(), TchError> {
    const MADE: &str = "AdamW slots are made with a second moment and a count";
    aten::fused_adamw(
        &shared(group, |s| &s.weight),
        &shared(group, |s| &s.first),
        &shared(group, |s| s.second.as_ref().expect(MADE)),
        &shared(group, |s| s.count.as_ref().expect(MADE)),
        aten::AdamW { lr: lr * group[0].lr_factor, betas: settings.betas(), decay: group[0].decay, eps: settings.eps },
    )
}

fn sgd(group: &[&Slot], lr: f64, settings: &OptimiserSettings) -> Result<(), TchError> {
    aten::fused_sgd(
        &shared(group, |s| &s.weight),
        &shared(group, |s| &s.first),
        aten::Sgd {
            lr: lr * group[0].lr_factor,
            momentum: settings.momentum,
            decay: group[0].decay,
            nesterov: settings.nesterov,
            is_first: group[0].steps == 1,
        },
    )
}

impl Slot {
    fn has_gradient(&self) -> bool {
        self.weight.requires_grad() && self.weight.grad().defined()
    }

    fn decay(&mut self, rate: f64) -> Result<(), TchError> {
        if self.decay != 0.0 {
            let _ = self.weight.f_mul_scalar_(1.0 - rate * self.decay)?;
        }
        Ok(())
    }

    fn radam(&mut self, lr: f64, settings: &OptimiserSettings) -> Result<(), TchError> {
        let ([beta1, beta2], rate) = (settings.betas(), lr * self.lr_factor);
        let gradient = self.weight.grad();
        self.decay(rate)?;
        let second = self.second.as_mut().expect("RAdam slots are made with a second moment");
        let _ = self.first.f_lerp_(&gradient, 1.0 - beta1)?;
        let _ = second.f_mul_scalar_(beta2)?.f_add_(&gradient.f_square()?.f_mul_scalar_(1.0 - beta2)?)?;
        let mut step = self.first.f_mul_scalar(rate / (1.0 - beta1.powi(self.steps as i32)))?;
        if let Some(rectified) = rectification(beta2, self.steps) {
            let correction = (1.0 - beta2.powi(self.steps as i32)).sqrt();
            let root = second.f_sqrt()?.f_add_scalar_(settings.eps)?;
            step = step.f_mul_scalar_(rectified * correction)?.f_div_(&root)?;
        }
        let _ = self.weight.f_sub_(&step)?;
        Ok(())
    }

    fn lion(&mut self, lr: f64, settings: &OptimiserSettings) -> Result<(), TchError> {
        let ([beta1, beta2], rate) = (settings.betas(), lr * self.lr_factor);
        let gradient = self.weight.grad();
        self.decay(rate)?;
        let step = self.first.f_lerp(&gradient, 1.0 - beta1)?.f_sign_()?.f_mul_scalar_(rate)?;
        let _ = self.weight.f_sub_(&step)?;
        let _ = self.first.f_lerp_(&gradient, 1.0 - beta2)?;
        Ok(())
    }
}

/// The rectification factor of the variance at step `t`, from 1; `None` while there are too few steps to estimate it.
fn rectification(beta2: f64, t: i64) -> Option<f64> {
    let last = 2.0 / (1.0 - beta2) - 1.0;
    let power = beta2.powi(t as i32);
    let length = last - 2.0 * t as f64 * power / (1.0 - power);
    (length > 5.0).then(|| ((length - 4.0) * (length - 2.0) * last / ((last - 4.0) * (last - 2.0) * length)).sqrt())
}
