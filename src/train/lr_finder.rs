//! The learning-rate finder: a range test (L. N. Smith, Cyclical learning rates for training neural networks, WACV 2017)
//! with the smoothing, the stop and the suggestions of fastai and PyTorch Lightning.

use super::loader::Batches;
use super::{
    Batch, Data, Learner, Loading, StepOutcome, Strategy, Tensors, TrainError, TrainingPlan, batches, freeze, initial,
    order, seeds,
};
use crate::aten;
use crate::models::Model;
use crate::progress::Progress;
use crate::violation::Violations;

/// Share of the average of earlier losses in the smoothed loss.
const SMOOTHING: f64 = 0.98;
/// The test ends if the smoothed loss exceeds its least value by this factor.
const DIVERGED: f64 = 4.0;
/// Points at the beginning that are not considered for a suggestion, if there are ten times as many: their smoothed loss
/// is an average of few losses.
const SKIPPED: usize = 10;

/// The rates of a learning-rate finder.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LrFinderOptions {
    /// Learning rate of the first step.
    pub from: f64,
    /// Learning rate of the last step.
    pub to: f64,
    /// Number of optimiser steps.
    pub steps: usize,
}

impl Default for LrFinderOptions {
    fn default() -> Self {
        LrFinderOptions { from: 1e-7, to: 1.0, steps: 100 }
    }
}

impl LrFinderOptions {
    /// The values that are out of range.
    pub fn violations(&self) -> Violations {
        let mut wrong = Violations::new();
        wrong.expect(self.from.is_finite() && self.from > 0.0, "from", self.from, "above 0");
        wrong.expect(self.to.is_finite() && self.to > self.from, "to", self.to, "above the first rate");
        wrong.expect((5..=100_000).contains(&self.steps), "steps", self.steps, "from 5 to 100000");
        wrong
    }

    /// The learning rate of step `step`, from 0; equal factors between steps.
    pub fn rate(&self, step: usize) -> f64 {
        self.from * (self.to / self.from).powf(step as f64 / (self.steps - 1) as f64)
    }
}

/// The loss at one learning rate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LrPoint {
    /// Number of the step, from 0.
    pub step: usize,
    /// Base learning rate of the step.
    pub lr: f64,
    /// Training loss of the step, before the weights are updated.
    pub loss: f64,
    /// Exponential moving average of the losses so far, without the bias of its start.
    pub smoothed: f64,
}

/// The losses of a learning-rate finder by learning rate.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LrCurve {
    /// In the order of the steps; all losses are finite.
    pub points: Vec<LrPoint>,
    /// Whether the loss diverged or was no longer finite, which ended the test.
    pub diverged: bool,
    average: f64,
}

/// Learning rates that a curve suggests.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LrSuggestions {
    /// The rate at which the smoothed loss falls fastest.
    pub steepest: f64,
    /// A tenth of the rate with the least smoothed loss.
    pub tenth_of_least: f64,
}

impl LrCurve {
    /// Adds the loss of the next step; returns whether the test continues.
    pub fn push(&mut self, lr: f64, loss: f64) -> bool {
        if !loss.is_finite() {
            self.diverged = true;
            return false;
        }
        let step = self.points.len();
        self.average = SMOOTHING * self.average + (1.0 - SMOOTHING) * loss;
        let smoothed = self.average / (1.0 - SMOOTHING.powi(step as i32 + 1));
        let least = self.points.iter().map(|point| point.smoothed).fold(f64::INFINITY, f64::min);
        self.points.push(LrPoint { step, lr, loss, smoothed });
        // A loss of 0 or below, which the boundary loss can reach, has no multiple that would be worse.
        self.diverged = step > 0 && least > 0.0 && smoothed > DIVERGED * least;
        !self.diverged
    }

    /// The suggested rates. The first points and the last one are not considered.
    ///
    /// # Errors
    /// [`TrainError::LrFinder`]: no loss was finite, there are too few points, or the loss does not fall.
    pub fn suggestions(&self) -> Result<LrSuggestions, TrainError> {
        let fails = |reason: String| Err(TrainError::LrFinder { reason });
        let Some(first) = self.points.first() else {
            return fails(
                "the loss of the first step is not finite; check the images and the weights, or start at a lower rate"
                    .into(),
            );
        };
        let skipped = SKIPPED.min(self.points.len() / 10);
        let considered = &self.points[skipped..self.points.len() - 1];
        if considered.len() < 3 {
            return fails(format!(
                "the loss diverged after {} steps, at a rate of {:.1e}, which is too early for a suggestion; start at a \
                 lower rate than {:.1e} or take more steps",
                self.points.len(),
                self.points[self.points.len() - 1].lr,
                first.lr
            ));
        }
        let losses: Vec<f64> = considered.iter().map(|point| point.smoothed).collect();
        let slopes = slopes(&losses);
        let steepest = (0..slopes.len()).min_by(|a, b| slopes[*a].total_cmp(&slopes[*b])).expect("three or more");
        if slopes[steepest] >= 0.0 {
            return fails("the loss does not fall at any rate; start at a lower rate, or take more steps".into());
        }
        let least = (0..losses.len()).min_by(|a, b| losses[*a].total_cmp(&losses[*b])).expect("three or more");
        Ok(LrSuggestions { steepest: considered[steepest].lr, tenth_of_least: considered[least].lr / 10.0 })
    }
}

