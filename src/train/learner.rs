use tch::{Kind, Tensor};

use super::{
    Ema, GradientRange, Optimiser, Ranks, Scaler, Stage, Tensors, TrainConfig, TrainError, TrainingPlan,
    UnlabelledTensors, consistency_loss,
};
use crate::aten;
use crate::losses::{Part, point_loss};
use crate::models::{Model, Segments};

/// Loss scale below which a further reduction does not help: gradients that still overflow are infinite or NaN
/// themselves.
const LEAST_SCALE: f64 = 1.0;

/// Result of an optimiser step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum StepOutcome {
    /// The weights were updated; the norm of the gradients before clipping.
    Updated(f64),
    /// A half-precision gradient overflowed: the step was skipped and the loss scale lowered.
    Skipped,
    /// A gradient is infinite or NaN and lowering the loss scale does not help; no weight was changed. The norm of the
    /// gradients.
    NotFinite(f64),
}

/// A model that is trained with the settings of a stage: forward and backward passes that sum gradients, and optimiser
/// steps.
pub struct Learner<'a> {
    stage: &'a TrainConfig,
    model: Model,
    /// The model's tensors by name, sharing storage.
    state: Vec<(String, Tensor)>,
    optimiser: Optimiser,
    ema: Option<Ema>,
    scaler: Option<Scaler>,
    /// Whether activations are computed again in the backward pass.
    recomputes: bool,
    ranks: &'a dyn Ranks,
}

