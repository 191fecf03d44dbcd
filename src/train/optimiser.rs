use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use super::TrainError;
use crate::closed_enum::closed_enum;

closed_enum! {
    /// The rule that turns gradients into steps.
    pub enum OptimiserKind ("optimiser") {
        /// Adam with decoupled weight decay (Loshchilov and Hutter 2019).
        AdamW = "adamw",
        /// Gradient descent with momentum, PyTorch's form (decay added to the gradient).
        Sgd = "sgd",
    }
}

/// How weights move.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct OptimiserSettings {
    /// The rule.
    pub kind: OptimiserKind,
    /// Base rate.
    pub lr: f64,
    /// Decay of weights a step, times the rate.
    pub weight_decay: f64,
    /// Factor on the encoder's rate.
    pub encoder_lr_factor: f64,
    /// Whether norms' weights and all biases decay too.
    pub decay_norms_and_biases: bool,
    /// AdamW: decay of the two moments.
    pub betas: [f64; 2],
    /// AdamW: added to the root of the second moment.
    pub eps: f64,
    /// SGD: momentum.
    pub momentum: f64,
    /// SGD: Nesterov's form.
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
            betas: [0.9, 0.999],
            eps: 1e-8,
            momentum: 0.9,
            nesterov: true,
        }
    }
}

/// One weight with its running moments.
struct Slot {
    name: String,
    weight: Tensor,
    lr_factor: f64,
    decay: f64,
    steps: i64,
    first: Tensor,
    second: Option<Tensor>,
}

/// Whether the weight called `name` is one of the encoder, or of the backbone of a whole network.
fn is_encoder(name: &str) -> bool {
    name.starts_with("encoder.") || name.starts_with("backbone.")
}

/// Moves weights by their gradients. All of its state can be saved and loaded, which libtorch's own optimisers
/// do not offer here.
pub struct Optimiser {
    settings: OptimiserSettings,
    slots: Vec<Slot>,
}

impl Optimiser {
    /// For the weights of a model by name. Names that begin with `encoder.` or `backbone.` take the encoder's rate;
    /// tensors of one dimension are norms' weights and biases.
    pub fn new(settings: &OptimiserSettings, weights: Vec<(String, Tensor)>) -> Optimiser {
        let slots = weights.into_iter().map(|(name, weight)| {
            let decays = settings.decay_norms_and_biases || weight.dim() > 1;
            Slot {
                lr_factor: if is_encoder(&name) { settings.encoder_lr_factor } else { 1.0 },
                decay: if decays { settings.weight_decay } else { 0.0 },
                steps: 0,
                first: weight.detach().zeros_like(),
                second: (settings.kind == OptimiserKind::AdamW).then(|| weight.detach().zeros_like()),
                name,
                weight,
            }
        });
        Optimiser { settings: settings.clone(), slots: slots.collect() }
    }

    /// One step at base rate `lr`. Weights that have no gradient stay.
    pub fn step(&mut self, lr: f64) {
        tch::no_grad(|| {
            for slot in &mut self.slots {
                let gradient = slot.weight.grad();
                if !gradient.defined() || !slot.weight.requires_grad() {
                    continue;
                }
                slot.steps += 1;
                let rate = lr * slot.lr_factor;
                match self.settings.kind {
                    OptimiserKind::AdamW => slot.adamw(&gradient, rate, &self.settings),
                    OptimiserKind::Sgd => slot.sgd(&gradient, rate, &self.settings),
                }
            }
        });
    }

    /// Forgets the gradients.
    pub fn zero_grad(&mut self) {
        for slot in &mut self.slots {
            slot.weight.zero_grad();
        }
    }

    /// The norm of all gradients together; with `max`, they are scaled down to it where it is more.
    pub fn clip(&mut self, max: Option<f64>) -> f64 {
        tch::no_grad(|| {
            let gradients: Vec<Tensor> = self.slots.iter().map(|s| s.weight.grad()).filter(Tensor::defined).collect();
            if gradients.is_empty() {
                return 0.0;
            }
            let norms: Vec<Tensor> = gradients.iter().map(Tensor::norm).collect();
            let norm = Tensor::stack(&norms, 0).norm().double_value(&[]);
            if let Some(max) = max.filter(|m| norm > *m) {
                // PyTorch's clip_grad_norm_ adds the same 1e-6.
                let factor = max / (norm + 1e-6);
                for mut gradient in gradients {
                    let _ = gradient.g_mul_scalar_(factor);
                }
            }
            norm
        })
    }

    /// Moments and step counts by name, sharing storage with the optimiser but for the counts.
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

    /// Takes over what [`Optimiser::state`] gave.
    pub fn load_state(&mut self, state: &BTreeMap<String, Tensor>) -> Result<(), TrainError> {
        let get = |name: String, like: &Tensor| {
            state.get(&name).filter(|t| t.size() == like.size()).ok_or(TrainError::StateTensor { name })
        };
        let steps = get("steps".into(), &Tensor::zeros([self.slots.len() as i64], (Kind::Int64, tch::Device::Cpu)))?;
        let steps = Vec::<i64>::try_from(steps).map_err(TrainError::Torch)?;
        tch::no_grad(|| {
            for (slot, steps) in self.slots.iter_mut().zip(steps) {
                slot.first.copy_(get(format!("first.{}", slot.name), &slot.first)?);
                if let Some(second) = &mut slot.second {
                    second.copy_(get(format!("second.{}", slot.name), second)?);
                }
                slot.steps = steps;
            }
            Ok(())
        })
    }
}

impl Slot {
    /// In the order of operations of `torch.optim.AdamW`.
    fn adamw(&mut self, gradient: &Tensor, rate: f64, settings: &OptimiserSettings) {
        let [beta1, beta2] = settings.betas;
        let second = self.second.as_mut().expect("AdamW slots are made with a second moment");
        if self.decay != 0.0 {
            let _ = self.weight.g_mul_scalar_(1.0 - rate * self.decay);
        }
        let _ = self.first.lerp_(gradient, 1.0 - beta1);
        let _ = second.g_mul_scalar_(beta2).g_add_(&(gradient.square().g_mul_scalar_(1.0 - beta2)));
        let correction1 = 1.0 - beta1.powi(self.steps as i32);
        let correction2 = 1.0 - beta2.powi(self.steps as i32);
        let root = second.sqrt().g_div_scalar_(correction2.sqrt()).g_add_scalar_(settings.eps);
        let _ = self.weight.g_sub_(&(self.first.g_div(&root).g_mul_scalar_(rate / correction1)));
    }

    /// As `torch.optim.SGD` without dampening.
    fn sgd(&mut self, gradient: &Tensor, rate: f64, settings: &OptimiserSettings) {
        let gradient =
            if self.decay == 0.0 { gradient.shallow_clone() } else { gradient + self.weight.g_mul_scalar(self.decay) };
        if self.steps == 1 {
            self.first.copy_(&gradient);
        } else {
            let _ = self.first.g_mul_scalar_(settings.momentum).g_add_(&gradient);
        }
        let step = if settings.nesterov {
            gradient + self.first.g_mul_scalar(settings.momentum)
        } else {
            self.first.shallow_clone()
        };
        let _ = self.weight.g_sub_(&step.g_mul_scalar(rate));
    }
}