/// NumPy's `gradient`: central differences, one-sided at both ends. There are two values or more.
fn slopes(values: &[f64]) -> Vec<f64> {
    let last = values.len() - 1;
    let slope = |i: usize| {
        let (before, after) = (i.saturating_sub(1), (i + 1).min(last));
        (values[after] - values[before]) / (after - before) as f64
    };
    (0..=last).map(slope).collect()
}

/// Trains the first stage of `plan` from its initial weights while the learning rate rises, without the schedule, and
/// returns the losses. Nothing is written and the weights are dropped. Unlabelled images are not used.
///
/// # Errors
/// The weights to start from cannot be loaded, no training image can be read, or the model or the loss reports an error.
pub fn find_lr(
    plan: &TrainingPlan,
    data: Data,
    strategy: Strategy,
    options: &LrFinderOptions,
    progress: &dyn Progress,
) -> Result<LrCurve, TrainError> {
    let settings = &plan.config;
    let stage = plan.stages.first().ok_or(TrainError::StageData { stages: 0, data: 1 })?;
    aten::use_algorithms(settings.algorithms())?;
    tch::manual_seed(settings.seed as i64);
    let mut model = Model::new(&settings.model, strategy.device)?;
    initial::load_weights(&mut model, settings)?;
    let trainable = model.named_parameters().into_iter().filter(|(_, t)| t.requires_grad()).map(|(n, _)| n);
    let trainable: Vec<String> = trainable.collect();
    let learner = Learner::new(model, plan, 0, strategy.ranks)?;
    freeze::apply(learner.model(), &trainable, &stage.config.freeze, 0)?;
    let loading = Loading::of(settings, &stage.config, strategy.ranks);
    let mut test = RangeTest { plan, data, learner, loading, options, curve: LrCurve::default() };
    progress.start("steps of the learning-rate finder", options.steps as u64);
    let ended = test.run(progress);
    progress.finish();
    ended.map(|()| test.curve)
}

struct RangeTest<'a> {
    plan: &'a TrainingPlan,
    data: Data<'a>,
    learner: Learner<'a>,
    loading: Loading<'a>,
    options: &'a LrFinderOptions,
    curve: LrCurve,
}