impl<'a> Learner<'a> {
    /// A learner at the start of stage `stage`, from 0, that trains together with the other `ranks`.
    ///
    /// # Errors
    /// libtorch reports an error.
    pub fn new(
        model: Model,
        plan: &'a TrainingPlan,
        stage: usize,
        ranks: &'a dyn Ranks,
    ) -> Result<Learner<'a>, TrainError> {
        if plan.config.channels_last {
            for (_, tensor) in model.named_parameters() {
                aten::channels_last(&tensor)?;
            }
        }
        let stage = &plan.stages[stage].config;
        let state = model.state();
        Ok(Learner {
            stage,
            optimiser: Optimiser::new(&stage.optimiser, model.named_parameters())?,
            ema: stage.ema.as_ref().map(|s| Ema::new(s, &state)),
            scaler: scaler(stage),
            model,
            state,
            recomputes: plan.config.gradient_checkpointing,
            ranks,
        })
    }

    /// Changes to another stage. The weights stay as they are; optimiser, averages and loss scale start from scratch.
    ///
    /// # Errors
    /// libtorch reports an error.
    pub fn begin(&mut self, stage: &'a Stage) -> Result<(), TrainError> {
        let stage = &stage.config;
        self.optimiser.clear_gradients()?;
        self.optimiser = Optimiser::new(&stage.optimiser, self.model.named_parameters())?;
        self.ema = stage.ema.as_ref().map(|s| Ema::new(s, &self.state));
        self.scaler = scaler(stage);
        self.stage = stage;
        Ok(())
    }

    /// The model.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// The model, to load weights into.
    pub fn model_mut(&mut self) -> &mut Model {
        &mut self.model
    }

    /// The model's tensors by name, sharing storage.
    pub fn state(&self) -> &[(String, Tensor)] {
        &self.state
    }

    /// The optimiser.
    pub fn optimiser(&self) -> &Optimiser {
        &self.optimiser
    }

    /// The averaged weights; `None` where the stage has no EMA.
    pub fn ema(&self) -> Option<&Ema> {
        self.ema.as_ref()
    }

    /// The loss scale; `None` where the stage does not use half precision.
    pub fn scaler(&self) -> Option<&Scaler> {
        self.scaler.as_ref()
    }

    /// Loads the saved state of optimiser, averages and loss scale.
    pub(super) fn restore(
        &mut self,
        parts: &super::checkpoint::StateTensors,
        scaler: Option<Scaler>,
    ) -> Result<(), TrainError> {
        self.optimiser.load_state(&parts.optimiser)?;
        if let Some(ema) = &mut self.ema {
            ema.load_state(&parts.ema)?;
        }
        self.scaler = scaler;
        Ok(())
    }

    /// Runs `f` with the averaged weights in the model, if there are any, and then restores the trained weights.
    ///
    /// # Errors
    /// Those of `f`, or libtorch reports an error.
    pub fn averaged<T>(&mut self, f: impl FnOnce(&Self) -> Result<T, TrainError>) -> Result<T, TrainError> {
        let Some(mut ema) = self.ema.take() else { return f(self) };
        ema.swap(&self.state)?;
        let done = f(self);
        ema.swap(&self.state)?;
        self.ema = Some(ema);
        done
    }

    /// Adds `share` times the gradients of the batch's loss to those of the weights, and returns the loss.
    /// `point_weight` is the weight of PointRend's loss. Where several ranks share a batch, `given` is the part of this
    /// rank; the gradients and losses of the ranks sum to those of the whole batch.
    ///
    /// # Errors
    /// The model or a loss reports an error, or a rank cannot be reached.
    pub fn learn(&mut self, given: &Tensors, share: f64, point_weight: f64) -> Result<f64, TrainError> {
        let own = given.images.size()[0];
        let (first, images) = if self.ranks.world() > 1 { self.ranks.images(own)? } else { (0, own) };
        let gather = |rows: &Tensor| self.ranks.gather(rows);
        let part = (self.ranks.world() > 1).then_some(Part { first, images, gather: &gather });
        let device = self.model.device();
        let mut segments = self.segments();
        let half = self.stage.amp.enter(device)?;
        let output = self.model.forward_in(&given.input(), true, &mut segments)?;
        // Losses are computed in single precision, and so are their gradients up to a layer with another precision.
        drop(half);
        let single = |x: &Tensor| x.f_to_kind(Kind::Float);
        let auxiliary = output.auxiliary.iter().map(single).collect::<Result<Vec<_>, _>>()?;
        let (logits, weights) = (single(&output.logits)?, &self.stage.auxiliary_weights);
        let loss =
            self.stage.loss.forward_with_auxiliary(&logits, &auxiliary, given.target(), weights, part.as_ref())?;
        let mut loss = loss.loss;
        if let Some(points) = output.points.as_ref().filter(|_| point_weight != 0.0) {
            let weight = point_weight * own as f64 / images as f64;
            loss = loss.f_add(&point_loss(points, given.target())?.f_mul_scalar(weight)?)?;
        }
        let value = loss.f_double_value(&[])?;
        // If every weight is frozen, there are no gradients to compute.
        if value.is_finite() && loss.requires_grad() {
            let factor = share * self.scaler.as_ref().map_or(1.0, Scaler::scale);
            let loss = if factor == 1.0 { loss } else { loss.f_mul_scalar(factor)? };
            segments.backward(&loss, || self.stage.amp.enter(device))?;
        }
        Ok(value)
    }

    fn segments(&self) -> Segments<'_> {
        if self.recomputes { Segments::recomputed(self.model.device()) } else { Segments::kept() }
    }

    /// Adds `factor` times the gradients of the consistency loss of unlabelled images to those of the weights, and
    /// returns the loss. The teacher is the model with the averaged weights, in evaluation mode; it gets no gradients.
    ///
    /// # Errors
    /// [`TrainError::NoTeacher`]: there are no averaged weights; the model or libtorch reports an error.
    pub fn teach(&mut self, given: &UnlabelledTensors, factor: f64) -> Result<f64, TrainError> {
        if self.ema.is_none() {
            return Err(TrainError::NoTeacher);
        }
        let (device, amp) = (self.model.device(), self.stage.amp);
        let probabilities = self.averaged(|learner| {
            tch::no_grad(|| {
                let half = amp.enter(device)?;
                let logits = learner.model.forward(&given.teacher(), false)?.logits;
                drop(half);
                Ok(logits.f_to_kind(Kind::Float)?.f_sigmoid()?)
            })
        })?;
        let mut segments = self.segments();
        let half = amp.enter(device)?;
        let logits = self.model.forward_in(&given.student(), true, &mut segments)?.logits;
        drop(half);
        let loss = consistency_loss(&logits.f_to_kind(Kind::Float)?, &probabilities)?;
        let value = loss.f_double_value(&[])?;
        if value.is_finite() && loss.requires_grad() {
            let factor = factor * self.scaler.as_ref().map_or(1.0, Scaler::scale);
            segments.backward(&loss.f_mul_scalar(factor)?, || amp.enter(device))?;
        }
        Ok(value)
    }

    /// Sets an upper limit of the decay of the averaged weights, if there are any; `None`: no limit.
    pub fn limit_decay(&mut self, limit: Option<f64>) {
        if let Some(ema) = &mut self.ema {
            ema.limit_decay(limit);
        }
    }

    /// Updates the weights by the summed gradients at the learning rate `lr`; `t` is the number of the stage's step,
    /// from 1.
    ///
    /// # Errors
    /// libtorch reports an error, or a rank cannot be reached.
    pub fn step(&mut self, lr: f64, t: u64) -> Result<StepOutcome, TrainError> {
        if self.ranks.world() > 1 {
            let gradients: Vec<Tensor> = self.optimiser.gradients().into_iter().map(|(_, g)| g).collect();
            tch::no_grad(|| self.ranks.sum(&gradients))?;
        }
        if let Some(scaler) = &mut self.scaler {
            let gradients: Vec<Tensor> = self.optimiser.gradients().into_iter().map(|(_, g)| g).collect();
            let overflowed = tch::no_grad(|| aten::unscale(&gradients, 1.0 / scaler.scale()))?;
            if overflowed && scaler.scale() < LEAST_SCALE {
                return Ok(StepOutcome::NotFinite(f64::NAN));
            }
            scaler.update(if overflowed { GradientRange::Overflowed } else { GradientRange::Finite });
            if overflowed {
                return Ok(StepOutcome::Skipped);
            }
        }
        let norm = self.optimiser.clip(self.stage.clip)?;
        if !norm.is_finite() {
            return Ok(StepOutcome::NotFinite(norm));
        }
        self.optimiser.step(lr)?;
        if let Some(ema) = &mut self.ema {
            ema.update(&self.state, t)?;
        }
        Ok(StepOutcome::Updated(norm))
    }

    /// Clears the gradients.
    ///
    /// # Errors
    /// libtorch reports an error.
    pub fn clear_gradients(&mut self) -> Result<(), TrainError> {
        self.optimiser.clear_gradients()
    }
}

fn scaler(stage: &TrainConfig) -> Option<Scaler> {
    (stage.amp == super::Amp::Fp16).then(Scaler::default)
}