impl RangeTest<'_> {
    fn run(&mut self, progress: &dyn Progress) -> Result<(), TrainError> {
        let (stage, training) = (&self.plan.stages[0].config, self.data.training);
        let weights = stage.sampling().weights(training, self.plan.sample_weights.as_deref())?;
        let loading = self.loading.clone();
        for epoch in 0.. {
            let order = order(training.len(), weights.as_deref(), loading.seed, epoch);
            let (begun, count) = (self.curve.points.len(), batches(order.len(), stage.batch));
            let continues = std::thread::scope(|scope| -> Result<bool, TrainError> {
                let mut made = Batches::start(scope, training, &order, &loading, epoch, 0);
                for first in (0..count).step_by(stage.accumulate) {
                    let group = made.by_ref().take(stage.accumulate).collect::<Result<Vec<Batch>, _>>()?;
                    // As in training: a single image that is left of a batch cannot be trained with batch norm.
                    let is_usable = |batch: &Batch| batch.indices.len() > usize::from(!batch.broken.is_empty());
                    let usable = group.into_iter().enumerate().filter(|(_, batch)| is_usable(batch));
                    let usable: Vec<_> = usable.map(|(place, batch)| (first + place, batch)).collect();
                    if usable.is_empty() {
                        continue;
                    }
                    let continues = self.step(&usable, epoch)?;
                    progress.advance(1);
                    if !continues || self.curve.points.len() == self.options.steps {
                        return Ok(false);
                    }
                }
                Ok(true)
            })?;
            if !continues {
                return Ok(());
            }
            if self.curve.points.len() == begun {
                return Err(TrainError::NoImages { part: "training", reason: "none can be read any longer".into() });
            }
        }
        Ok(())
    }

    /// One optimiser step over these batches of an epoch; returns whether the test continues.
    fn step(&mut self, group: &[(usize, Batch)], epoch: u64) -> Result<bool, TrainError> {
        let stage = &self.plan.stages[0].config;
        let step = self.curve.points.len();
        let lr = self.options.rate(step);
        let images: usize = group.iter().map(|(_, batch)| batch.indices.len()).sum();
        let device = self.learner.model().device();
        let mut loss = 0.0;
        for (place, batch) in group {
            seeds::seed_step(self.loading.seed, epoch << 32 | *place as u64);
            let given = Tensors::new(batch, self.data.training.size(), &self.loading, device)?;
            let share = batch.indices.len() as f64 / images as f64;
            loss += share * self.learner.learn(&given, share, stage.point_weight.at(0, 1))?;
        }
        if !self.curve.push(lr, loss) {
            return Ok(false);
        }
        let outcome = self.learner.step(lr, step as u64 + 1)?;
        self.learner.clear_gradients()?;
        if matches!(outcome, StepOutcome::NotFinite(_)) {
            self.curve.diverged = true;
            return Ok(false);
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A loss that is 1 at low rates, falls to 0.1 at 1e-2 and explodes after it.
    fn curve(options: &LrFinderOptions) -> LrCurve {
        let mut curve = LrCurve::default();
        for step in 0..options.steps {
            let lr = options.rate(step);
            let fallen = 1.0 - 0.9 / (1.0 + (-3.0 * (lr.log10() + 3.0)).exp());
            let loss = if lr > 3e-2 { fallen * (lr / 3e-2).powi(4) } else { fallen };
            if !curve.push(lr, loss) {
                break;
            }
        }
        curve
    }

    #[test]
    fn rates_have_equal_factors() {
        let options = LrFinderOptions { from: 1e-4, to: 1e-1, steps: 4 };
        for (step, wanted) in [1e-4, 1e-3, 1e-2, 1e-1].into_iter().enumerate() {
            assert!((options.rate(step) / wanted - 1.0).abs() < 1e-12);
        }
        let wrong = LrFinderOptions { from: 0.1, to: 0.1, steps: 4 }.violations();
        assert_eq!(wrong.iter().map(|v| v.key.as_str()).collect::<Vec<_>>(), ["to", "steps"]);
        assert!(LrFinderOptions::default().violations().is_empty());
    }

    #[test]
    fn smoothing_has_no_bias_and_the_test_ends_where_the_loss_diverges() {
        let mut flat = LrCurve::default();
        assert!((0..5).all(|step| flat.push(f64::from(step), 2.0)));
        assert!(flat.points.iter().all(|point| (point.smoothed - 2.0).abs() < 1e-12));
        let options = LrFinderOptions { steps: 200, ..LrFinderOptions::default() };
        let curve = curve(&options);
        let last = curve.points[curve.points.len() - 1];
        assert!(curve.diverged && curve.points.len() < 200 && last.lr < 1.0, "{last:?}");
        let least = curve.points.iter().map(|p| p.smoothed).fold(f64::INFINITY, f64::min);
        assert!(
            last.smoothed > 4.0 * least
                && curve.points[..curve.points.len() - 1].iter().all(|p| p.smoothed <= 4.0 * least)
        );
        // A negative loss is no reason to stop.
        let mut below = LrCurve::default();
        assert!(below.push(1.0, -1.0) && below.push(2.0, 5.0));
    }

    #[test]
    fn the_suggestions_of_a_known_curve() {
        let options = LrFinderOptions { steps: 400, ..LrFinderOptions::default() };
        let curve = curve(&options);
        let LrSuggestions { steepest, tenth_of_least } = curve.suggestions().unwrap();
        // The loss itself falls fastest at 1e-3; its average over some 50 steps (of 57 per decade) comes later.
        assert!((1e-3..1e-2).contains(&steepest), "{steepest}");
        assert!((1e-3..1e-2).contains(&tenth_of_least), "{tenth_of_least}");
    }

    #[test]
    fn a_curve_without_a_suggestion_says_why() {
        let of = |losses: &[f64]| {
            let mut curve = LrCurve::default();
            for (step, loss) in losses.iter().enumerate() {
                if !curve.push(step as f64 + 1.0, *loss) {
                    break;
                }
            }
            curve.suggestions().unwrap_err().to_string()
        };
        assert!(of(&[f64::NAN]).contains("not finite"));
        assert!(of(&[1.0, 1.0, f64::INFINITY]).contains("too early"));
        assert!(of(&[1.0, 1.1, 1.2, 1.3, 1.4]).contains("does not fall"));
    }
}
